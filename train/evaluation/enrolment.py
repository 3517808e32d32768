"""How well enrolment tells people apart: own segments scored, and other people's, by cosine similarity and length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadstream.audio.segmenter import Segment
from sadstream.scoring.speakers.encoder import SpeakerEncoder, mean_embedding
from train.corpora.clips import Clip, by_speaker, daemon_segments, read_audio
from train.evaluation.gates import share
from train.metrics.markdown import markdown

Embedding = NDArray[np.float32]

ENROL_S = 20.0
LEAST_S = 6.0  # an actor of RAVDESS has some ten seconds of neutral and calm speech
TESTED = 25  # segments a speaker
SHORT_S = 1.6  # one window of the encoder
MATCHES = (0.60, 0.65, 0.70, 0.75)


@dataclass(frozen=True, slots=True)
class Room:
    """Who talks: clips to enrol with, and clips to be told apart."""

    name: str
    enrol: Sequence[Clip]
    test: Sequence[Clip]


@dataclass(frozen=True, slots=True)
class SpeakerTrial:
    """One test segment against one enrolled person."""

    own: bool
    short: bool
    value: float


def enrolment_table(rooms: Sequence[Room], encoder: SpeakerEncoder, tick: Callable[[], None]) -> str:
    """Share of a person's own segments that are scored, and of everybody else's, at each cosine similarity."""
    rows = []
    for room in rooms:
        found = _trials(room, encoder, tick)
        for short in (False, True):
            some = [one for one in found if one.short is short]
            own = [one.value for one in some if one.own]
            others = [one.value for one in some if not one.own]
            if not own:
                continue
            for match in MATCHES:
                shares = [share(sum(v >= match for v in values), len(values)) for values in (own, others)]
                length = f"under {SHORT_S} s" if short else f"{SHORT_S} to 3 s"
                rows.append((room.name, length, f"{match:.2f}", str(shares[0]), str(shares[1]), str(len(own))))
    columns = ("speech", "segments of", "match", "own scored", "others scored", "n own")
    return markdown(columns, rows)


def _trials(room: Room, encoder: SpeakerEncoder, tick: Callable[[], None]) -> list[SpeakerTrial]:
    people: dict[str, Embedding] = {}
    heard: dict[str, list[tuple[bool, Embedding]]] = {}
    tests = by_speaker(room.test)
    for speaker, clips in by_speaker(room.enrol).items():
        enrolled, used = _take(clips, ENROL_S)
        tick()
        if sum(segment.t_end - segment.t_start for segment in enrolled) < LEAST_S:
            continue
        people[speaker] = mean_embedding([encoder(segment.heard) for segment in enrolled])
        rest = [clip for clip in tests.get(speaker, []) if clip not in used]
        segments = [
            s for number, clip in enumerate(rest[:TESTED]) for s in daemon_segments(read_audio(clip.path), number)
        ]
        heard[speaker] = [(s.t_end - s.t_start < SHORT_S, encoder(s.heard)) for s in segments[:TESTED]]
    return [
        SpeakerTrial(speaker == person, short, float(voice @ found))
        for speaker, some in heard.items()
        for short, found in some
        for person, voice in people.items()
    ]


def _take(clips: Sequence[Clip], seconds: float) -> tuple[list[Segment], list[Clip]]:
    """Segments of so many seconds, and the clips that they come from."""
    segments: list[Segment] = []
    used: list[Clip] = []
    for clip in clips:
        if sum(segment.t_end - segment.t_start for segment in segments) >= seconds:
            break
        used.append(clip)
        segments += daemon_segments(read_audio(clip.path), len(used))
    return segments, used
