"""What is known before a cluster starts: tokens, ports, memory, and whether Ray is there."""

import importlib.util
import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest
from daemon import run

from sadstream.base.errors import BusyError, ConfigError, MissingFileError, SadstreamError, UnavailableError
from sadstream.cluster import nodes, tokens
from sadstream.cluster.nodes import NodeSettings, start_head
from sadstream.cluster.tokens import check_token, make_token


def test_a_token_is_its_owners_alone_and_made_once(tmp_path: Path) -> None:
    path = make_token(tmp_path / "new" / "token")
    content = path.read_text()

    assert path.stat().st_mode & 0o777 == 0o600
    assert len(content) == 64
    assert make_token(path).read_text() == content


@pytest.mark.parametrize(
    ("mode", "content", "error", "said"),
    [
        (0o644, "secret", ConfigError, "mode 0644 lets others run code here"),
        (0o600, "", ConfigError, "found an empty file"),
        (None, "", MissingFileError, "no such token"),
    ],
)
def test_a_token_that_cannot_be_used_is_said_without_its_content(
    tmp_path: Path, mode: int | None, content: str, error: type[SadstreamError], said: str
) -> None:
    path = tmp_path / "token"
    if mode is not None:
        path.write_text(content)
        path.chmod(mode)

    with pytest.raises(error, match=said) as caught:
        check_token(path)
    assert "secret" not in str(caught.value)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    base = nodes.free_base_port()
    with socket.socket() as other:
        other.bind(("", base + 3))
        with pytest.raises(BusyError, match=f"port {base + 3} is in use; expected {base} to {base + 109} free"):
            start_head(NodeSettings(make_token(tmp_path / "token"), base))


def test_shared_memory_that_is_too_small_ends_with_the_line_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(64 << 20, 0, 64 << 20))

    with pytest.raises(UnavailableError, match="64 MB free, expected 160; in a container add --shm-size 512m"):
        start_head(NodeSettings(make_token(tmp_path / "token"), nodes.free_base_port()))


def test_the_folder_of_one_that_was_killed_is_taken_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nodes, "SHARED_MEMORY", tmp_path)
    for name in ("sadray-4194304-dead", f"sadray-{os.getpid()}-alive", "others"):  # no pid is greater than 2^22
        (tmp_path / name).mkdir()

    made = nodes._folder()

    assert {path.name for path in tmp_path.iterdir()} == {f"sadray-{os.getpid()}-alive", "others", made.name}


def test_without_ray_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(UnavailableError, match=r"pip install '\.\[cluster\]'"):
        nodes.require()


def test_a_host_means_its_first_port() -> None:
    assert nodes._with_port("gpu") == "gpu:6379"
    assert nodes._with_port("gpu:7000") == "gpu:7000"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--listen", "tcp://0.0.0.0:5560"], 78, "speech would cross the network in plain; make a key"),
        (["--listen", "udp://x"], 78, "expected ipc:///path or tcp://"),
        (["--listen", "tcp://0.0.0.0:5560", "--secret-key", "no.key", "--allow", "no.keys"], 78, "no such key"),
        (["--secret-key", "serve.key"], 78, "allow: missing"),
        (["--replicas", "none"], 2, "expected auto, a number, or LEAST:MOST"),
        (["--replicas", "4:2"], 2, "no more than 2"),
        (["--compute", "tpu"], 2, "is not one of"),
        (["--join", "127.0.0.1:1"], 69, "nobody answers at 127.0.0.1:1"),
        (["--join", "127.0.0.1:1", "--token", "missing"], 66, "no such token"),
        (["--status"], 69, "nobody answers"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    if "--token" not in words:
        words = [*words, "--token", str(make_token(tmp_path / "token"))]

    done = run("serve", *words, "--ray-port", str(nodes.free_base_port()), cwd=tmp_path, env=os.environ)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_who_has_no_token_but_may_read_the_services_gets_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, after `sadstream service install --serve`; who has one of their own keeps it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(tokens, "SERVICE_TOKEN", tmp_path / "service")
    own = tmp_path / "sadstream" / tokens.TOKEN_CREDENTIAL
    assert tokens.default_token() == own
    tokens.make_token(tmp_path / "service")
    assert tokens.default_token() == tmp_path / "service"
    tokens.make_token(own)
    assert tokens.default_token() == own


def test_whose_the_head_is_stands_in_the_systems_table() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert nodes._listener(port) == os.getuid()
    assert nodes._listener(port) == 0
