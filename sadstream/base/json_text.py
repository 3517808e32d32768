"""JSON that somebody else wrote."""

import json
from typing import Any


def parsed(text: bytes | str) -> Any:
    """What it says; ValueError for what is no JSON, or nests deeper than anybody's would."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
