"""The time axis that all tracks of a row share, in units of the drawing, and the names left of it."""

from sadstream.views.report.markup import Tree, add
from sadstream.views.report.spectrogram import ROW_S

GUTTER, WIDTH = 64, 1000  # units left of the sound, and of ROW_S seconds of it
UNITS_S = WIDTH / ROW_S


def label(svg: Tree, name: str, y: float, kind: str = "") -> None:
    """A track's name, at this height."""
    add(svg, "text", name, class_=f"label {kind}".strip(), x=GUTTER - 6, y=y + 3)
