"""`config check` says what `run` would say, word for word."""

from pathlib import Path

import pytest
from daemon import config_file, run
from test_service import in_state, process, wait_for

from sadstream.config import Config, parse
from sadstream.events.control import ask
from sadstream.scoring.fusion.checkpoint import default_path
from sadstream.scoring.mood.plan import read_plan, without_episodes

BROKEN = "[model]\ncheckpoint = '{}/broken.safetensors'\n"
REFUSED = {
    "no checkpoint": ("[model]\ncheckpoint = '/nonexistent.safetensors'\n", 69, "no checkpoint"),
    "a broken checkpoint": (BROKEN, 69, "not a sadstream checkpoint"),
    "an operating point that cannot be kept": ("[episode]\nfalse_alarms_h = 1e-9\n", 78, "false_alarms_h"),
    "a journal without a folder": ("[journal]\npath = '/nonexistent/scores'\n", 78, "no folder /nonexistent"),
    "a key that is not there": (
        "[publish]\nsecret_key = '/nonexistent/key'\nallow = '/nonexistent/allow'\n", 78, "/nonexistent/key"
    ),
    "a recording that is not there": ("[[stream]]\nsource = '/nonexistent.wav'\n", 66, "no such file"),
    "a demanded voice that is not there": ("[voice]\noffset = 'calibrated'\n", 78, "sadstream calibrate"),
    # From here on the models are loaded first.
    "no such Whisper": ("[whisper]\nmodel = 'off'\n", 69, "off"),
    "nobody enrolled": ("[voice]\nonly = ['anna']\nspeakers = '/nonexistent'\n", None, "anna"),
}  # fmt: skip

QUICK = ("no checkpoint", "an operating point that cannot be kept", "a recording that is not there")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "INFO" not in line and "WARNING" not in line]


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [pytest.param(*case, id=name, marks=[] if name in QUICK else pytest.mark.slow) for name, case in REFUSED.items()],
)
def test_what_run_refuses_check_refuses(tmp_path: Path, endpoint: str, text: str, code: int | None, part: str) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    path = str(config_file(tmp_path, text.format(tmp_path)))
    checked = run("config", "check", path)
    tried = run("run", "--config", path, "--publish", endpoint)

    assert checked.returncode == tried.returncode != 0
    assert code in (None, checked.returncode)
    assert lines(checked.stderr)[-1:] == lines(tried.stderr)[-1:]
    assert part in checked.stderr or "resemblyzer" in checked.stderr  # whose model need not be here


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_what_run_takes_is_valid_and_nothing_is_bound(tmp_path: Path) -> None:
    text = f"[publish]\nendpoint = 'ipc://{tmp_path}/pub'\n[[stream]]\nsource = '-'\n"
    done = run("config", "check", str(config_file(tmp_path, text)))

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("valid\n")
    assert [path.name for path in tmp_path.iterdir()] == ["sadstream.toml"]


def test_a_checkpoint_without_a_card_says_that_there_will_be_no_episodes(tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(default_path().read_bytes())
    named = parse({"model": {"checkpoint": str(mine)}}, "test")
    upgraded = run("service", "upgrade", str(mine), "--to", str(tmp_path / "checkpoints"))

    assert "no episodes: " in without_episodes(named, read_plan(named))
    assert "has no card" in without_episodes(named, read_plan(named))
    assert without_episodes(Config(), read_plan(Config())) == ""
    assert upgraded.returncode == 0
    assert "no episodes from now on" in upgraded.stdout


def test_the_status_says_that_there_will_be_no_episodes(tmp_path: Path, endpoint: str) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(default_path().read_bytes())
    config = str(config_file(tmp_path, f"[model]\ncheckpoint = '{mine}'\n"))
    with process("capture=good", "--publish", endpoint, "--config", config):
        wait_for(endpoint, in_state("listening"))
        (note,) = ask(endpoint, "status").notes

    assert note.startswith("no episodes: ")
