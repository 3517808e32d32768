"""When people sounded how: a week by the hour, or a day by ten minutes, in the clock of whoever looks; pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from sadstream.base.errors import UsageError
from sadstream.views.dashboard.history.table import ScoreTable
from sadstream.views.dashboard.history.zoom import mean

Kind = Literal["week", "day"]
HOURS = 24
SLICES = 6  # of an hour: ten minutes


@dataclass(frozen=True, slots=True)
class Cell:
    """One hour of a week, or ten minutes of a day."""

    since_s: float
    until_s: float
    n: int
    sad: int
    p_mean: float | None


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Rows of HOURS cells: the days of a week, from Monday, or the slices of each hour of a day."""

    kind: Kind
    first: str  # the first day, ISO 8601
    zone: str
    rows: list[list[Cell]]


def zone_of(name: str) -> ZoneInfo | None:
    """A time zone by its name, none for this machine's own; UsageError for one that this machine does not know."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"zone {name!r}: expected a name of the time zone database, such as Europe/Paris") from None


def heat(table: ScoreTable, kind: Kind, day: date, zone: ZoneInfo | None) -> HeatMap:
    """The heat map of the week, or of the day, in which a day lies; without a zone in this machine's time."""
    if kind == "week":
        day -= timedelta(days=day.weekday())
        starts = [_at(day + timedelta(days=row), 60 * hour, zone) for row in range(7) for hour in range(HOURS)]
        ends = [*starts[1:], _at(day + timedelta(days=7), 0, zone)]
    else:
        minutes = 60 // SLICES
        # Ordered by time for the counting, by slice for the eye: a column is an hour in both.
        starts = [_at(day, minutes * at, zone) for at in range(HOURS * SLICES)]
        ends = [*starts[1:], _at(day + timedelta(days=1), 0, zone)]
    cells = _cells(table, _rising(starts), _rising(ends))
    if kind == "week":
        rows = [cells[at : at + HOURS] for at in range(0, len(cells), HOURS)]
    else:
        rows = [cells[at::SLICES] for at in range(SLICES)]
    return HeatMap(kind, day.isoformat(), "local" if zone is None else zone.key, rows)


def _rising(moments: list[float]) -> list[float]:
    """Minutes that a change of clocks leaves out last no time: they begin when the next one does."""
    return list(accumulate(reversed(moments), min))[::-1]


def _at(day: date, minutes: int, zone: ZoneInfo | None) -> float:
    """That minute of a day's clock as Unix seconds; where the clock shows it twice, the first time."""
    clock = datetime.combine(day, time(minutes // 60, minutes % 60), zone)
    return clock.astimezone(UTC).timestamp()


def _cells(table: ScoreTable, starts: list[float], ends: list[float]) -> list[Cell]:
    first = np.searchsorted(table.time_s, starts)
    n = np.maximum(np.searchsorted(table.time_s, ends) - first, 0)
    p_mean = mean(table.column("p_sad"), first, n)
    sad = np.nan_to_num(mean(table.column("sad"), first, n)) * n
    return [
        Cell(since_s, until_s, int(count), round(float(of_them)), round(float(p), 4) if count else None)
        for since_s, until_s, count, of_them, p in zip(starts, ends, n, sad, p_mean, strict=True)
    ]
