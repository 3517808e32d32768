"""What a newcomer types in the first hour, and is told."""

from pathlib import Path

import pytest
from daemon import run, start
from wire import a_score, free_tcp

from sadstream.base.errors import ConfigError
from sadstream.cli.setup.inventory import list_models
from sadstream.config.loading import parse
from sadstream.events.journal import Journal
from sadstream.testing import fake_daemon, score


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_listen_without_a_daemon_says_so_within_two_seconds(endpoint: str, scheme: str) -> None:
    where = endpoint if scheme == "ipc" else free_tcp()
    begun, time_is_up = run("listen", where, "--timeout", "1").stderr.splitlines()

    assert begun == f"sadstream listen: {where}: nobody publishes there yet; waiting"
    assert "in 1 s" in time_is_up


def test_listen_does_not_ask_for_a_daemon_that_it_has_heard() -> None:
    with fake_daemon() as daemon:
        daemon.send(score())
        for spelling in ((), ("--endpoint",)):
            done = run("listen", *spelling, daemon.endpoint, "--count", "2", "--timeout", "1")
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert line.endswith("1 scores of 2 expected in 1 s")


def test_listen_says_that_a_recording_had_ended() -> None:
    with fake_daemon() as daemon:
        daemon.send(score())
        daemon.say("stopping")
        assert run("listen", daemon.endpoint, "--timeout", "1").stderr.endswith("; the daemon had ended\n")


def test_listen_counts_a_moment_once_and_marks_the_provisional_score() -> None:
    with fake_daemon() as daemon:
        listener = start("listen", daemon.endpoint, "--count", "2", "--timeout", "30")
        daemon.wait_for_subscriber(30.0)
        for segment in range(2):
            daemon.send(score(segment=segment, provisional=True), score(segment=segment))
        said, errors = listener.communicate(timeout=30)

    assert listener.returncode == 0, errors
    lines = [line for line in said.splitlines() if " s  0." in line]
    assert ["provisional" in line for line in lines] == [True, False, True, False]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"stream": [{"name": "Kitchen"}]}, "lower case letters, digits and dashes"),
        ({"whisper": {"language": "English"}}, "two or three small letters, such as en"),
        ({"metrics": {"listen": "0.0.0.0:9"}}, "an address of this machine, such as 127.0.0.1:9464"),
        ({"voice": {"only": ["Anna"]}}, "lower case letters, digits and dashes"),
        ({"whisper": {"model": "off"}}, 'words are left out with [text] encoder = "off"'),
    ],
)
def test_a_name_that_does_not_fit_is_told_in_words(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse(table, "here")

    assert words in str(told.value)
    assert "[a-z" not in str(told.value)
    assert str(told.value).count("expected") == 1


def test_devices_without_any_says_what_to_do() -> None:
    done = run("devices")

    assert done.returncode == 0
    assert done.stdout or "connect a microphone" in done.stderr


def test_a_path_is_a_source() -> None:
    done = run("run", "not-here.flac", "--endpoint", free_tcp())
    assert (done.returncode, len(done.stderr.splitlines())) == (66, 1)
    assert "not-here.flac" in done.stderr

    assert run("run", "a.flac", "--source", "b.flac").returncode == 2


def test_history_of_a_time_without_scores_says_when_the_last_one_was(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, keep_days=36_500.0)
    journal.write([a_score(stream="mic")])
    journal.close()

    done = run("history", "--journal", str(path))
    assert "no scores in that time; the last one is of 2030-01-31" in done.stderr
    since = done.stderr.partition("--since ")[2].rstrip(")\n")
    assert (
        len(run("history", "--journal", str(path), "--since", since, "--until", "2031-01-01").stdout.splitlines()) == 1
    )
    assert "none of stream attic" in run("history", "--journal", str(path), "--stream", "attic").stderr


def test_models_list_says_whose_packages_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    list_models()
    said = capsys.readouterr().out

    assert "packages:" not in said or "neither with sadstream nor with the model's makers" in said
