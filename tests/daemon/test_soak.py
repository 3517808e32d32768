"""Hours of audio: memory, descriptors and threads stay where they are, and no number is missing.

SOAK_HOURS of audio go through the whole daemon with a fake analyser as fast as it can; SOAK_MINUTES pass in real time
with real models on a virtual microphone. `make soak` runs both in full.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from fakes import FakeSource, config, fake_load, quiet, voice
from microphone import missing, virtual_microphone
from test_faults import Listener
from test_service import in_state
from wilson import line

from sadstream.audio.filters.framing import Framer
from sadstream.audio.sources.source import Item, SourceChange
from sadstream.base.samples import SAMPLE_RATE, to_pcm
from sadstream.daemon.messages import AudioGap
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.service import RunOptions, Service
from sadstream.events import Score, Status
from sadstream.scoring.weights.catalogue import models_dir

TURN = to_pcm(np.concatenate([quiet(1.0), voice(2.0)]))
TURN_S = len(TURN) / 2 / SAMPLE_RATE
HOURS = float(os.environ.get("SOAK_HOURS", "24"))
MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))


class Diary:
    """What a run used, noted once an hour of audio, and the count of its scores."""

    def __init__(self) -> None:
        self.scores = 0
        self.holes = 0
        self.rss_mb: list[float] = []
        self.fds: set[int] = set()
        self.threads: set[int] = set()
        self._process = psutil.Process()

    def observe(self, event: Score | Status | AudioGap) -> None:
        if isinstance(event, Score):
            self.holes += event.seq != self.scores or event.segment != self.scores
            self.scores += 1

    def note(self) -> None:
        self.rss_mb.append(self._process.memory_info().rss / 1e6)
        self.fds.add(self._process.num_fds())
        self.threads.add(threading.active_count())

    def slope_mb(self) -> float:
        """MB a note, by regression over the second half."""
        half = self.rss_mb[len(self.rss_mb) // 2 :]
        return float(np.polyfit(np.arange(len(half)), half, 1)[0])


def soak(folder: Path, hours: float, notes: int) -> Diary:
    diary = Diary()
    turns = int(hours * 3600 / TURN_S)

    def items() -> Iterator[Item]:
        framer = Framer()
        yield SourceChange("listening", "none")
        for turn in range(turns):
            if turn % max(1, turns // notes) == 0:
                diary.note()
            yield from framer.feed(TURN, time.monotonic())

    settings = config(folder)
    options = RunOptions(pace_realtime=False, observers=(diary.observe,))
    source = FakeSource(items, live=False)
    Service(settings, [source], fake_load(), options, Publisher(settings.publish.endpoint)).run()
    assert diary.scores == turns
    return diary


def test_half_an_hour_of_audio_leaves_nothing_behind(tmp_path: Path) -> None:
    """The short form: the slope is noise at this length, so it is held to a tenth of the daemon's size."""
    diary = soak(tmp_path, 0.5, notes=20)

    assert diary.holes == 0
    assert len(diary.fds) == 1
    assert len(diary.threads) == 1
    assert max(diary.rss_mb) - diary.rss_mb[len(diary.rss_mb) // 2] < 20


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_day_of_audio_leaves_nothing_behind(tmp_path: Path) -> None:
    start = time.monotonic()
    diary = soak(tmp_path, HOURS, notes=int(max(10, HOURS)))
    slope = diary.slope_mb() * len(diary.rss_mb) / HOURS
    print(
        f"\n{HOURS:g} h of audio in {time.monotonic() - start:.0f} s: {diary.scores} scores, {diary.holes} holes, "
        f"{slope:.3f} MB/h, descriptors {sorted(diary.fds)}, threads {sorted(diary.threads)}"
    )

    assert diary.holes == 0
    assert slope < 1.0
    assert len(diary.fds) == 1
    assert len(diary.threads) == 1


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("real_models")
@pytest.mark.skipif(missing() is not None, reason=f"no virtual microphone: {missing()} is missing")
def test_real_models_hear_a_microphone_in_real_time(endpoint: str, scene: Path, tmp_path: Path) -> None:
    """Real speech over and over into a virtual microphone; every segment is scored, and in time."""
    samples, _ = soundfile.read(scene, dtype="float32")
    pcm = to_pcm(samples)
    with virtual_microphone() as microphone, (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "sadstream", "run", "--publish", endpoint],
            env=microphone.environment | {"SADSTREAM_MODELS": str(models_dir())}, stdin=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
        try:
            with Listener(endpoint) as listener:
                listener.first(0.0, in_state("listening"), 120.0)
                end_s, rss_mb = time.monotonic() + 60 * MINUTES, []
                while time.monotonic() < end_s:
                    microphone.play(pcm)
                    rss_mb.append(psutil.Process(daemon.pid).memory_info().rss / 1e6)
            daemon.terminate()
            assert daemon.wait(5) == 0, (tmp_path / "log").read_text()
        finally:
            daemon.kill()
            daemon.wait()
    print("\n" + report(listener.scores(), rss_mb))
    numbers = [score["seq"] for score in listener.scores()]
    assert numbers == list(range(len(numbers)))
    assert listener.scores()[-1]["dropped"] <= 0.001 * len(numbers)


def report(scores: list[dict[str, Any]], rss_mb: list[float]) -> str:
    """Availability, latency and memory of a run in real time."""
    dropped = scores[-1]["dropped"]
    total = np.array([score["latency_ms"]["total"] for score in scores])
    slope = float(np.polyfit(np.linspace(0, MINUTES / 60, len(rss_mb)), rss_mb, 1)[0]) if len(rss_mb) > 1 else 0.0
    return line(
        f"{MINUTES:g} min in real time, segments scored", len(scores), len(scores) + dropped,
        f"latency p50 {np.percentile(total, 50):.0f} ms, p95 {np.percentile(total, 95):.0f} ms",
        f"memory {slope:.1f} MB/h", f"{len(rss_mb)} rounds of the scene",
    )  # fmt: skip
