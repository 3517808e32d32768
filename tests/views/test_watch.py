"""`sadstream watch` as people see it: on a terminal of its own, beside a daemon in another process."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import SADSTREAM, run, start
from screens import Terminal
from wire import free_tcp, program, ready, say_score, say_status, score_fields

from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.supervision.control import ControlSocket
from sadstream.events import Score
from sadstream.events.control import DaemonReport, control_path

SPEED = "20"


def fake(endpoint: str, *more: str) -> subprocess.Popen[str]:
    return start("fake", "--publish", endpoint, "--speed", SPEED, *more)


@pytest.fixture
def daemon(endpoint: str) -> Iterator[str]:
    """The endpoint of a fake daemon."""
    process = fake(endpoint)
    try:
        yield endpoint
    finally:
        process.kill()
        process.communicate()


def watching(endpoint: str, *more: str, **options: object) -> Terminal:
    return Terminal([*SADSTREAM, "watch", endpoint, *more], **options)  # type: ignore[arg-type]


def seen_and_left(daemon: str, **env: str) -> tuple[str, set[str]]:
    """The screen during an episode and its colours; q ends the view and gives the terminal back."""
    with watching(daemon, **env) as terminal:
        shown = terminal.until("episode 0 ON")
        colours = {cell.fg for row in terminal.screen.buffer.values() for cell in row.values()}
        terminal.type("q")

        assert terminal.ended() == 0
        assert terminal.restored
    return shown, colours


def test_eighty_by_twenty_four_fills_with_what_the_daemon_says(daemon: str) -> None:
    shown, colours = seen_and_left(daemon)

    assert "LISTENING" in shown
    assert "█" in shown
    assert "latency 226 ms" in shown
    assert len(colours) > 2


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}], ids=str)
def test_without_colour_it_says_the_same(daemon: str, env: dict[str, str]) -> None:
    shown, colours = seen_and_left(daemon, **env)

    assert "LISTENING" in shown
    assert colours <= {"default"}
    assert shown.isascii() == ("PYTHONIOENCODING" in env)


def test_a_dumb_terminal_gets_lines(daemon: str) -> None:
    with watching(daemon, term="dumb") as terminal:
        terminal.until(" to ")
        terminal.until("LISTENING")
        terminal.type("q")

        assert terminal.ended() == 0
        assert terminal.restored
        assert b"\x1b" not in terminal.said


def test_a_pipe_gets_lines_and_may_close() -> None:
    endpoint = free_tcp()
    with_head = " ".join([*SADSTREAM, "watch", endpoint, "| head -3"])
    process = fake(endpoint)
    try:
        done = subprocess.run(with_head, shell=True, capture_output=True, text=True, timeout=60, check=False)
    finally:
        process.kill()
        process.communicate()

    assert done.stdout.splitlines()[0].startswith("WAITING: ")
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""


def test_a_daemon_that_dies_is_called_gone_and_the_next_one_is_taken_up(endpoint: str) -> None:
    process = fake(endpoint)
    with watching(endpoint) as terminal:
        try:
            terminal.until("LISTENING")
            process.kill()
            process.communicate()
            terminal.until("GONE", seconds=14.0)
            assert "dead or cannot be reached" in terminal.text
            process = fake(endpoint, "--seed", "7")
            terminal.until("the daemon is a new one")
            terminal.until("LISTENING")
            assert terminal.ended(signal.SIGTERM) == 0
            assert terminal.restored
        finally:
            process.kill()
            process.communicate()


def test_nobody_there_is_said() -> None:
    with watching(free_tcp()) as terminal:
        terminal.until("no daemon has said anything yet")
        terminal.until("is a daemon publishing there", seconds=14.0)
        terminal.type("q")
        assert terminal.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=str)
def test_a_signal_ends_it_and_the_terminal_is_as_before(daemon: str, number: signal.Signals) -> None:
    with watching(daemon) as terminal:
        terminal.until("LISTENING")

        assert terminal.ended(number) == 0
        assert terminal.restored


def test_control_c_ends_it_and_control_z_gives_the_terminal_back_meanwhile(daemon: str) -> None:
    with watching(daemon) as terminal:
        terminal.until("LISTENING")
        terminal.type("\x1a")
        terminal.until(lambda _: terminal.restored)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda text: not terminal.restored and "LISTENING" in text)
        terminal.type("\x03")

        assert terminal.ended() == 0
        assert terminal.restored


def test_a_mistake_leaves_the_terminal_as_it_was() -> None:
    with watching("nonsense") as terminal:
        assert terminal.ended() == 2
        assert terminal.restored
        assert "expected tcp://HOST:PORT" in terminal.text


def shows_when(text: str) -> bool:
    """The row of the strip that says when, which begins with its name."""
    return any(row.lstrip().startswith("time ") for row in text.splitlines())


def test_another_size_is_filled_at_once(daemon: str) -> None:
    with watching(daemon) as terminal:
        terminal.until(shows_when)
        terminal.resize(40, 8)
        terminal.until(lambda text: not shows_when(text) and "LISTENING" in text)
        terminal.resize(120, 40)
        terminal.until(lambda text: shows_when(text) and text.rstrip().splitlines()[-1].startswith("p pause"))
        assert sum("│" in row for row in terminal.text.splitlines()) == 16


class TwoRooms:
    """A daemon with two streams and a control socket, in this process."""

    def __init__(self, endpoint: str) -> None:
        self.asked: list[str] = []
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "TwoRooms":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with (
            Publisher(self._endpoint) as publisher,
            ControlSocket(control_path(self._endpoint), self._answer) as control,
        ):
            say_status(publisher)
            say_status(publisher, "room1", "no-device", "device-absent")
            say_score(publisher, 0)
            said = 0
            while not self._stop.is_set():
                publisher.wait(50, control.fileno())
                control.serve()
                if len(self.asked) > said:
                    said = len(self.asked)
                    state = ("paused", "user") if self.asked[-1] == "pause" else ("listening", "none")
                    say_status(publisher, "mic", *state)  # type: ignore[arg-type]

    def _answer(self, word: str) -> DaemonReport:
        self.asked.append(word)
        return DaemonReport(pid=1, endpoint=self._endpoint, words=False, streams=())


def test_keys_pause_mark_and_go_round_the_streams(endpoint: str, tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    with TwoRooms(endpoint) as rooms, watching(endpoint, "--marks", str(path)) as terminal:
        terminal.until("▸mic")
        terminal.until("p_sad 0.")
        terminal.type("m")
        terminal.until("marked ")
        terminal.type("p")
        terminal.until("PAUSED")
        terminal.type("p")
        terminal.until("LISTENING")
        terminal.type("\x1b[C")
        terminal.until("DEAF")
        assert "there is no such microphone (device-absent)" in terminal.text
        terminal.type("\t")
        terminal.until("▸mic")
        terminal.type("q")
        assert terminal.ended() == 0
    (mark,) = [json.loads(line) for line in path.read_text().splitlines()]

    assert rooms.asked == ["pause", "resume"]
    assert (mark["stream"], mark["score_seq"]) == ("mic", 0)


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_words_are_not_shown_even_where_the_daemon_sends_them(endpoint: str, term: str) -> None:
    with Publisher(endpoint) as publisher, watching(endpoint, term=term) as terminal:
        say_status(publisher)
        spoken = score_fields(0, text="secret words", audio_logit=3.0)
        publisher.send(Score(**publisher.opening("mic", "score"), **spoken))
        while "+3.00" not in terminal.text:
            publisher.wait(50)
            terminal.read()
        assert b"secret" not in terminal.said


def test_what_cannot_be_paused_or_marked_is_said_and_harms_nobody(endpoint: str) -> None:
    with program("publish", endpoint, "--every-ms", "200") as process, watching(endpoint) as terminal:
        ready(process)
        terminal.until("LISTENING")
        terminal.type("p")
        terminal.until("cannot pause: its control socket does not answer")
        terminal.type("m")
        terminal.until("start with --marks FILE")


def test_another_machines_daemon_is_not_paused_by_the_one_here() -> None:
    """Its control socket would be found by the port alone."""
    with watching("tcp://192.0.2.7:5556") as terminal:
        terminal.until("WAITING")
        terminal.type("p")
        terminal.until("is another machine's")
        terminal.type("q")
        assert terminal.ended() == 0


def test_a_file_for_marks_that_cannot_be_written_is_a_line_and_69(tmp_path: Path) -> None:
    done = run("watch", "tcp://127.0.0.1:5556", "--marks", str(tmp_path / "no" / "marks"))

    assert done.returncode == 69
    assert len(done.stderr.splitlines()) == 1
