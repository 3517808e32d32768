"""A fake daemon for an app's tests: a process of its own that says what the test tells it to."""

import json
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sadstream.base.errors import UnavailableError
from sadstream.events import Event, State, from_json, to_json
from sadstream.testing.made_up import STREAM, status
from sadstream.testing.scripted import Numbering

START_S = 20.0  # of a process that imports pyzmq, on a machine with other work
END_S = 5.0
ANY_PORT = "tcp://127.0.0.1:0"


class FakeDaemon:
    """What a test holds of it; `fake_daemon` makes one. Each call returns when the daemon has done it."""

    def __init__(self, endpoint: str, stream: str) -> None:
        self.endpoint = endpoint
        self.session = ""
        self._stream = stream
        self._numbering = Numbering()
        self._start()

    def send(self, *events: Event) -> list[Event]:
        """Say these; the events as they were said, with its session, the numbers of their topics, and the time."""
        return [self._said(event, lost=False) for event in events]

    def lose(self, *events: Event) -> list[Event]:
        """Number these and send them to nobody: a gap, which only its memory can fill."""
        return [self._said(event, lost=True) for event in events]

    def say(self, state: State) -> Event:
        """Say a state, with a usual reason."""
        return self._said(status(state, stream=self._stream), lost=False)

    def wait_for_subscriber(self, timeout_s: float = 10.0) -> None:
        """Return once somebody listens to scores; what is said before that, they hear the last of. TimeoutError."""
        if not self._asked({"do": "wait", "timeout_s": timeout_s}, timeout_s)["heard"]:
            raise TimeoutError(f"{self.endpoint}: nobody listened to scores within {timeout_s:g} s")

    def kill(self) -> None:
        """End it with no last word, as a crash does; what it said arrives. To a subscriber it is stale after 11 s."""
        self.close({"do": "crash"})

    def restart(self) -> None:
        """The same, and start another at the same endpoint: to a subscriber a restart."""
        self.kill()
        self._numbering = Numbering()
        self._start()

    def close(self, last: dict[str, Any] | None = None) -> None:
        """End it; it says `stopping` last, where it still lives."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(OSError, ValueError):
            if last is not None:
                stdin.write(json.dumps(last).encode() + b"\n")
        stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        stdout.close()

    def _start(self) -> None:
        command = [sys.executable, "-m", "sadstream.testing", "--told", "--endpoint", self.endpoint]
        self._process = subprocess.Popen(
            [*command, "--stream", self._stream], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            self.session = self._answer(START_S)["session"]
        except BaseException:
            self.close()
            raise

    def _said(self, event: Event, lost: bool) -> Event:
        numbered = self._numbering.feed(event)
        assert isinstance(numbered, Event)
        said = from_json(self._asked({"do": "send", "lost": lost, "event": to_json(numbered)}, 0.0)["event"])
        assert said is not None
        return said

    def _asked(self, request: dict[str, Any], patience_s: float) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except (OSError, ValueError):  # its end of the pipe, or ours, is closed
            raise UnavailableError(f"{self.endpoint}: the fake daemon has ended; restart() starts another") from None
        return self._answer(patience_s + START_S)

    def _answer(self, timeout_s: float) -> Any:
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], timeout_s)[0]
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise UnavailableError(f"{self.endpoint}: the fake daemon does not answer; standard error says why")
        return json.loads(line)


@contextmanager
def fake_daemon(endpoint: str = "", *, stream: str = STREAM) -> Iterator[FakeDaemon]:
    """A daemon that is `listening` to nothing until the end of the `with`, and says what it is told.

    endpoint: default ipc in a folder of its own; `tcp://127.0.0.1:0` is a free port; else as it is.
    """
    with tempfile.TemporaryDirectory(prefix="sadstream-") as folder:
        daemon = FakeDaemon(_free_port() if endpoint == ANY_PORT else endpoint or f"ipc://{folder}/pub", stream)
        try:
            yield daemon
        finally:
            daemon.close()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"
