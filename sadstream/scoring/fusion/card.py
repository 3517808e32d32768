"""What was measured of a checkpoint over time, in a file beside it: its trade-off of alarms, how voices differ."""

import math
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from sadstream.base.errors import ConfigError, UnavailableError
from sadstream.base.files import read_whole, reason
from sadstream.scoring.fusion.header import Record
from sadstream.scoring.fusion.voices import Voices

SUFFIX = ".card.json"
DEFAULT_FALSE_ALARMS_H = 1.0
LEAST_CAUGHT = 0.05  # an operating point that catches less is not kept but silent

Offset = Literal["off", "running", "auto", "calibrated"]


class OperatingPoint(Record):
    """One threshold of the filter on simulated days."""

    threshold: float  # in log-odds
    alarms: int = Field(ge=0, le=10**9)  # false ones, in all of the hours
    caught: float = Field(ge=0.0, le=1.0)  # share of sad episodes of 60 s and more
    delay_s: float | None  # median, of those caught


class Card(Record):
    """A checkpoint's behaviour on simulated days, out of fold."""

    format: Literal["sadstream-card"] = "sadstream-card"
    model: str  # first 12 hex digits of the checkpoint's SHA-256
    protocol: str
    hours: float = Field(ge=1e-3, le=1e9)  # of talk without a sad episode
    speakers: int = Field(ge=1)
    reference: float  # mean audio part of neutral and calm speech, each speaker counting the same
    coverage: float = Field(gt=0.0, le=1.0)  # share of segments that are not marked uncertain
    uncertain_low: float  # log-likelihood ratios between these two are too close to call
    uncertain_high: float
    calibrated_low: float | None = None  # the same of calibrated voices; None: not measured, so the ones above
    calibrated_high: float | None = None
    auto_low: float | None = None  # the same of voices that are learnt while they talk
    auto_high: float | None = None
    voices: Voices | None = None  # what is known of voices in general; None: none is learnt
    off: tuple[OperatingPoint, ...]
    running: tuple[OperatingPoint, ...]
    auto: tuple[OperatingPoint, ...] = ()
    calibrated: tuple[OperatingPoint, ...]

    def points(self, offset: Offset) -> tuple[OperatingPoint, ...]:
        """The trade-off curve with voices as they come, a running offset, one that is learnt, or a calibrated one."""
        curves = {"off": self.off, "running": self.running, "auto": self.auto, "calibrated": self.calibrated}
        return curves[offset]

    def uncertain(self, offset: Offset) -> tuple[float, float]:
        """The log-likelihood ratios that are too close to call, of voices as they come or with this offset."""
        if offset == "calibrated" and self.calibrated_low is not None and self.calibrated_high is not None:
            return self.calibrated_low, self.calibrated_high
        if offset == "auto" and self.auto_low is not None and self.auto_high is not None:
            return self.auto_low, self.auto_high
        return self.uncertain_low, self.uncertain_high

    def rate(self, point: OperatingPoint) -> float:
        """False alarms an hour that a point can be held to: one more than were counted."""
        return (point.alarms + 1) / self.hours

    def operating_point(self, false_alarms_h: float, offset: Offset) -> OperatingPoint:
        """The point that catches most at this rate or less; ConfigError where the curve has none."""
        points = [point for point in self.points(offset) if point.caught >= LEAST_CAUGHT]
        kept = [point for point in points if self.rate(point) <= false_alarms_h]
        if not kept:
            best = min((self.rate(point) for point in points), default=math.inf)
            raise ConfigError(
                f"episode.false_alarms_h = {false_alarms_h:g}: checkpoint {self.model} keeps {best:.2g} an hour "
                f"at best (offset {offset}, {self.hours:.0f} h of simulated talk); ask for more, or calibrate"
            )
        return max(kept, key=lambda point: point.caught)


def card_path(checkpoint: Path) -> Path:
    """Where a checkpoint's card lies."""
    return checkpoint.with_suffix(SUFFIX)


def read_card(checkpoint: Path, model: str) -> Card | None:
    """The card beside a checkpoint, or beside the file that its name is a link to; None if there is none.

    UnavailableError for one that belongs to another checkpoint or is damaged.
    """
    path = card_path(checkpoint)
    if not path.exists():
        path = card_path(checkpoint.resolve())
    try:
        card = Card.model_validate_json(read_whole(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UnavailableError(f"{path}: not a checkpoint's card ({reason(error)}); make it again") from None
    if card.model != model:
        raise UnavailableError(
            f"{path}: measured for checkpoint {card.model}, found {model}; make it with: sadstream-train days"
        )
    return card
