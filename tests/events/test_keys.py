"""Keys: safe files, an allow-list that counts at the next handshake, and nobody else let in."""

import stat
from pathlib import Path
from typing import Any

import pytest
from daemon import run
from wire import free_tcp, program, ready

from sadstream.base.errors import ConfigError, MissingFileError, UsageError
from sadstream.client import subscribe
from sadstream.events.keys import (
    KEY,
    AllowList,
    allow,
    new_key,
    public_key,
    read_allowed,
    read_secret,
    server_keys,
    zap_answer,
)

HEARD_S = 5.0  # for whoever may listen; on a busy machine
SILENT_S = 1.5  # for whoever may not


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A secret key of the test's own."""
    path = tmp_path / "curve.key"
    new_key(path)
    return path


def test_a_new_key_is_its_owners_alone_and_prints_its_public_half(tmp_path: Path) -> None:
    path = tmp_path / "mine.key"
    printed = run("keys", "new", str(path)).stdout.strip()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY.fullmatch(printed)
    assert run("keys", "show", str(path)).stdout.strip() == printed
    assert printed not in path.read_text()


def test_a_key_is_never_replaced(key: Path) -> None:
    before = key.read_bytes()
    done = run("keys", "new", str(key))

    assert done.returncode == 73
    assert len(done.stderr.splitlines()) == 1
    assert key.read_bytes() == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(key: Path, mode: int) -> None:
    key.chmod(mode)

    with pytest.raises(ConfigError, match=f"{mode:04o}.*chmod 600"):
        read_secret(key)


@pytest.mark.parametrize("content", ["", "short", "x" * 41, "ż" * 40, "a b" * 13 + "c"])
def test_what_is_no_key_is_refused_and_never_repeated(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.key"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(ConfigError) as error:
        read_secret(path)
    assert not content or content not in str(error.value)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="keys new"):
        read_secret(tmp_path / "none.key")


def test_allow_adds_a_key_once(key: Path, tmp_path: Path) -> None:
    listed = tmp_path / "allowed.keys"
    public = public_key(key)
    for expected in ("added", "there already"):
        assert expected in run("keys", "allow", public, "--to", str(listed), "--name", "a phone").stdout

    assert read_allowed(listed) == [public]
    assert listed.read_text() == f"{public} a phone\n"


def test_a_byte_order_mark_is_no_part_of_a_key(key: Path, tmp_path: Path) -> None:
    secret, listed = read_secret(key), tmp_path / "allowed"
    key.write_bytes(b"\xef\xbb\xbf" + secret)
    listed.write_bytes(b"\xef\xbb\xbf" + public_key(key).encode() + b" ann\n")
    listed.chmod(0o644)

    assert read_secret(key) == secret
    assert read_allowed(listed) == [public_key(key)]


def test_an_allow_list_may_have_comments(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.keys"
    listed.write_text(f"# phones\n\n{'aaaa#' * 8} mine\n")

    assert read_allowed(listed) == ["aaaa#" * 8]


@pytest.mark.parametrize("group", ["#aaaa", "$aaaa", "%nSc1"])
def test_forty_letters_that_stand_for_no_32_bytes_are_no_key(tmp_path: Path, group: str) -> None:
    """libzmq refuses them when the socket is made, which is too late for one line."""
    letters = "a" * 35 + group
    (tmp_path / "secret").write_text(letters)
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "allowed").write_text(letters)

    with pytest.raises(ConfigError, match="expected a secret key"):
        read_secret(tmp_path / "secret")
    with pytest.raises(ConfigError, match="expected a public key"):
        read_allowed(tmp_path / "allowed")
    with pytest.raises(UsageError, match="40 letters"):
        allow(tmp_path / "new", letters, "anna")


def test_a_bad_line_of_an_allow_list_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.keys"
    listed.write_text("# phones\nnot a key\n")

    with pytest.raises(ConfigError, match=r"allowed\.keys:2: expected"):
        read_allowed(listed)


