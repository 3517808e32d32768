"""`sadstream history`: the journal's scores for people, programs and pictures."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sadstream.base.errors import UsageError
from sadstream.client.lines import score_line
from sadstream.events import Score, to_json
from sadstream.events.journal import newest_s, read, unix_s

Output = Literal["text", "json", "csv"]
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
COLUMNS = [field.name for field in fields(Score) if field.name not in ("latency_ms", "speaker", "text")]


def print_history(path: Path, since: str, until: str | None, stream: str | None, output: Output) -> int:
    """Print the scores of a time; how many there were."""
    count = 0
    for line in _lines(scores(path, since, until, stream), output):
        print(line)
        count += 1
    return count - (output == "csv")


def newest(path: Path, stream: str | None) -> str:
    """What to add where a time holds no scores: when the last one was, and how to see it."""
    found_s = newest_s(path, stream)
    if found_s is None:
        return ", and none at all" if stream is None else f", and none of stream {stream} at all"
    local = datetime.fromtimestamp(found_s, UTC).astimezone()
    return f"; the last one is of {local:%Y-%m-%d %H:%M} (--since {local:%Y-%m-%dT%H:%M})"


def scores(path: Path, since: str, until: str | None, stream: str | None) -> Iterator[Score]:
    """The journal's scores between two moments, oldest first."""
    now_s = time.time()
    return read(path, moment_s(since, now_s), now_s if until is None else moment_s(until, now_s), stream)


def moment_s(text: str, now_s: float) -> float:
    """`90s`, `30m`, `1h`, `2d` ago, or an ISO 8601 time (local unless it says otherwise), as seconds since 1970."""
    ago = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])", text, re.ASCII)
    if ago is not None:
        return now_s - float(ago[1]) * SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()  # without a zone it is local
    except (ValueError, OverflowError, OSError):  # no time, or none that this machine's clock can have
        raise UsageError(
            f"{text!r}: expected an age such as 30m, 1h or 2d, or a local time such as 2030-01-31T12:00"
        ) from None


def _lines(found: Iterator[Score], output: Output) -> Iterator[str]:
    if output == "csv":
        yield ",".join(COLUMNS)
    for score in found:
        if output == "json":
            yield to_json(score)
        elif output == "csv":
            row = io.StringIO()
            csv.writer(row, lineterminator="").writerow(map(_cell, (getattr(score, column) for column in COLUMNS)))
            yield row.getvalue()
        else:
            local = datetime.fromtimestamp(unix_s(score.time), UTC).astimezone()
            yield f"{local:%Y-%m-%d %H:%M:%S}  {score_line(score)}"


def _cell(value: object) -> object:
    """Emotions as in the event, the rest as it is."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, dict) else value
