"""A pause on a real sound server: the device is closed within a second, and opened again.

PAUSES is the number of trials of the long form (`make test-slow`).
"""

import os
import random
import time
from pathlib import Path

import pytest
from microphone import VirtualMicrophone, missing
from test_faults import SENTENCE, Listener, hearing, microphone, playing, scored
from test_service import in_state
from wilson import line

from sadstream.events.control import ask

__all__ = ["microphone"]  # a fixture

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no virtual microphone: {missing()} is missing")

PAUSES = int(os.environ.get("PAUSES", "50"))
CLOSED_S = 1.0
OPENED_S = 5.0


def streams(microphone: VirtualMicrophone) -> int:
    """How many programs record from the sound server now."""
    found = microphone.pactl("list", "source-outputs")
    assert found.returncode == 0, found.stderr
    return found.stdout.count("Source Output #")


def seconds_until(microphone: VirtualMicrophone, recording: int, since_s: float) -> float:
    """Seconds since then until so many programs record."""
    while streams(microphone) != recording:
        assert time.monotonic() - since_s < 10.0, f"{streams(microphone)} programs record, expected {recording}"
        time.sleep(0.01)
    return time.monotonic() - since_s


def pause(microphone: VirtualMicrophone, endpoint: str) -> float:
    """Seconds from asking for it to the closed device."""
    start = time.monotonic()
    ask(endpoint, "pause")
    return seconds_until(microphone, 0, start)


def resume(listener: Listener, endpoint: str) -> float:
    """Seconds from asking for it to the next frame that was heard."""
    start = time.monotonic()
    ask(endpoint, "resume")
    return listener.first(start, in_state("listening"))


def test_a_pause_closes_the_device_within_a_second_and_nothing_is_heard_until_resume(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path
) -> None:
    with hearing(microphone, endpoint, tmp_path) as (listener, _):
        listener.first(0.0, in_state("listening"))
        assert streams(microphone) == 1
        closed_s = pause(microphone, endpoint)
        start = time.monotonic()
        with playing(microphone, SENTENCE):
            time.sleep(2.0)
        assert streams(microphone) == 0
        assert [score for score in listener.scores() if score["monotonic_s"] > start] == []
        opened_s = resume(listener, endpoint)
        with playing(microphone, SENTENCE):
            listener.first(start, scored)

    assert closed_s < CLOSED_S
    assert opened_s < OPENED_S


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_pauses(microphone: VirtualMicrophone, endpoint: str, tmp_path: Path) -> None:
    moments, closed, opened = random.Random(11), [], []
    with hearing(microphone, endpoint, tmp_path) as (listener, _):
        listener.first(0.0, in_state("listening"))
        for _ in range(PAUSES):
            time.sleep(moments.uniform(0.0, 1.0))
            closed.append(pause(microphone, endpoint))
            time.sleep(moments.uniform(0.0, 1.0))
            opened.append(resume(listener, endpoint))
    good = sum(c < CLOSED_S and o < OPENED_S for c, o in zip(closed, opened, strict=True))
    print(
        "\n" + line("pause", good, PAUSES, f"closed after {max(closed):.2f} s, open after {max(opened):.2f} s at most")
    )

    assert good == PAUSES
