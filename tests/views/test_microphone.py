"""A browser's microphone without a browser: who may send, what becomes of each frame, and a daemon that hears them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from browser_microphone import hearing, wait_for
from capturing import talk
from chromium import free_port
from daemon import run
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from test_dashboard import made_pair, made_token
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from wire import a_score, a_status

from sadstream.audio.sources.browser import AUDIO, CLOSED, OPENED, browser_server
from sadstream.base.errors import ConfigError
from sadstream.base.samples import to_pcm
from sadstream.config import parse
from sadstream.events import to_json
from sadstream.events.control import ask
from sadstream.views.microphone.app import application
from sadstream.views.microphone.intake import StreamIntake
from sadstream.views.web.options import Options

ADDRESS = "http://127.0.0.1:8752"
SOCKET = "ws://127.0.0.1:8752"
TOKEN = "a-token-that-nobody-guesses"
HERE = Options(endpoint="tcp://127.0.0.1:5556", port=8752)
EXAMPLE = Path(__file__).parents[2] / "examples" / "python" / "microphone.py"
FRAME = b"\x01\x02" * 1600


class Ends:
    """The daemon's ends of the server's sockets."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.control, self._control = pair()
        self.lines = {}
        self.intakes = {}
        for name in names:
            self.lines[name], theirs = pair()
            self.intakes[name] = StreamIntake(name, theirs, free_s=0.3)

    def heard(self, stream: str = "mic") -> list[bytes]:
        """What has come for a stream."""
        found = []
        try:
            while True:
                found.append(self.lines[stream].recv(65_536))
        except TimeoutError:
            return found

    def close(self) -> None:
        """All of them."""
        for one in (self.control, self._control, *self.lines.values(), *(one.line for one in self.intakes.values())):
            one.close()


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0.3)
    return ours, theirs


@contextmanager
def asked(
    options: Options = HERE, *, user: int | None = os.getuid(), names: tuple[str, ...] = ("mic",)
) -> Iterator[tuple[TestClient, Ends]]:
    """A program of this user (or another), and the daemon's ends."""
    ends = Ends(names)
    app = application(options, ends.intakes, ends._control, who=lambda *_: user)
    try:
        with TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 50_000), follow_redirects=False) as client:
            yield client, ends
    finally:
        ends.close()


def until_closed(link: Any) -> WebSocketDisconnect:
    """The code and reason that a connection ends with."""
    while True:
        try:
            link.receive_text()
        except WebSocketDisconnect as closed:
            return closed


# --- who may


@pytest.mark.parametrize(
    ("headers", "user", "code"),
    [
        ({"Origin": "http://evil.example"}, os.getuid(), 403),
        ({"Origin": "http://127.0.0.1:8753"}, os.getuid(), 403),
        ({"Origin": "https://127.0.0.1:8752"}, os.getuid(), 403),
        ({"Origin": "http://localhost:8752.evil.example"}, os.getuid(), 403),
        ({"Origin": "null"}, os.getuid(), 403),
        ({"Host": "evil.example:8752"}, os.getuid(), 421),
        ({}, os.getuid() + 1, 403),
        ({}, None, 403),
    ],
)
def test_who_may_not_send_is_told_before_the_handshake(headers: dict[str, str], user: int | None, code: int) -> None:
    with asked(user=user) as (client, ends):
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client.websocket_connect(f"{SOCKET}/v1/audio", headers=headers),
        ):
            pass
        assert ends.heard() == []

    assert denied.value.status_code == code


