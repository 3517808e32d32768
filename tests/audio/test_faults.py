"""Faults of a microphone, injected into a sound server: announced within two seconds, healed within five.

FAULT_CYCLES and KILLS are the numbers of trials of the long forms (`make test-slow`).
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from fakes import talk, voice
from microphone import VirtualMicrophone, missing, virtual_microphone
from supervisor import Supervisor
from test_service import FAKES, in_state, wait_for
from wilson import line

from sadstream.base.samples import to_pcm

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"no virtual microphone: {missing()} is missing")

CYCLES = int(os.environ.get("FAULT_CYCLES", "50"))
KILLS = int(os.environ.get("KILLS", "200"))
MODEL_KILLS = int(os.environ.get("MODEL_KILLS", "20"))
IDLE_S = float(os.environ.get("IDLE_S", "60"))
SENTENCE = to_pcm(talk(1, seconds=1.0, pause_s=0.6))
SAID_S = 2.0
HEALED_S = 5.0
OLD_MS = 6000.0  # what is older at its end is never scored as new


class Listener:
    """Every event of a daemon, each with the time at which it came."""

    def __init__(self, endpoint: str) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._endpoint = endpoint
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _listen(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.linger = 0
            socket.subscribe(b"sad.")
            socket.connect(self._endpoint)
            while not self._over.is_set():
                if socket.poll(50):
                    self.events.append((time.monotonic(), json.loads(socket.recv().partition(b" ")[2])))

    def first(self, after_s: float, wanted: Callable[[dict[str, Any]], bool], limit_s: float = 20.0) -> float:
        """Seconds from `after_s` to the first such event that was sent after it."""
        until = time.monotonic() + limit_s
        while True:
            for _, event in list(self.events):
                if event["monotonic_s"] >= after_s and wanted(event):
                    return float(event["monotonic_s"]) - after_s
            assert time.monotonic() < until, "\n".join(
                f"{came - after_s:.1f} s: {event.get('state', 'score')} {event.get('reason', '')}"
                for came, event in self.events[-15:]
            )
            time.sleep(0.01)

    def scores(self) -> list[dict[str, Any]]:
        return [event for _, event in self.events if event["type"] == "score"]


def lost(event: dict[str, Any]) -> bool:
    return bool(event.get("state") == "no-device")


def scored(event: dict[str, Any]) -> bool:
    return bool(event["type"] == "score")


@contextmanager
def hearing(microphone: VirtualMicrophone, endpoint: str, folder: Path) -> Iterator[tuple[Listener, psutil.Process]]:
    """A daemon with a fake analyser at a virtual microphone."""
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [*FAKES, "", "--publish", endpoint], env=microphone.environment, stdin=subprocess.DEVNULL, stderr=log
        )
        try:
            with Listener(endpoint) as listener:
                yield listener, psutil.Process(daemon.pid)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\nexit code {daemon.poll()}\n{(folder / 'log').read_text()[-3000:]}"
            ) from error
        finally:
            daemon.terminate()
            try:
                daemon.wait(5)
            finally:
                daemon.kill()
                daemon.wait()


@pytest.fixture
def microphone() -> Iterator[VirtualMicrophone]:
    with virtual_microphone() as found:
        yield found


@contextmanager
def playing(microphone: VirtualMicrophone, pcm: bytes) -> Iterator[None]:
    player = threading.Thread(target=_play, args=(microphone, pcm))
    player.start()
    yield
    player.join()


def _play(microphone: VirtualMicrophone, pcm: bytes) -> None:
    try:
        microphone.play(pcm)
    except subprocess.CalledProcessError:
        assert pcm  # its server was killed, as the test wants it


def kill(microphone: VirtualMicrophone) -> None:
    microphone.stop()


def freeze(microphone: VirtualMicrophone) -> None:
    microphone.signal(signal.SIGSTOP)


def thaw(microphone: VirtualMicrophone) -> None:
    microphone.signal(signal.SIGCONT)


Act = Callable[[VirtualMicrophone], None]
FAULTS: dict[str, tuple[Act, Act]] = {
    "killed": (kill, VirtualMicrophone.start),
    "frozen": (freeze, thaw),
    "unloaded": (VirtualMicrophone.unplug, VirtualMicrophone.plug),
}


@pytest.mark.parametrize("fault", ["killed", "frozen", pytest.param("unloaded", marks=pytest.mark.slow)])
def test_a_fault_is_said_within_two_seconds_and_scoring_goes_on_within_five(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path, fault: str
) -> None:
    break_, mend = FAULTS[fault]
    with hearing(microphone, endpoint, tmp_path) as (listener, _):
        listener.first(0.0, in_state("listening"))
        with playing(microphone, SENTENCE):
            listener.first(0.0, scored)
            start = time.monotonic()
            break_(microphone)
            said_s = listener.first(start, lost)
            time.sleep(1.0)
            if fault == "frozen":
                mend(microphone)
        start = time.monotonic()
        if fault != "frozen":
            mend(microphone)
            start = time.monotonic()
        healed_s = listener.first(start, in_state("listening"))
        with playing(microphone, SENTENCE):
            listener.first(start, scored)

    assert said_s < SAID_S
    assert healed_s < HEALED_S
    assert max(score["latency_ms"]["total"] for score in listener.scores()) < OLD_MS


def test_a_device_that_is_absent_at_the_start_is_said_and_found_when_it_comes(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path
) -> None:
    microphone.stop()
    with hearing(microphone, endpoint, tmp_path) as (listener, _):
        begun_s = listener.first(0.0, in_state("starting")) * 0 + listener.events[0][1]["monotonic_s"]
        said_s = listener.first(begun_s, lost)
        microphone.start()
        start = time.monotonic()
        healed_s = listener.first(start, in_state("listening"))

    assert said_s < SAID_S + 1.0  # of which up to a second is the start of the fake models and the first process
    assert healed_s < HEALED_S


@pytest.mark.slow
@pytest.mark.parametrize("server", ["none", "up, without a source"])
def test_without_a_device_it_uses_two_percent_of_a_core_at_most(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path, server: str
) -> None:
    """Itself and all that it starts, over IDLE_S; so much processor time, however busy the machine is."""
    if server == "none":
        microphone.stop()
    else:
        microphone.unplug()
    with hearing(microphone, endpoint, tmp_path) as (listener, daemon):
        listener.first(0.0, lost)
        time.sleep(5.0)
        start_s, started = _processor_s(daemon), {child.pid for child in daemon.children()}
        time.sleep(IDLE_S)
        share = (_processor_s(daemon) - start_s) / IDLE_S
        ended = {child.pid for child in daemon.children()}
    print(f"\n{server}: {100 * share:.2f} % of a core over {IDLE_S:g} s")

    assert started == ended
    assert share < 0.02


def _processor_s(daemon: psutil.Process) -> float:
    """Of a process, its children, and the children that ended."""
    own = daemon.cpu_times()
    times = [child.cpu_times() for child in daemon.children(recursive=True)]
    return float(
        own.user + own.system + own.children_user + own.children_system + sum(t.user + t.system for t in times)
    )


def test_a_switch_of_the_default_device_is_followed(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path
) -> None:
    with hearing(microphone, endpoint, tmp_path) as (listener, _):
        listener.first(0.0, in_state("listening"))
        microphone.pactl("load-module", "module-null-sink", "sink_name=other", "rate=16000", "channels=1")
        microphone.pactl("set-default-source", "other.monitor")
        start = time.monotonic()
        command = ["pacat", "-p", "--raw", "--format=s16le", "--rate=16000", "--channels=1", "--device=other"]
        for _ in range(5):  # the sound server takes up to 2 s to move the stream
            subprocess.run(command, input=SENTENCE, env=microphone.environment, check=True, timeout=30)
            if any(score["monotonic_s"] > start for score in listener.scores()):
                break

        assert listener.first(start, scored, 1.0) < 15


@pytest.mark.slow
def test_a_muted_microphone_is_said_at_ten_seconds_and_its_first_sound_ends_it(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path
) -> None:
    """A null sink into which nobody plays gives zeros."""
    with hearing(microphone, endpoint, tmp_path) as (listener, _):
        listener.first(0.0, in_state("listening"))
        heard_s = next(e["monotonic_s"] for _, e in listener.events if e.get("state") == "listening")
        muted_s = listener.first(heard_s, lambda event: event.get("reason") == "muted")
        start = time.monotonic()
        with playing(microphone, SENTENCE):
            listener.first(start, in_state("listening"))

    assert 9.0 < muted_s < 11.5


def test_a_daemon_that_was_stopped_itself_scores_nothing_old(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path
) -> None:
    with hearing(microphone, endpoint, tmp_path) as (listener, daemon):
        listener.first(0.0, in_state("listening"))
        with playing(microphone, to_pcm(voice(11.0))):
            listener.first(0.0, scored)
            daemon.suspend()
            time.sleep(5.0)
            daemon.resume()
            start = time.monotonic()
            listener.first(start, scored)
        daemon_lives = daemon.is_running()

    assert daemon_lives
    assert max(score["latency_ms"]["total"] for score in listener.scores()) < OLD_MS


def _used(daemon: psutil.Process) -> tuple[float, int, int]:
    return daemon.memory_info().rss / 1e6, daemon.num_fds(), daemon.num_threads()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS)
def test_many_cycles_leave_nothing_behind(
    microphone: VirtualMicrophone, endpoint: str, tmp_path: Path, fault: str
) -> None:
    break_, mend = FAULTS[fault]
    said, healed, used = [], [], []
    with hearing(microphone, endpoint, tmp_path) as (listener, daemon):
        listener.first(0.0, in_state("listening"))
        for cycle in range(CYCLES):
            time.sleep(random.Random(cycle).uniform(0.2, 1.5))
            used.append(_used(daemon))
            start = time.monotonic()
            break_(microphone)
            said.append(listener.first(start, lost))
            time.sleep(random.Random(cycle + 1000).uniform(0.0, 2.0))
            mend(microphone)
            start = time.monotonic()
            healed.append(listener.first(start, in_state("listening"), 40.0))
        lives = daemon.is_running()
    good = sum(s < SAID_S and h < HEALED_S for s, h in zip(said, healed, strict=True))
    rss, fds, threads = (set(values) for values in zip(*used[CYCLES // 2 :], strict=True))
    print(
        "\n" + line(
            fault, good, CYCLES, f"said after {max(said):.2f} s at most", f"healed after {max(healed):.2f} s at most",
            f"memory {min(rss):.1f} to {max(rss):.1f} MB", f"descriptors {sorted(fds)}", f"threads {sorted(threads)}",
        )
    )  # fmt: skip

    assert lives
    assert good == CYCLES
    assert max(rss) - min(rss) < 5
    assert len(fds) <= 2  # between two capture processes there are two pipes less
    assert len(threads) == 1


def _killed_at_random(folder: Path, endpoint: str, command: list[str], kills: int, longest_s: float) -> str:
    """Kill it `kills` times, every other time once it is ready, then at a random moment; it always comes back."""
    moments = random.Random(7)
    back: list[float] = []
    with Supervisor(folder, command) as supervisor:
        for number in range(kills):
            before = supervisor.said("READY=1")
            supervisor.until(lambda: supervisor.pid)
            if number % 2:
                supervisor.until(lambda before=before: supervisor.said("READY=1") > before, 120.0)
            time.sleep(moments.uniform(0.0, longest_s))
            os.kill(supervisor.pid, signal.SIGKILL)
            start = time.monotonic()
            supervisor.until(lambda number=number: len(supervisor.exits) > number, 10.0)
            back.append(time.monotonic() - start)
        ready = supervisor.said("READY=1")
        supervisor.until(lambda: supervisor.said("READY=1") > ready, 60.0)
        wait_for(endpoint, lambda event: event["type"] == "score", 30.0)
        exits = list(supervisor.exits)
    killed = sum(code == -signal.SIGKILL for code in exits)
    assert killed == kills, exits
    return line("kill -9", killed, kills, f"{ready} of them when it was ready")


def test_killed_at_any_moment_it_starts_again(endpoint: str, tmp_path: Path) -> None:
    _killed_at_random(tmp_path, endpoint, [*FAKES, "capture=good", "--publish", endpoint], 4, 1.5)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_many_times_it_starts_again(endpoint: str, tmp_path: Path) -> None:
    command = [*FAKES, "capture=good", "--publish", endpoint]
    print("\nfakes: " + _killed_at_random(tmp_path, endpoint, command, KILLS, 3.0))


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("real_models")
def test_killed_with_real_models_it_starts_again(endpoint: str, tmp_path: Path, scene: Path) -> None:
    command = [sys.executable, "-m", "sadstream", "run", "--source", str(scene), "--publish", endpoint]
    print("\nreal models: " + _killed_at_random(tmp_path, endpoint, command, MODEL_KILLS, 12.0))
