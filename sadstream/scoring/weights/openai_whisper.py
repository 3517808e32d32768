"""The one place that imports openai-whisper."""

import importlib
import sys
from types import ModuleType
from typing import Any


def library() -> Any:
    """openai-whisper without numba, which may be missing: it is there for the times of words alone.

    With it the import takes 121 MB and 0.4 s more.
    """
    if "whisper" not in sys.modules and "numba" not in sys.modules:
        stub: Any = ModuleType("numba")
        stub.jit = lambda **_: lambda function: function  # whoever asks for times of words gets them, slowly
        sys.modules["numba"] = stub
        try:
            return importlib.import_module("whisper")
        finally:
            del sys.modules["numba"]
    return importlib.import_module("whisper")