def test_an_allow_list_that_others_can_write_is_refused(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.keys"
    listed.write_text("")
    listed.chmod(0o666)

    with pytest.raises(ConfigError, match="chmod 644"):
        read_allowed(listed)


def test_a_key_that_is_none_is_not_allowed(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        allow(tmp_path / "allowed.keys", "nonsense", "")


def test_a_key_without_an_allow_list_is_refused(key: Path) -> None:
    with pytest.raises(ConfigError, match=r"publish\.allow: missing"):
        server_keys(str(key), None)


def test_an_allow_list_that_allows_nobody_is_refused(key: Path, tmp_path: Path) -> None:
    listed = tmp_path / "allowed.keys"
    listed.write_text("# nobody yet\n")

    with pytest.raises(ConfigError, match="allows nobody"):
        server_keys(str(key), str(listed))


def test_credentials_of_the_service_manager_are_taken(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the mode that systemd gives them, which shows the mask of an access list as the group's bit."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "curve.key").write_bytes(key.read_bytes())
    (folder / "allowed.keys").write_text(public_key(key) + "\n")
    for path in folder.iterdir():
        path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    found = server_keys(None, None)

    assert found is not None
    assert found.secret == read_secret(key)
    assert found.allowed == folder / "allowed.keys"


def test_a_handshake_is_answered_by_the_list_as_it_is_now(key: Path, tmp_path: Path) -> None:
    import zmq.utils.z85

    listed = tmp_path / "allowed.keys"
    public = public_key(key)
    allowed = AllowList(listed)
    request = [b"1.0", b"7", b"sadstream", b"127.0.0.1", b"", b"CURVE", zmq.utils.z85.decode(public)]

    assert zap_answer(request, allowed)[2] == b"400"  # type: ignore[index]
    allow(listed, public, "")
    assert zap_answer(request, allowed) == [b"1.0", b"7", b"200", b"OK", public.encode(), b""]


@pytest.mark.parametrize(
    ("mechanism", "credentials"),
    [
        (b"NULL", []),
        (b"PLAIN", [b"user", b"word"]),
        (b"CURVE", []),
        (b"CURVE", [b"short"]),
        (b"CURVE", [b"x" * 32] * 2),
    ],
)
def test_any_other_handshake_is_turned_away(tmp_path: Path, mechanism: bytes, credentials: list[bytes]) -> None:
    reply = zap_answer([b"1.0", b"7", b"d", b"a", b"", mechanism, *credentials], AllowList(tmp_path / "none"))

    assert reply is not None
    assert reply[2] == b"400"
    assert zap_answer([b"garbage"], AllowList(tmp_path / "none")) is None


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:5556", "tcp://*:5556", "tcp://[::]:5556", "tcp://192.0.2.7:5556"])
def test_a_bind_that_others_could_reach_needs_keys(endpoint: str) -> None:
    done = run("run", "--publish", endpoint, "--source", "-", input="")

    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert endpoint in line
    assert "sadstream keys" in line


def test_an_unsafe_key_stops_the_start_before_any_model_loads(key: Path, tmp_path: Path, scene: Path) -> None:
    key.chmod(0o644)
    listed = tmp_path / "allowed.keys"
    allow(listed, public_key_of(key), "")
    config = tmp_path / "config.toml"
    config.write_text(f'[publish]\nendpoint = "tcp://0.0.0.0:5556"\nsecret_key = "{key}"\nallow = "{listed}"\n')
    done = run("run", "--config", str(config), "--source", str(scene))

    assert done.returncode == 78
    assert "chmod 600" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def public_key_of(path: Path) -> str:
    """Also of a file whose mode is refused."""
    import zmq

    return bytes(zmq.curve_public(path.read_bytes().strip())).decode()


def first_seq(endpoint: str, **options: Any) -> int:
    """The number of the first score that a subscriber hears."""
    return next(item.seq for item in subscribe(endpoint, timeout_s=HEARD_S, **options) if item.type == "score")


def test_only_a_known_key_listens(tmp_path: Path) -> None:
    """No key, an unknown key, the wrong server's key: nothing. The known key: scores, and the past."""
    keys = {name: tmp_path / f"{name}.key" for name in ("server", "known", "unknown")}
    public = {name: new_key(path) for name, path in keys.items()}
    listed = tmp_path / "allowed.keys"
    allow(listed, public["known"], "")
    endpoint = free_tcp()

    def hears(timeout_s: float, **options: str | Path | int) -> list[str]:
        found = []
        for item in subscribe(endpoint, timeout_s=timeout_s, **options):  # type: ignore[arg-type]
            found.append(item.type)
            if found.count("score") > 5:
                break
        return found

    with program("publish", endpoint, "--secret", str(keys["server"]), "--allow", str(listed)) as process:
        ready(process)
        known = {"server_key": public["server"], "secret_key": keys["known"]}

        assert hears(HEARD_S, **known).count("score") > 5
        assert hears(SILENT_S) == []
        assert hears(SILENT_S, server_key=public["server"], secret_key=keys["unknown"]) == []
        assert hears(SILENT_S, server_key=public["unknown"], secret_key=keys["known"]) == []
        now, past = (first_seq(endpoint, replay=replay, **known) for replay in (0, 200))
        assert past < now, "the past was not given to the known key"
        allow(listed, public["unknown"], "")
        assert hears(HEARD_S, server_key=public["server"], secret_key=keys["unknown"]).count("score") > 5


def test_listen_on_a_network_takes_keys(tmp_path: Path) -> None:
    server, mine, listed = tmp_path / "server.key", tmp_path / "mine.key", tmp_path / "allowed.keys"
    server_public = new_key(server)
    allow(listed, new_key(mine), "")
    endpoint = free_tcp()
    with program("publish", endpoint, "--secret", str(server), "--allow", str(listed)) as process:
        ready(process)
        done = run(
            "listen", endpoint, "--count", "1", "--timeout", "20", f"--server-key={server_public}", "--key", str(mine)
        )
        assert done.returncode == 0, done.stderr


def test_a_subscriber_with_half_its_keys_is_told(key: Path) -> None:
    with pytest.raises(UsageError, match="both"):
        subscribe(secret_key=key)
    with pytest.raises(UsageError, match="40 letters"):
        subscribe(secret_key=key, server_key="nonsense")
