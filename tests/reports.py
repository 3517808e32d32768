"""Stories for pages, and what a reader finds in a page."""

import json
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from types import MappingProxyType
from typing import Any

import fakes
import numpy as np

from sadstream.audio.segmenter import Segment
from sadstream.config.tables import PublishConfig
from sadstream.events.types import envelope
from sadstream.scoring.analysis import Timing, latency, make_score
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.recording import RecordedSegment
from sadstream.scoring.whisper.recognizer import Transcript
from sadstream.views.report.data import ReportData, report_segment

STEPS = 15
STEP_S = 3.0 / STEPS


def scored(number: int, text: str = "", **changes: Any) -> RecordedSegment:
    """A segment of 2 s every 3 s, with an attention that rises through what was heard."""
    start = 3.0 * number + 0.5
    segment = Segment(number, np.zeros(48_000, np.float32), start, start + 2.0, 0.9, 0.0)
    heard = np.arange(1, 11, dtype=np.float32)
    attention = np.concatenate([heard / heard.sum(), np.zeros(STEPS - 10, np.float32)])
    analysis = replace(fakes.analysis(segment), attention=attention, mood=0.4, **changes)
    if text:
        analysis = replace(analysis, transcript=Transcript(text, 0.0, 0.0, "none"))
    opening, spent = envelope("talk", "a" * 16, number), latency(Timing(0.0, 0.0, 0.0, 0.0), analysis)
    return RecordedSegment(
        segment, analysis, make_score(opening, segment, analysis, spent, 0, PublishConfig(text=True))
    )


def an_update(**changes: Any) -> EpisodeUpdate:
    """An episode's end."""
    return replace(EpisodeUpdate(0, "end", 3.5, 9.0, 3, 2, 1.5, 0.8, 1, 3), **changes)


def a_report(
    n: int = 3, text: str = "", words: bool = False, told: Mapping[str, Any] = MappingProxyType({}), **changes: Any
) -> ReportData:
    """A recording of so many segments, all with the same words; told: what each tells beside sad."""
    segments = tuple(report_segment(scored(number, text, **told), STEP_S, words) for number in range(n))
    made = ReportData(
        name="talk.flac", duration_s=3.0 * n + 1.0, segments=segments, episodes=(an_update(),), false_alarms_h=1.0,
        model="0123456789ab", system="fake", licence="Apache-2.0", with_words=words,
    )  # fmt: skip
    return replace(made, **changes)


class Reader(HTMLParser):
    """What a browser's parser finds: every element with its attributes, all text, the scripts."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._tag = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag == "script":
            self.scripts[-1] += data
        elif self._tag != "style":
            self.text += data + "\n"

    def all(self, tag: str, kind: str | None = None) -> list[dict[str, str]]:
        """Attributes of these elements, of this class."""
        return [
            found
            for name, found in self.elements
            if name == tag and (kind is None or kind in found.get("class", "").split())
        ]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The events behind the drawings."""
        found: list[dict[str, Any]] = json.loads(self.scripts[0])
        return found
