"""Where a command meets the world: standard streams, locales, readers that go away, what a path can do to it."""

import errno
import inspect
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from daemon import SADSTREAM, run
from hypothesis import given
from hypothesis import strategies as st

from sadstream.base.boundary import at_home, enter, from_system, one_line, utf8
from sadstream.base.errors import DataError, MissingFileError, UnavailableError
from sadstream.cli.main import app as command_line
from train.cli import app as workshop

PRINTING = [["schema"], ["config", "show"], ["--help"], ["score", "--help"], ["--version"]]
TRAIN = [sys.executable, "-m", "train.cli"]


def shell(line: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A line of bash in which $S is the command; the code is the command's own."""
    environment = os.environ | {"S": " ".join(SADSTREAM), "T": " ".join(TRAIN)}
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=environment, timeout=60, **options
    )  # type: ignore[call-overload]


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_reader_that_goes_away_ends_a_command_with_0_and_silence(words: list[str]) -> None:
    done = shell(f"$S {' '.join(words)} | true; exit ${{PIPESTATUS[0]}}")

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
@pytest.mark.parametrize("words", PRINTING[:3], ids=" ".join)
def test_standard_output_that_takes_nothing_is_one_line_and_69(words: list[str], where: str) -> None:
    done = shell(f"$S {' '.join(words)} {where}")

    assert done.returncode == 69
    assert done.stderr.startswith("sadstream: standard output: ")
    assert done.stderr.count("\n") == 1


def test_the_workshop_has_the_same_edge() -> None:
    gone, full = shell("$T --help | true; exit ${PIPESTATUS[0]}"), shell("$T --help > /dev/full")
    wrong = shell("$T prepare --nonsense")

    assert (gone.returncode, gone.stderr) == (0, "")
    assert (full.returncode, full.stderr.count("\n")) == (69, 1)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "2>/dev/full"])
def test_a_standard_stream_that_is_not_there_changes_no_code(closed: str) -> None:
    assert shell(f"$S config show {closed}").returncode == 0
    assert shell(f"$S score nothing.wav {closed}").returncode == 66


def test_what_this_user_may_not_read_is_said_by_its_reader_and_costs_the_others_nothing(tmp_path: Path) -> None:
    """As somebody who is not root: click would refuse the whole line with 2."""
    locked, missing = tmp_path / "locked.wav", tmp_path / "missing.wav"
    locked.write_bytes(b"RIFF")
    locked.chmod(0)
    unprivileged = "setpriv --bounding-set=-all --inh-caps=-all " if os.geteuid() == 0 else ""
    done = shell(f"{unprivileged}$S score {locked} {missing}")
    settings = shell(f"{unprivileged}$S config show {locked}")

    assert (done.returncode, done.stderr.count("\n")) == (66, 2)
    assert f"{locked}: Permission denied" in done.stderr
    assert f"{missing}: " in done.stderr
    assert (settings.returncode, settings.stderr.count("\n")) == (78, 1)


@pytest.mark.parametrize("app", [command_line, workshop], ids=["sadstream", "sadstream-train"])
def test_no_command_line_is_refused_for_a_path_before_its_reader_has_seen_it(app: typer.Typer) -> None:
    apps = [app, *(group.typer_instance for group in app.registered_groups)]
    options = [
        option
        for one in apps
        for command in one.registered_commands
        for option in inspect.signature(command.callback).parameters.values()
        if "Path" in str(option.annotation)
    ]
    checked = [option.name for option in options if option.annotation.__metadata__[0].readable]

    assert len(options) > 9
    assert checked == []


def test_an_error_never_goes_to_standard_output() -> None:
    assert shell("$S score nothing.wav 2>&-").stdout == ""


@pytest.mark.parametrize(
    "words", [["run", "--pace", "slow"], ["score"], ["nonsense"], ["run", "--nonsense"], ["listen", "--count", "x"]]
)
def test_a_wrong_command_line_is_one_line_that_says_where_help_is(words: list[str]) -> None:
    done = run(*words)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--help` lists what there is" in done.stderr


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "dumb", "COLUMNS": "5"},
        {"TERM": "", "NO_COLOR": "1"},
    ],
    ids=str,
)
def test_no_locale_and_no_terminal_breaks_a_command(locale: dict[str, str], tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + "/\N{LATIN SMALL LETTER E WITH ACUTE}".encode() + b"\xff\n.wav"
    done = subprocess.run(
        [*SADSTREAM, "score", name], capture_output=True, check=False, env=os.environ | locale, timeout=60
    )

    assert done.returncode == 66
    assert done.stderr.count(b"\n") == 1
    assert b"\\xff\\n.wav: " in done.stderr
    assert done.stderr.decode() == done.stderr.decode(errors="replace")
    assert run("score", "--help", env=os.environ | locale).returncode == 0


def test_ctrl_c_is_quiet(endpoint: str) -> None:
    with subprocess.Popen(
        [*SADSTREAM, "listen", endpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as listening:
        time.sleep(2.0)
        listening.send_signal(signal.SIGINT)
        out, err = listening.communicate(timeout=20)

    note = f"sadstream listen: {endpoint}: nobody publishes there yet; waiting\n"
    assert (listening.returncode, out, err) == (130, "", note)


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/a"), MissingFileError),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/a"), MissingFileError),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", b"/a\xff"), MissingFileError),
        (OSError(errno.ENOSPC, "No space left on device"), UnavailableError),
        (OSError(errno.EMFILE, "Too many open files"), UnavailableError),
        (MemoryError(), UnavailableError),
        (RecursionError(), DataError),
        (UnicodeEncodeError("ascii", "\xe9", 0, 1, "ordinal"), DataError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), DataError),
    ],
    ids=repr,
)
def test_what_the_world_does_has_a_documented_code(happened: Exception, expected: type[Exception]) -> None:
    assert isinstance(from_system(happened), expected)


@pytest.mark.parametrize("bug", [ValueError("x"), KeyError("x"), AssertionError(), TypeError("x")], ids=repr)
def test_a_bug_of_ours_is_a_traceback_and_1(bug: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: list[str], **__: object) -> None:
        raise bug

    with pytest.raises(SystemExit) as end:
        enter(broken, "sadstream", [])

    assert end.value.code == 1
    assert "Traceback" in capsys.readouterr().err


@given(st.text(alphabet=st.characters(), max_size=50))
def test_whatever_a_name_holds_it_is_one_line_of_utf_8(name: str) -> None:
    assert one_line(name).isprintable()
    assert len(one_line(name).splitlines()) <= 1
    utf8(name).encode()


def test_a_tilde_is_the_home_wherever_a_command_line_names_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    assert at_home("~/a") == "/home/me/a"
    assert at_home("--plot=~/a b.png") == "--plot=/home/me/a b.png"
    assert at_home("ipc://~/pub") == "ipc:///home/me/pub"
    assert [at_home(word) for word in ("a~", "./~", "--name=x~", "$HOME/a")] == ["a~", "./~", "--name=x~", "$HOME/a"]


def test_what_a_room_is_installed_without_is_one_line_and_any_other_missing_module_a_bug() -> None:
    said = from_system(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))

    assert isinstance(said, UnavailableError)
    assert "pip install ." in str(said)
    assert from_system(ModuleNotFoundError("No module named 'sadstream.x'", name="sadstream.x")) is None
