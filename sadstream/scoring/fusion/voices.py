"""What is known of voices in general to one checkpoint: how they differ, and how their ratios lie about their own mean.

Numbers from out-of-fold scores, made with the checkpoint's card and kept in it.
"""

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sadstream.scoring.fusion.header import Record

STEP = 1.0 / 6.0  # of every grid of ratios and offsets, in log-odds

Density = Annotated[float, Field(gt=0.0, le=100.0)]


class Voices(Record):
    """A normal distribution of offsets, and two densities of what a segment's ratio has beyond its voice's offset."""

    version: Literal[1] = 1
    mean: float = Field(ge=-20.0, le=20.0)  # of the voices' offsets
    deviation: float = Field(ge=0.05, le=20.0)
    within: float = Field(ge=0.01, le=20.0)  # deviation of one voice's neutral and calm segments
    first: float = Field(ge=-50.0, le=0.0)  # where the densities begin; one value a STEP
    talk: tuple[Density, ...] = Field(min_length=2, max_length=1000)  # of segments that are not sad
    sad: tuple[Density, ...] = Field(min_length=2, max_length=1000)
    tempered: float = Field(gt=0.0, le=1.0)  # how much of a segment counts beside the one before it
    stays_s: float = Field(ge=0.0)  # a voice talks so long until another may; 0: for ever

    @model_validator(mode="after")
    def _of_one_length(self) -> "Voices":
        if len(self.talk) != len(self.sad):
            raise ValueError("talk and sad: expected densities at the same ratios")
        return self

    def densities(self, audio: float, offsets: int, lowest: float) -> tuple[list[float], list[float]]:
        """Densities of a ratio, (offsets,) of other talk and (offsets,) of sad, for offsets STEP apart from `lowest`.

        Between two values the densities are straight lines; outside of them the last one holds.
        """
        place = (audio - lowest - self.first) / STEP
        whole = math.floor(place)
        share, last = place - whole, len(self.talk) - 1
        below = [
            max(0, min(last, whole - n)) for n in range(-1, offsets)
        ]  # of offset n: at n + 1; one step above: at n
        talk, sad = self.talk, self.sad
        return (
            [talk[low] + share * (talk[high] - talk[low]) for high, low in pairwise(below)],
            [sad[low] + share * (sad[high] - sad[low]) for high, low in pairwise(below)],
        )
