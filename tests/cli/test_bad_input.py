"""A user's mistake is one line (what, where, what was expected, what to do) and a documented exit code."""

import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from daemon import config_file, run

from sadstream.base.errors import BusyError
from sadstream.daemon.publishing.publisher import Publisher

NOISE = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1


def wav(path: Path, samples: np.ndarray = NOISE, rate: int = 16_000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def missing(folder: Path) -> Path:
    return folder / "nothing.wav"


def directory(folder: Path) -> Path:
    return folder


def empty(folder: Path) -> Path:
    (folder / "empty.wav").touch()
    return folder / "empty.wav"


def without_samples(folder: Path) -> Path:
    return wav(folder / "none.wav", np.zeros(0, dtype=np.float32))


def text_named_wav(folder: Path) -> Path:
    (folder / "text.wav").write_text("I am a letter, not a recording.\n" * 50)
    return folder / "text.wav"


def truncated_wav(folder: Path) -> Path:
    path = wav(folder / "cut.wav")
    path.write_bytes(path.read_bytes()[:9_000])
    return path


def truncated_flac(folder: Path) -> Path:
    path = wav(folder / "cut.flac")
    path.write_bytes(path.read_bytes()[:9_000])
    return path


def lying_wav(folder: Path) -> Path:
    """Its header promises a hundred times what it holds."""
    path = wav(folder / "liar.wav")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 3_200_000)
    path.write_bytes(content)
    return path


def not_numbers(folder: Path) -> Path:
    samples = NOISE.copy()
    samples[8_000] = np.nan
    return wav(folder / "nan.wav", samples, subtype="FLOAT")


BAD = [
    (missing, 66, "no such file"),
    (directory, 66, "is not a file"),
    (empty, 65, "not a recording (0 bytes)"),
    (without_samples, 65, "holds no samples"),
    (text_named_wav, 65, "not a recording"),
    (truncated_wav, 65, "truncated"),
    (truncated_flac, 65, "cut.flac"),
    (lying_wav, 65, "truncated: expected 1600000 samples"),
    (not_numbers, 65, "NaN"),
]


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, says: str) -> None:
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if "INFO" not in line]
    assert len(lines) == 1, done.stderr
    assert says in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.parametrize(("make", "code", "says"), BAD, ids=[make.__name__ for make, _, _ in BAD])
def test_score_names_a_bad_file(tmp_path: Path, make: Callable[[Path], Path], code: int, says: str) -> None:
    path = make(tmp_path)

    assert_one_line(run("score", str(path)), code, says)


@pytest.mark.parametrize(("make", "code", "says"), BAD[:5], ids=[make.__name__ for make, _, _ in BAD[:5]])
def test_the_daemon_does_not_start_with_a_bad_file(
    tmp_path: Path, endpoint: str, make: Callable[[Path], Path], code: int, says: str
) -> None:
    assert_one_line(run("run", "--source", str(make(tmp_path)), "--publish", endpoint), code, says)


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_good_files_are_scored_beside_bad_ones(tmp_path: Path, scene: Path) -> None:
    done = run("score", str(text_named_wav(tmp_path)), str(scene), str(missing(tmp_path)))

    assert done.returncode == 65
    assert len(done.stdout.splitlines()) >= 8
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.parametrize(
    ("samples", "rate", "subtype"),
    [
        (np.repeat(NOISE[:, None], 2, axis=1), 44_100, "PCM_24"),
        (np.repeat(NOISE[:, None], 6, axis=1), 48_000, "PCM_16"),
        (NOISE, 8_000, "PCM_U8"),
        (NOISE[:320], 16_000, "PCM_16"),
        (np.zeros(160_000, dtype=np.float32), 16_000, "FLOAT"),
    ],
    ids=["44.1 kHz stereo", "six channels", "8 bit", "20 ms", "silence"],
)
def test_odd_recordings_are_recordings(tmp_path: Path, samples: np.ndarray, rate: int, subtype: str) -> None:
    done = run("score", str(wav(tmp_path / "odd.wav", samples, rate, subtype)))

    assert done.returncode == 0, done.stderr
    assert done.stdout or "no speech found" in done.stderr


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("[vad]\naggressiveness = 9", 78, "vad.aggressiveness = 9"),
        ("nonsense", 78, "TOML"),
        ("[model]\ncheckpoint = '/nowhere'", 69, "no checkpoint"),
        ("[publish]\nendpoint = 'tcp://0.0.0.0:5556'", 78, "publish.endpoint"),
    ],
)
def test_a_broken_configuration_starts_nothing(tmp_path: Path, scene: Path, text: str, code: int, says: str) -> None:
    options = ["--config", str(config_file(tmp_path, text)), "--source", str(scene)]
    if "endpoint" not in text:
        options += ["--publish", f"ipc://{tmp_path}/pub"]

    assert_one_line(run("run", *options), code, says)


def test_a_missing_model_is_named_with_the_command_that_fetches_it(tmp_path: Path, scene: Path, endpoint: str) -> None:
    import os

    done = run(
        "run", "--source", str(scene), "--publish", endpoint, env=os.environ | {"SADSTREAM_MODELS": str(tmp_path)}
    )

    assert_one_line(done, 69, "sadstream models fetch")


def test_a_port_in_use_is_73(scene: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert_one_line(run("run", "--source", str(scene), "--publish", f"tcp://127.0.0.1:{port}"), 73, "in use")


def test_a_second_instance_is_73_and_the_first_goes_on(scene: Path, endpoint: str) -> None:
    """ZeroMQ alone would let the second take the endpoint away without a word."""
    with Publisher(endpoint) as first:
        assert_one_line(run("run", "--source", str(scene), "--publish", endpoint), 73, "another sadstream")
        with pytest.raises(BusyError), Publisher(endpoint):
            pass
        first.answer_joins()


@pytest.mark.parametrize(
    "arguments",
    [["run", "--pace", "slow"], ["score"], ["nonsense"], ["listen", "--stream", "No!"], ["listen", "--count", "0"]],
)
def test_a_wrong_command_line_is_2(arguments: list[str]) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_listen_ends_with_1_when_nobody_speaks(endpoint: str) -> None:
    done = run("listen", endpoint, "--timeout", "0.5", "--count", "1")
    at_once, at_the_end = done.stderr.splitlines()

    assert done.returncode == 1
    assert "nobody publishes there yet" in at_once
    assert "is a daemon publishing there?" in at_the_end
