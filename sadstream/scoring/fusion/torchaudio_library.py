"""The one place that imports torchaudio, which may be missing, or made for another PyTorch."""

import importlib
import sys
from types import ModuleType
from typing import Any

NAME = "torchaudio"
NATIVE = f"{NAME}._extension"  # loads its compiled part


def usable() -> Any:
    """torchaudio, or None where there is none; without its compiled part where that does not load.

    The one of torchaudio 2.11 from PyPI wants CUDA's libraries, which PyTorch's build for CPUs has not, and then all of
    torchaudio fails to import. What is used here is written in Python. transformers imports torchaudio too, so whoever
    imports that asks here before.
    """
    if NAME in sys.modules:
        return sys.modules[NAME]
    for without in (None, _nothing_native()):
        if without is not None:
            sys.modules[NATIVE] = without
        try:
            return importlib.import_module(NAME)
        except ModuleNotFoundError as error:
            if error.name == NAME:
                return None
            _forget()
        except (ImportError, OSError, RuntimeError):  # RuntimeError: made for another version of CUDA
            _forget()
    sys.modules[NAME] = None  # type: ignore[assignment]  # so that nobody else takes it for there
    return None


def _nothing_native() -> ModuleType:
    stub: Any = ModuleType(NATIVE)
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = stub._IS_ALIGN_AVAILABLE = stub._IS_RIR_AVAILABLE = False
    stub.fail_if_no_align = stub.fail_if_no_rir = lambda function: function
    module: ModuleType = stub
    return module


def _forget() -> None:
    """Half an import is none."""
    for name in [name for name in sys.modules if name == NAME or name.startswith(f"{NAME}.")]:
        del sys.modules[name]
