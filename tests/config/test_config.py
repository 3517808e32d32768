"""A configuration is valid as a whole or refused in one line that names key, value and what was expected."""

import os
import re
from pathlib import Path

import pytest

from sadstream.base.errors import ConfigError, MissingFileError
from sadstream.config import Config, load, loading, parse
from sadstream.config import tables as config
from sadstream.config.loading import to_toml
from train.presets import load_preset


def parsed(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "sadstream.toml"
    path.write_text(text)
    return loading.load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[vad]\naggressiveness = 7", "vad.aggressiveness = 7"),
        ("[vad]\naggresiveness = 2", "vad.aggresiveness: unknown key"),
        ("[vda]\nx = 1", "vda: unknown key"),
        ("[vad]\naggressiveness = '2'", "vad.aggressiveness = '2'"),
        ("[model]\nthreshold = nan", "model.threshold = nan"),
        ("[model]\nprior = 0.0", "model.prior = 0.0"),
        ("[model]\nprior = 1.0", "model.prior = 1.0"),
        ("[segment]\nhold_ms = inf", "segment.hold_ms = inf"),
        ("[segment]\nopen_voiced = 11", "open_voiced = 11"),
        ("[publish]\ntext = 'yes'", "publish.text = 'yes'"),
        ("[[stream]]\nname = 'Kitchen'", "stream.0.name = 'Kitchen'"),
        ("[[stream]]\nname = 'a'\n[[stream]]\nname = 'a'", "different names"),
        ("[publish]\nspeaker = true", "publish.speaker: nobody is told apart"),
        ("[whisper]\nlanguage = 'english'", "whisper.language = 'english'"),
        ("[compute]\ndevice = 'tpu'", "compute.device = 'tpu'"),
        ("this is not TOML", "cannot be read as TOML"),
        ("stream = []", "stream"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(tmp_path, text)

    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_binary_junk_is_not_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "junk.toml"
    path.write_bytes(bytes(range(256)))

    with pytest.raises(ConfigError):
        loading.load(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[vad]\naggressiveness = " + "9" * 5000, "digits"),
        ("deep = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("# " + "a" * 1_000_000, "more than 1000000 bytes"),
    ],
    ids=["digits", "deep", "long"],
)
def test_what_no_file_of_settings_holds_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "sadstream.toml").write_text(text)

    with pytest.raises(ConfigError, match=f"cannot be read as TOML: .*{says}"):
        loading.load(tmp_path / "sadstream.toml")
    with pytest.raises(ConfigError, match=f"cannot be read as TOML: .*{says}"):
        load_preset(str(tmp_path / "sadstream.toml"))


def test_a_device_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('base = "/dev/zero"')

    with pytest.raises(ConfigError, match="/dev/zero: cannot be read"):
        loading.load(Path("/dev/zero"))
    with pytest.raises(ConfigError, match="/dev/zero: cannot be read"):
        load_preset(str(tmp_path / "own.toml"))


def test_a_mark_of_byte_order_at_the_head_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "sadstream.toml").write_bytes(b"\xef\xbb\xbf[vad]\r\naggressiveness = 1\r\n")

    assert loading.load(tmp_path / "sadstream.toml").vad.aggressiveness == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such configuration file"):
        loading.load(tmp_path / "none.toml")


def test_without_a_file_there_are_defaults() -> None:
    assert loading.load(None) == config.Config()


def test_what_is_printed_reads_back_as_the_same(tmp_path: Path) -> None:
    given = parsed(
        tmp_path, "[[stream]]\nname = 'room1'\nsource = 'x.flac'\n[vad]\naggressiveness = 1\n[model]\nprior = 0.05"
    )

    assert parsed(tmp_path, to_toml(given)) == given


def test_the_commented_file_that_ships_holds_every_default() -> None:
    shipped = loading.load(Path("configs/sadstream.toml"))

    assert shipped == config.Config()
    text = Path("configs/sadstream.toml").read_text()
    for name in config.Config.model_fields:
        assert f"[{name}]" in text or f"[[{name}]]" in text, name
        annotation = getattr(config.Config(), name)
        for key in type(annotation[0] if isinstance(annotation, tuple) else annotation).model_fields:
            assert f"{key} = " in text, f"{name}.{key}"


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.Config().vad.aggressiveness = 3  # type: ignore[misc]


WRITTEN = [
    ("[stream]\nsource = 'mic'", "[[stream]] with two brackets"),
    ("[[vad]]\naggressiveness = 2", "expected a table [vad]; found [[vad]]"),
    ("vad = 3", "expected a table [vad]; found vad = 3"),
    ("[jurnal]\npath = 'a'", "did you mean journal?"),
    ("[vad]\naggresiveness = 2", "did you mean aggressiveness?"),
    ("[[stream]]\nsuorce = 'mic'", "did you mean source?"),
    ("endpoint = 'ipc:///a'", "it belongs to [publish]"),
    ("[vad]\naggressiveness = 1\naggressiveness = 2", "cannot be read as TOML"),
    ("[vad]\naggressiveness = 2030-01-31", "vad.aggressiveness = datetime.date"),
    ("[vad]\ndecay_db_s = nan", "vad.decay_db_s"),
    ("[journal]\npath = 'a\\u0000b'".replace("'", '"'), "without NUL"),
    ("a = " + "[" * 5000 + "]" * 5000, "cannot be read as TOML"),
    ("a = " + "9" * 5000, "cannot be read as TOML"),
    ("#" * 1_000_001, "more than 1000000 bytes"),
]


@pytest.mark.parametrize(("text", "says"), WRITTEN, ids=[says for _, says in WRITTEN])
def test_what_was_meant_is_said(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.toml").write_text(text)

    with pytest.raises(ConfigError, match=re.escape(says)) as error:
        load(tmp_path / "a.toml")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.toml").write_bytes("# Gerät\n[vad]\naggressiveness = 1".encode(encoding))

    with pytest.raises(ConfigError, match="expected UTF-8"):
        load(tmp_path / "a.toml")


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes("[vad]\naggressiveness = 1".encode("utf-8-sig"))

    assert load(tmp_path / "a.toml").vad.aggressiveness == 1


def test_a_configuration_is_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "loop", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path)
    assert load(Path(os.devnull)) == Config()


def test_a_tilde_is_the_home_in_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    table = {
        "stream": [{"source": "~/a.wav"}],
        "journal": {"path": "~/a"},
        "voice": {"path": "~/a", "speakers": "~/a"},
        "model": {"checkpoint": "~/a"},
        "publish": {"endpoint": "ipc://~/a", "secret_key": "~/a", "allow": "~/a"},
    }
    found = parse(table, "here")

    assert found.stream[0].source == "/home/me/a.wav"
    assert found.publish.endpoint == "ipc:///home/me/a"
    assert "~" not in found.model_dump_json()
