"""HTML and SVG as trees, so that no text can become markup."""

from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

Tree = Element  # of an element and all within


def tree(tag: str, text: str = "", **attributes: object) -> Tree:
    """An element; in the names of attributes a dash is written `_`, and `class` is `class_`."""
    made = Element(tag, _attributes(attributes))
    made.text = text
    return made


def add(parent: Tree, tag: str, text: str = "", **attributes: object) -> Tree:
    """An element at the end of another."""
    made = SubElement(parent, tag, _attributes(attributes))
    made.text = text
    return made


def to_html(root: Tree) -> str:
    """The document; text is escaped, but for scripts and styles, which are the program's own."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html")


def number(value: float) -> str:
    """A coordinate to a tenth of a unit, as short as it can be."""
    return f"{value:.1f}".removesuffix(".0")


def clock(seconds: float) -> str:
    """Seconds of audio as 1:05."""
    minutes = int(seconds) // 60
    return f"{minutes}:{int(seconds) - 60 * minutes:02d}"


def _attributes(given: dict[str, Any]) -> dict[str, str]:
    return {
        name.rstrip("_").replace("_", "-"): number(value) if isinstance(value, float) else str(value)
        for name, value in given.items()
    }