@pytest.mark.parametrize("origin", [None, ADDRESS, "http://localhost:8752"])
def test_its_own_page_and_programs_without_an_origin_may(origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    with asked() as (client, ends), client.websocket_connect(f"{SOCKET}/v1/audio", headers=headers) as link:
        link.send_bytes(FRAME)
        hello = link.receive_json()

        assert ends.heard() == [OPENED + b"127.0.0.1", AUDIO + FRAME]
    assert (hello["type"], hello["rate"], hello["bits"], hello["channels"]) == ("hello", 16000, 16, 1)


@pytest.mark.parametrize(("given", "let_in"), [(TOKEN, True), ("another-token-of-22-letters", False), (None, False)])
def test_with_a_token_it_is_the_token_that_counts(given: str | None, let_in: bool) -> None:
    options = Options(endpoint=HERE.endpoint, port=8752, token=TOKEN)
    headers = {} if given is None else {"Authorization": f"Bearer {given}"}
    with asked(options, user=os.getuid() + 1) as (client, _):
        if let_in:
            with client.websocket_connect(f"{SOCKET}/v1/audio", headers=headers) as link:
                assert link.receive_json()["type"] == "hello"
        else:
            with (
                pytest.raises(WebSocketDenialResponse) as denied,
                client.websocket_connect(f"{SOCKET}/v1/audio", headers=headers),
            ):
                pass
            assert denied.value.status_code == 401
            assert denied.value.headers["www-authenticate"] == "Bearer"


def test_a_browser_logs_in_with_the_token_and_its_cookie_lets_it_send() -> None:
    with asked(Options(endpoint=HERE.endpoint, port=8752, token=TOKEN)) as (client, _):
        assert client.get("/").headers["location"] == "/pages/login.html"
        client.post("/login", data={"token": TOKEN}, headers={"Origin": ADDRESS})

        assert "go" in client.get("/").text
        with client.websocket_connect(f"{SOCKET}/v1/audio", headers={"Origin": ADDRESS}) as link:
            assert link.receive_json()["type"] == "hello"


def test_the_page_asks_nothing_of_others_and_may_use_the_microphone() -> None:
    with asked() as (client, _):
        answer = client.get("/")

    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    assert "http" not in answer.text.replace('href="/', "")


# --- frames


@pytest.mark.parametrize(
    ("frame", "code"),
    [(b"\x00" * 3, 1007), (b"", 1007), ("sound", 1003), ('{"type": "start"}', 1003), ("[" * 10_000, 1003)],
)
def test_a_frame_that_is_none_ends_the_connection_and_says_why(frame: bytes | str, code: int) -> None:
    with asked() as (client, ends), client.websocket_connect(f"{SOCKET}/v1/audio") as link:
        (link.send_bytes if isinstance(frame, bytes) else link.send_text)(frame)  # type: ignore[arg-type, operator]
        link.send_bytes(FRAME)
        closed = until_closed(link)

        assert (closed.code, "expected" in closed.reason) == (code, True)
        assert ends.heard() == []


def test_one_is_heard_at_a_time_until_it_stops_or_is_silent() -> None:
    with asked() as (client, ends), client.websocket_connect(f"{SOCKET}/v1/audio") as first:
        first.send_bytes(FRAME)
        ends.heard()
        first.send_bytes(FRAME)
        with client.websocket_connect(f"{SOCKET}/v1/audio") as second:
            second.send_bytes(FRAME)
            assert until_closed(second).code == 4409
        assert ends.heard() == [AUDIO + FRAME]
        time.sleep(0.3)
        with client.websocket_connect(f"{SOCKET}/v1/audio") as third:
            third.send_bytes(FRAME)
            assert until_closed(first).code == 4409
            third.send_text('{"type": "stop"}')
            assert ends.heard() == [OPENED + b"127.0.0.1", AUDIO + FRAME, CLOSED + b"127.0.0.1 was stopped"]


def test_what_the_daemon_does_not_take_is_counted_and_nothing_grows() -> None:
    with asked() as (client, ends), client.websocket_connect(f"{SOCKET}/v1/audio") as link:
        for _ in range(200):
            link.send_bytes(bytes(32_000))
        time.sleep(1.1)
        link.send_bytes(bytes(32_000))
        told: dict[str, Any] = {"seconds": 0}
        while told.get("lost_seconds", 0) < 100:
            told = link.receive_json()

        assert told["seconds"] + told["lost_seconds"] == 201
        assert len(ends.heard()) < 20


def test_in_a_pause_nothing_is_passed_on_and_the_page_is_told() -> None:
    with asked() as (client, ends), client.websocket_connect(f"{SOCKET}/v1/audio") as link:
        link.receive_json()
        ends.control.send(to_json(a_status(state="paused", reason="user")).encode())
        assert link.receive_json()["state"] == "paused"
        link.send_bytes(FRAME)
        told = link.receive_json()
        assert ends.heard() == []
        ends.control.send(to_json(a_status(state="starting")).encode())
        assert link.receive_json()["state"] == "starting"
        link.send_bytes(FRAME)

        assert ends.heard() == [OPENED + b"127.0.0.1", AUDIO + FRAME]
    assert told["unheard_seconds"] == pytest.approx(0.1)


def test_whoever_comes_is_told_how_the_stream_is_and_its_last_score() -> None:
    with asked() as (client, ends):
        for event in (a_status(), a_score(3)):
            ends.control.send(to_json(event).encode())
        time.sleep(0.2)
        with client.websocket_connect(f"{SOCKET}/v1/audio") as link:
            told = [link.receive_json() for _ in range(3)]

    assert [one["type"] for one in told] == ["hello", "status", "score"]
    assert told[2]["segment"] == 3


def test_a_sender_that_the_daemon_refuses_is_closed_with_its_reason() -> None:
    with asked() as (client, ends), client.websocket_connect(f"{SOCKET}/v1/audio") as link:
        link.send_bytes(FRAME)
        ends.heard()
        ends.lines["mic"].send(b"4429 expected 16000 samples a second")
        closed = until_closed(link)

        assert (closed.code, closed.reason) == (4429, "expected 16000 samples a second")
        assert ends.heard() == []


def test_each_stream_has_its_own_sender_and_an_unknown_one_is_refused() -> None:
    with asked(names=("anna", "ben")) as (client, ends):
        with (
            client.websocket_connect(f"{SOCKET}/v1/audio") as first,
            client.websocket_connect(f"{SOCKET}/v1/audio?stream=ben") as second,
        ):
            for link in (first, second):
                link.send_bytes(FRAME)
            assert [ends.heard(name)[1] for name in ("anna", "ben")] == [AUDIO + FRAME] * 2
        with client.websocket_connect(f"{SOCKET}/v1/audio?stream=eve") as link:
            closed = until_closed(link)

    assert (closed.code, closed.reason) == (4404, "no such stream here; expected one of anna, ben")


# --- the daemon


@contextmanager
def sending(port: int) -> Iterator[ClientConnection]:
    """A program that is connected."""
    with connect(f"ws://127.0.0.1:{port}/v1/audio") as link:
        yield link


def play(link: ClientConnection, seconds: float) -> None:
    """Send sound at the speed at which it is spoken."""
    begun_s = time.monotonic()
    noise = np.random.default_rng(0).integers(-2000, 2000, 1600, dtype=np.int16).tobytes()
    for n in range(int(10 * seconds)):
        link.send(noise)
        time.sleep(max(0.0, begun_s + (n + 1) / 10 - time.monotonic()))
        drain(link)


def drain(link: ClientConnection) -> list[dict[str, Any]]:
    """What has been said to a sender."""
    found = []
    try:
        while True:
            found.append(json.loads(link.recv(timeout=0)))
    except TimeoutError:
        return found


def test_a_daemon_says_at_each_moment_whether_a_page_is_heard(tmp_path: Path, endpoint: str) -> None:
    port = free_port()
    with hearing(tmp_path, port) as process:
        wait_for(endpoint, ("no-device", "device-absent"))
        with sending(port) as link:
            play(link, 0.5)
            wait_for(endpoint, ("listening", "none"))
            wait_for(endpoint, ("no-device", "stalled"))
            play(link, 0.5)
            wait_for(endpoint, ("listening", "none"))
            ask(endpoint, "pause")
            play(link, 0.5)
            assert ask(endpoint, "status").streams[0].state == "paused"
            ask(endpoint, "resume")
            play(link, 0.5)
            wait_for(endpoint, ("listening", "none"))
        wait_for(endpoint, ("no-device", "device-lost"))
        (page,) = psutil.Process(process.pid).children()
        page.send_signal(signal.SIGKILL)
        until_s = time.monotonic() + 20
        while True:
            try:
                with sending(port) as link:
                    play(link, 0.5)
                    wait_for(endpoint, ("listening", "none"))
                break
            except (OSError, WebSocketException):
                assert time.monotonic() < until_s
                time.sleep(0.2)
        (page,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        psutil.wait_procs([page], 5)

        assert not page.is_running()


def test_the_example_is_heard_and_hears_its_scores(tmp_path: Path, endpoint: str) -> None:
    pcm = to_pcm(talk(2))
    port = free_port()
    with hearing(tmp_path, port):
        wait_for(endpoint, ("no-device", "device-absent"))
        address = f"ws://127.0.0.1:{port}/v1/audio"
        example = subprocess.Popen(
            [sys.executable, str(EXAMPLE), address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False
        )
        assert example.stdin is not None
        begun_s = time.monotonic()
        for at in range(0, len(pcm) + 48_000, 3200):
            example.stdin.write(pcm[at : at + 3200].ljust(3200, b"\0"))
            example.stdin.flush()
            time.sleep(max(0.0, begun_s + (at + 3200) / 32_000 - time.monotonic()))
        out, _ = example.communicate(timeout=20)

    assert example.returncode == 0
    assert [len(line.split()) for line in out.decode().splitlines()][:1] == [3]
    assert len(EXAMPLE.read_text().splitlines()) <= 25


@pytest.mark.parametrize(
    ("web", "said"),
    [
        ({"microphone_host": "0.0.0.0"}, "web.microphone_token, web.microphone_tls_cert and web.microphone_tls_key"),
        ({"microphone_token": "open.token"}, "chmod 600"),
        ({"microphone_names": ["a b"]}, "web.microphone_names"),
    ],
)
def test_a_page_that_others_could_send_to_unguarded_is_refused(
    tmp_path: Path, web: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open.token").write_text(TOKEN)
    (tmp_path / "open.token").chmod(0o644)
    server = browser_server(parse({"stream": [{"source": "browser"}], "web": web}, "test"))
    assert server is not None

    with pytest.raises(ConfigError, match=said):
        server.check()
    server.close()


def test_that_is_one_line_and_78(tmp_path: Path) -> None:
    config = tmp_path / "sadstream.toml"
    config.write_text('[[stream]]\nsource = "browser"\n[web]\nmicrophone_host = "0.0.0.0"\n')
    done = run("run", "--config", str(config), "--publish", f"ipc://{tmp_path}/pub")

    assert done.returncode == 78
    assert len([line for line in done.stderr.splitlines() if "INFO" not in line]) == 1


def test_a_port_in_use_is_one_line_and_73(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = tmp_path / "sadstream.toml"
        config.write_text(f'[[stream]]\nsource = "browser"\n[web]\nmicrophone_port = {taken.getsockname()[1]}\n')
        done = run("run", "--config", str(config), "--publish", f"ipc://{tmp_path}/pub")
    lines = [line for line in done.stderr.splitlines() if "INFO" not in line]

    assert done.returncode == 73
    assert len(lines) == 1
    assert "web.microphone_port" in lines[0]


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "websockets"])
def test_a_missing_extra_is_one_line_and_69(library: str) -> None:
    code = (
        f"import sys, importlib.util as u; sys.modules[{library!r}] = None; found = u.find_spec; "
        f"u.find_spec = lambda name, *a: None if name == {library!r} else found(name, *a); "
        "from sadstream.views.microphone.serve import main; sys.exit(main())"
    )
    words = ["--check", "--endpoint=tcp://127.0.0.1:5556", "--host=127.0.0.1", "--port=8752"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)

    assert done.returncode == 69, done.stderr
    assert done.stderr == f"microphone: {library} is missing; in the checkout: pip install '.[web]'\n"


def test_over_tls_with_a_token_other_machines_may_send(tmp_path: Path, endpoint: str) -> None:
    import ssl

    certificate, key = made_pair(tmp_path)
    token = made_token(tmp_path)
    port = free_port()
    web = (
        f'microphone_host = "0.0.0.0"\nmicrophone_names = ["localhost"]\nmicrophone_token = "{token}"\n'
        f'microphone_tls_cert = "{certificate}"\nmicrophone_tls_key = "{key}"\n'
    )
    trust = ssl.create_default_context(cafile=certificate)
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
    with hearing(tmp_path, port, web=web):
        wait_for(endpoint, ("no-device", "device-absent"))
        with connect(f"wss://localhost:{port}/v1/audio", ssl=trust, additional_headers=headers) as link:
            play(link, 0.5)
            wait_for(endpoint, ("listening", "none"))
