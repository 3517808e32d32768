"""A checkpoint is written whole or not at all, says what it is, and is refused when it is not what it says."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sadstream.base.errors import UnavailableError
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.header import Calibration, FusionConfig, Header, LogMelConfig, TextEncoderConfig
from sadstream.scoring.fusion.network import Fusion


def header(fusion: FusionConfig) -> Header:
    return Header(
        system="test",
        provisional=True,
        fusion=fusion,
        masked=False,
        audio=LogMelConfig(),
        text=TextEncoderConfig(name="minilm", identity="0" * 64, pooling="cls", dim=fusion.text_dim),
        calibration=Calibration(),
        prior=0.1,
        threshold=0.5,
        trained_on=("noise",),
        metrics=(),
        licence="CC0-1.0",
        commercial_use=True,
        created_with="test",
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = FusionConfig(channels=(2, 2), hidden=4, text_dim=8)
    checkpoint.save(tmp_path / "model.safetensors", Fusion(config), header(config))
    return tmp_path / "model.safetensors"


def test_what_was_saved_is_loaded(saved: Path) -> None:
    loaded = checkpoint.load(saved)

    again = saved.with_name("again.safetensors")
    assert checkpoint.save(again, loaded.fusion, loaded.header) == loaded.sha256
    assert again.read_bytes() == saved.read_bytes()
    assert not loaded.fusion.training


def test_the_header_is_read_without_the_weights(saved: Path) -> None:
    assert checkpoint.read_header(saved).system == "test"


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no checkpoint"):
        checkpoint.load(tmp_path / "none")


def test_a_pickle_is_not_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "evil.safetensors"
    torch.save({"a": torch.zeros(1)}, path)

    with pytest.raises(UnavailableError, match="not a sadstream checkpoint"):
        checkpoint.load(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 2000])
def test_a_truncated_file_is_refused(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])

    with pytest.raises(UnavailableError):
        checkpoint.load(saved)


def test_one_flipped_bit_is_noticed(saved: Path) -> None:
    """One flipped bit anywhere: refused, in one line, or without effect on what was read."""
    content, rng = saved.read_bytes(), random.Random(0)
    sound = checkpoint.load(saved)
    lines: list[str] = []
    for _ in range(200):
        at = rng.randrange(len(content))
        saved.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
        try:
            found = checkpoint.load(saved)
        except UnavailableError as error:
            lines.append(str(error))
        else:  # white space of the tensor table, the case of an escaped letter
            assert found.header == sound.header
            assert all(map(torch.equal, found.fusion.state_dict().values(), sound.fusion.state_dict().values()))

    assert len(lines) > 150
    assert not any("\n" in line for line in lines)


def test_an_unknown_key_of_the_header_is_named(saved: Path) -> None:
    content = saved.read_bytes()
    size = int.from_bytes(content[:8], "little")
    head = json.loads(content[8 : 8 + size])
    body = json.loads(head["__metadata__"][checkpoint.FORMAT])
    body["header"]["surprise"] = 1
    head["__metadata__"][checkpoint.FORMAT] = json.dumps(body)  # the seal is looked at after the header
    raw = json.dumps(head).encode()
    saved.write_bytes(len(raw).to_bytes(8, "little") + raw + content[8 + size :])

    with pytest.raises(UnavailableError, match="surprise"):
        checkpoint.load(saved)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    config = FusionConfig(channels=(2, 2), hidden=4, text_dim=8)
    fusion = Fusion(config)
    fusion.bias.data.fill_(float("nan"))
    checkpoint.save(tmp_path / "nan.safetensors", fusion, header(config))

    with pytest.raises(UnavailableError, match="not numbers"):
        checkpoint.load(tmp_path / "nan.safetensors")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(saved: Path) -> None:
    before = saved.read_bytes()
    config = FusionConfig(channels=(2, 2), hidden=4, text_dim=6_000_000)

    with pytest.raises(ValueError, match="at most"):
        checkpoint.save(saved, Fusion(config), header(config))

    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def resealed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The file with another header, sealed as whoever writes it would."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + size])
    said = json.loads(table["__metadata__"][checkpoint.FORMAT])
    change(said["header"])
    said["sha256"] = checkpoint._seal(content, said["header"])
    table["__metadata__"][checkpoint.FORMAT] = json.dumps(said)
    raw = json.dumps(table).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + content[8 + size :])
    return path


@pytest.mark.parametrize(
    ("part", "key", "value", "says"),
    [
        ("fusion", "hidden", 4096, "weights do not fit"),  # 300 MB that no file of ours holds
        ("fusion", "hidden", 10**9, "fusion.hidden"),
        ("fusion", "channels", [0, 2], "fusion.channels.0"),
        ("fusion", "n_bands", 64, "features' shape"),
        ("fusion", "text_dim", 9, "the same width"),
        ("audio", "window", 2048, "at most n_fft"),
        ("audio", "offset", -1.0, "audio.log-mel.offset"),  # the logarithm of which is no number
        ("audio", "level_dbfs", 1e308, "audio.log-mel.level_dbfs"),
        ("calibration", "audio_cap", 1e308, "calibration.audio_cap"),  # exp() overflows at 709
        ("calibration", "text_scale", 1e308, "calibration.text_scale"),
    ],
)
def test_a_sealed_header_that_no_model_can_have_is_one_line(
    saved: Path, part: str, key: str, value: object, says: str
) -> None:
    changed = resealed(saved, lambda header: header[part].update({key: value}))

    with pytest.raises(UnavailableError, match=says):
        checkpoint.load(changed)


def test_a_prior_whose_logit_overflows_is_refused(saved: Path) -> None:
    with pytest.raises(UnavailableError, match="prior"):
        checkpoint.load(resealed(saved, lambda header: header.update(prior=1e-320)))


def test_what_is_longer_than_a_checkpoint_is_not_read_to_its_end() -> None:
    with pytest.raises(UnavailableError, match="more than 10000000 bytes"):
        checkpoint.load(Path("/dev/zero"))


def test_the_shipped_checkpoint_is_honest() -> None:
    shipped = checkpoint.load(checkpoint.default_path())

    assert checkpoint.default_path().stat().st_size <= 10_000_000
    assert shipped.header.trained_on
    assert shipped.header.metrics
    assert shipped.header.licence == "CC BY-NC-SA 4.0"
    assert not shipped.header.commercial_use
