"""What README and docs tell people to type is what the program understands, and their event is an event."""

import json
import math
import re
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from daemon import run

from sadstream.cli import main as cli
from sadstream.events import Score, from_wire, topic

PAGES = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
LIVED = Path("docs/first-hour.md")  # typed whole, by tests/test_first_hour.py
# Run for real, on the bundled scene; the rest (the daemon, what installs or downloads) is parsed against the program.
REAL = ("score ", "models list", "models verify", "config ", "schema", "--version")


def commands(page: Path) -> list[str]:
    """Every `sadstream ...` in code, up to a comment, a pipe or a second command."""
    text = page.read_text()
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\s*\$ (.+)$", text, re.MULTILINE)
    code += [
        line
        for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    found = {re.split(r"\s+#|[|;&>]", line.removeprefix("$ ").strip())[0].strip() for line in code}
    return sorted(line for line in found if re.match(r"sadstream(-train)? [a-z-]", line) and "..." not in line)


CASES = [pytest.param(command, id=f"{page.name}: {command}") for page in PAGES for command in commands(page)]


def parse(command: str) -> None:
    """Raise where the program would refuse these words."""
    name, *words = shlex.split(re.sub(r"\b[A-Z_]{2,}\b", "1", command))
    if name == "sadstream-train":
        from train import cli as train_cli

        group: Any = typer.main.get_command(train_cli.app)
    else:
        group = typer.main.get_command(cli.app)
    while hasattr(group, "commands"):
        if not words or words[0].startswith("-"):
            return
        found = group.commands.get(words[0])
        assert found is not None, f"{command}: no command {words[0]}"
        group, words = found, words[1:]
    options = {option for parameter in group.params for option in (*parameter.opts, *parameter.secondary_opts)}
    asked = {word.split("=")[0] for word in words if word.startswith("--")}
    assert asked <= options | {"--help"}, f"{command}: unknown {asked - options}"


@pytest.mark.parametrize("command", CASES)
def test_every_command_in_the_docs_is_one(command: str) -> None:
    parse(command)


def can_be_run(command: str) -> bool:
    """Here, and not only on several machines or once more for another figure (tests/cluster/)."""
    return command.split(" ", 1)[1].startswith(REAL) and not re.search("--(cluster|dry-run|workers)", command)


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.parametrize(
    "command", sorted({one for page in PAGES if page != LIVED for one in commands(page) if can_be_run(one)})
)
def test_what_can_be_run_here_runs(command: str, scene: Path, tmp_path: Path) -> None:
    words = shlex.split(command)[1:]
    words = [str(scene) if word.endswith((".flac", ".wav")) or word == "FILE" else word for word in words]
    words = [str(tmp_path / word) if word.endswith((".png", ".html", "scores/")) else word for word in words]
    words = [str(scene.parent) if word == "talks/" else word for word in words]
    if words[:2] == ["config", "check"]:
        words[2:] = ["configs/sadstream.toml"]

    done = run(*words)

    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_event_in_the_readme_is_one() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", Path("README.md").read_text(), re.DOTALL)[:1]
    event = from_wire(topic("score", json.loads(text)["stream"]).encode() + json.dumps(json.loads(text)).encode())

    assert isinstance(event, Score)
    parts = (event.bias_logit or 0) + (event.audio_logit or 0) + (event.text_logit or 0) + (event.offset_logit or 0)
    assert parts == pytest.approx(math.log(event.p_sad / (1 - event.p_sad)), abs=1e-4)


def test_the_table_of_small_machines_is_that_of_its_last_run() -> None:
    table = runpy.run_path("bench/small.py")["table"]

    assert table(json.loads(Path("docs/bench-small.json").read_text())) in Path("docs/small-machines.md").read_text()


def test_the_table_of_milliseconds_is_that_of_its_last_run_and_a_sample_counts_for_the_part_it_is_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend("bench")
    flame = SimpleNamespace(**runpy.run_path("bench/flame.py", run_name="flame"))
    rows = json.loads(Path("docs/bench-flame.json").read_text())
    profiles = [flame.Profile(**row | {"shares": tuple(flame.Share(**one) for one in row["shares"])}) for row in rows]
    raw = (
        "run (a.py:1);gate (sadstream/audio/silero.py:9) 30\nrun (a.py:1);other (b.py:2) 69\nrun (a.py:1) 1\nno samples"
    )

    assert flame.markdown(profiles) in Path("docs/performance.md").read_text()
    assert flame.shared(raw, (("gate", "sadstream/audio/silero.py"),)) == (
        100, (flame.Share("the rest", 0.7), flame.Share("gate", 0.3)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bench", "report"),
    [("words", "bench-words"), ("streams", "bench-streams"), ("rooms_hour", "bench-rooms")],
    ids=["words", "streams", "rooms"],
)
def test_the_tables_of_words_streams_and_rooms_are_those_of_their_last_run(
    bench: str, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend("bench")
    markdown = runpy.run_path(f"bench/{bench}.py", run_name=bench)["markdown"]

    assert markdown(json.loads(Path(f"docs/{report}.json").read_text())) in Path("docs/performance.md").read_text()


def test_the_table_of_the_browsers_microphone_is_that_of_its_last_run() -> None:
    pytest.importorskip("playwright", reason="playwright is missing")
    table = runpy.run_path("bench/browser.py")["table"]

    assert table(json.loads(Path("docs/bench-browser.json").read_text())) in Path("docs/browser.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"
