"""From files to a plan: the shipped card fits the shipped checkpoint, and a voice is used where it belongs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sadstream.base.errors import ConfigError, UnavailableError
from sadstream.config import Config, parse
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.card import card_path, read_card
from sadstream.scoring.fusion.checkpoint import default_path
from sadstream.scoring.mood.plan import read_plan
from sadstream.scoring.mood.voice import VoiceBaseline, read_voice, write_voice

MODEL = checkpoint.load(default_path()).sha256[:12]


def configured(folder: Path, **tables: dict[str, object]) -> Config:
    voice = {"path": str(folder / "voice.json")} | tables.pop("voice", {})
    return parse({"voice": voice} | tables, "test")


def voice(model: str = MODEL) -> VoiceBaseline:
    return VoiceBaseline(model=model, segments=30, speech_s=75.0, typical=0.4, offset_logit=-0.9)


def test_the_shipped_card_was_measured_for_the_shipped_checkpoint() -> None:
    """When this fails: sadstream-train days --data DIR, and commit default.card.json with the checkpoint."""
    card = read_card(default_path(), MODEL)

    assert card is not None
    assert card.speakers == 100
    assert card.voices is not None


def test_a_voice_is_learnt_and_a_calibrated_one_sharpens_what_is_known_as_soon_as_it_is_there(tmp_path: Path) -> None:
    before = read_plan(configured(tmp_path))
    write_voice(tmp_path / "voice.json", voice())
    made = read_plan(configured(tmp_path))

    assert (before.offset, before.prior) == ("auto", None)
    assert before.voices is not None
    assert made.voices == before.voices
    assert made.offset == "calibrated"
    assert made.prior is not None
    assert made.false_alarms_h == before.false_alarms_h == 1.0


def test_a_voice_whose_offset_overflows_is_refused(tmp_path: Path) -> None:
    sound = voice().model_dump_json()
    (tmp_path / "voice.json").write_text(sound.replace("-0.9", "-1e9"))

    with pytest.raises(UnavailableError, match="not a calibrated voice"):
        read_plan(configured(tmp_path))


@pytest.mark.parametrize(("key", "value"), [("alarms", 10**400), ("hours", 1e-320), ("hours", 1e308)])
def test_a_card_whose_rate_is_no_number_is_none(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(default_path(), path)
    said = json.loads(card_path(default_path()).read_text())
    (said["off"][0] if key == "alarms" else said)[key] = value
    card_path(path).write_text(json.dumps(said))

    with pytest.raises(UnavailableError, match="not a checkpoint's card"):
        read_card(path, MODEL)


def test_off_is_off(tmp_path: Path) -> None:
    write_voice(tmp_path / "voice.json", voice())

    assert read_plan(configured(tmp_path, voice={"offset": "off"})).offset == "off"


def test_a_voice_of_another_checkpoint_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_voice(tmp_path / "voice.json", voice("another00000"))

    with caplog.at_level("WARNING", logger="sadstream"):
        assert read_plan(configured(tmp_path)).offset == "auto"
    assert "calibrated for checkpoint another00000" in caplog.text
    with pytest.raises(ConfigError, match="run `sadstream calibrate`"):
        read_plan(configured(tmp_path, voice={"offset": "calibrated"}))


def test_a_demanded_voice_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_plan(configured(tmp_path, voice={"offset": "calibrated"}))


def test_an_operating_point_that_cannot_be_kept_is_refused_before_anything_loads(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"episode\.false_alarms_h = 0\.001"):
        read_plan(configured(tmp_path, episode={"false_alarms_h": 0.001}))


def test_a_card_of_another_checkpoint_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"another checkpoint")
    card_path(path).write_bytes(card_path(default_path()).read_bytes())
    settings = {"model": {"checkpoint": str(path)}}

    with caplog.at_level("WARNING", logger="sadstream"):
        assert read_plan(configured(tmp_path, **settings)).false_alarms_h == 0.0
    assert "measured for checkpoint" in caplog.text
    with pytest.raises(UnavailableError, match="sadstream-train days"):
        read_plan(configured(tmp_path, episode={"false_alarms_h": 1.0}, **settings))


def test_a_voice_comes_back_as_it_was_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "voice.json"
    write_voice(path, voice())

    assert read_voice(path) == voice()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_voice_that_may_not_be_read_is_said_to_be_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tried without the privilege of root, who may read all."""
    write_voice(tmp_path / "voice.json", voice())
    (tmp_path / "voice.json").chmod(0)
    code = (
        "import sys; from sadstream.config import parse; from sadstream.scoring.mood.plan import read_plan\n"
        "try: read_plan(parse({'voice': {'path': sys.argv[1], 'offset': sys.argv[2]}}, '-'))\n"
        "except Exception as error: print(error)"
    )
    unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    for offset in ("auto", "calibrated"):
        done = subprocess.run(
            [*unprivileged, sys.executable, "-c", code, str(tmp_path / "voice.json"), offset],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert "cannot be read: Permission denied; let this user read it" in done.stdout + done.stderr


def test_a_byte_order_mark_is_no_part_of_a_voice(tmp_path: Path) -> None:
    write_voice(tmp_path / "voice.json", voice())
    (tmp_path / "voice.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "voice.json").read_bytes())

    assert read_voice(tmp_path / "voice.json") == voice()


def test_a_file_that_is_no_voice_is_named(tmp_path: Path) -> None:
    (tmp_path / "voice.json").write_text('{"model": "x"}')

    with pytest.raises(UnavailableError, match=r"voice\.json: not a calibrated voice"):
        read_plan(configured(tmp_path))
