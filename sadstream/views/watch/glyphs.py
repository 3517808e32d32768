"""What a character cell can show: bars in eighths, or in plain ASCII where the terminal has no more."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One alphabet of cells."""

    rising: str  # a cell filled from below, from empty to full
    falling: str  # the same from above
    threshold: str
    episode: str
    unused: str  # words that were not taken into account
    edge: str  # of the chart
    here: str  # the stream that is shown
    cut: str  # where the scores do not follow each other

    def up(self, share: float) -> str:
        """A cell of which this share, 0 to 1, is filled from below."""
        return self.rising[round(min(1.0, max(0.0, share)) * (len(self.rising) - 1))]

    def down(self, share: float) -> str:
        """The same from above."""
        return self.falling[round(min(1.0, max(0.0, share)) * (len(self.falling) - 1))]


BLOCKS = Glyphs(rising=" ▁▂▃▄▅▆▇█", falling=" ▔▀█", threshold="╌", episode="━", unused="·", edge="│", here="▸", cut="┊")
ASCII = Glyphs(rising=" .:+#", falling=" '=#", threshold="-", episode="=", unused=".", edge="|", here=">", cut=":")
