"""The system unit's own filter on the real daemon, without systemd: what its libraries call, it must be let call."""

import json
import re
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import sandbox
import soundfile
from daemon import SADSTREAM, scores, start
from microphone import missing, virtual_microphone

UNITS = Path(__file__).parents[2] / "systemd"
BOXED = [sys.executable, str(Path(sandbox.__file__))]
SYSTEM_UNITS = ("sadstream.service", "sadstream@.service")
SPEECH_S = 9

pytestmark = pytest.mark.skipif(sandbox.missing() is not None, reason=f"no sandbox: {sandbox.missing()} is missing")


def boxed(unit: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """A program from start to end under a unit's filter."""
    return subprocess.run(
        [*BOXED, unit, *command], capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[1]
    )


def test_the_filter_is_in_force_and_later_lines_change_earlier_ones(tmp_path: Path) -> None:
    unit = tmp_path / "a.service"
    unit.write_text(
        "SystemCallFilter=@system-service\nSystemCallFilter=~@resources\nSystemCallFilter=setpriority\n"
        "RestrictAddressFamilies=AF_UNIX\n"
    )
    code = """
import os, socket
def tried(call):
    try:
        call()
    except OSError as error:
        return error.errno
print(tried(lambda: os.setpriority(0, 0, 5)), tried(lambda: os.sched_setaffinity(0, {0})),
      tried(lambda: os.chroot("/")), tried(lambda: socket.socket()))
"""
    done = boxed(str(unit), sys.executable, "-c", code)

    assert done.stdout.split() == ["None", "1", "1", "97"], done.stderr


@pytest.mark.parametrize("name", [*SYSTEM_UNITS, "sadstream-mqtt.service"])
def test_a_socket_is_bound_and_served_under_the_filter(name: str, tmp_path: Path) -> None:
    code = (
        "import sys, zmq; c = zmq.Context(); s = c.socket(zmq.XPUB); s.bind(sys.argv[1]); t = c.socket(zmq.SUB); "
        "t.connect(sys.argv[1]); t.subscribe(b''); print(s.recv()); s.send(b'a'); print(t.recv())"
    )
    done = boxed(str(UNITS / name), sys.executable, "-c", code, f"ipc://{tmp_path}/pub")

    assert done.stdout.split() == [r"b'\x01'", "b'a'"], done.stderr


def test_where_libzmq_may_not_set_its_threads_scheduler_it_aborts(tmp_path: Path) -> None:
    """What the filter's last line is there for; without this the test above could not fail."""
    text = (UNITS / "sadstream.service").read_text()
    unit = tmp_path / "old.service"
    unit.write_text(re.sub(r"^SystemCallFilter=.*\bsched_setscheduler\b.*\n", "", text, flags=re.M))
    code = "import sys, zmq; zmq.Context().socket(zmq.XPUB).bind(sys.argv[1])"
    done = boxed(str(unit), sys.executable, "-c", code, f"ipc://{tmp_path}/pub")

    assert done.returncode == -signal.SIGABRT
    assert "Operation not permitted" in done.stderr


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_the_daemon_loads_its_models_scores_and_opens_the_microphone_under_the_filter(
    tmp_path: Path, endpoint: str, scene: Path
) -> None:
    """As the unit starts it: configuration, journal of scores, real models, a recording beside a microphone."""
    sound, rate = soundfile.read(scene, dtype="int16")
    soundfile.write(tmp_path / "speech.wav", sound[: SPEECH_S * rate], rate)
    settings = tmp_path / "sadstream.toml"
    settings.write_text(
        f'[[stream]]\nname = "mic"\n\n[[stream]]\nname = "speech"\nsource = "{tmp_path}/speech.wav"\n\n'
        f'[journal]\npath = "{tmp_path}/journal.db"\n'
    )
    heard = "listening" if missing() is None else "no-device"
    with nullcontext() if missing() else virtual_microphone() as microphone:
        daemon = subprocess.Popen(
            [*BOXED, str(UNITS / "sadstream.service"), *SADSTREAM, "run", "--config", str(settings),
             "--publish", endpoint, "--wait-subscriber", "60"],
            stderr=subprocess.PIPE, text=True, env=microphone.environment if microphone else None,
        )  # fmt: skip
        listener = start("listen", endpoint, "--json", "--timeout", "120")
        try:
            events = []
            for line in listener.stdout or ():
                events.append(json.loads(line))
                if scores(events) and any(e["stream"] == "mic" and e.get("state") == heard for e in events):
                    break
            daemon.send_signal(signal.SIGTERM)
            _, said = daemon.communicate(timeout=30)
        finally:
            for process in (listener, daemon):
                process.kill()
                process.communicate()

    assert daemon.returncode == 0, said
    assert scores(events), said
    assert any(event["stream"] == "mic" and event.get("state") == heard for event in events), said
