"""The newcomers of docs/first-hour.md: what the page tells is typed, by people who have nothing, and it comes."""

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

FIRST_HOUR: dict[str, Any] = runpy.run_path("bench/first_hour.py")
PAGE = Path("docs/first-hour.md").read_text()
SECTIONS: dict[str, str] = FIRST_HOUR["sections"](PAGE)
NEEDS = {
    "app": ["git"],
    "house": ["mosquitto", "make"],
    "researcher": ["espeak-ng"],
    "robot": ["gcc", "npm", "jq", "curl"],
}
# Of what came: a line that tells that it was what the newcomer came for.
CAME = {
    "app": [r"^[\d.]+ 0\.\d+$", r"2 passed"],
    "house": [r"connected", r"paused \(user\)", r"installed; `sadstream service status --user`"],
    "researcher": [r"0\.\d+,.*\n.*0\.\d+,", r"report\.html"],
    "robot": [r"provisional", r'"seq"', r"heard: robot", r"ours: True .*episode"],
}


def test_four_come() -> None:
    assert list(SECTIONS) == list(NEEDS) == list(CAME)


@pytest.mark.parametrize("name", CAME)
def test_what_the_page_shows_is_what_was_typed_with_what_came_and_how_long_it_took(name: str) -> None:
    typed = re.findall(r"```sh\n", SECTIONS[name])
    shown = re.findall(r"```\n\n```text\n(.*?)```\n\n\*\d+:\d\d, \d+\.\d\d GB\*\n", SECTIONS[name], re.DOTALL)

    assert len(shown) == len(typed)
    for pattern in CAME[name]:
        assert re.search(pattern, "".join(shown), re.MULTILINE), pattern


def test_the_apps_lines_are_the_readmes() -> None:
    (lines,) = re.findall(r'```python title="moments\.py"\n(.*?)```', PAGE, re.DOTALL)

    assert f"```python\n{lines}```" in Path("README.md").read_text()


def test_a_command_that_fails_is_the_end_and_what_came_is_written_below(tmp_path: Path) -> None:
    section = '## The one\n\n```text title="a"\nb\n```\n\n```sh\ncat a\n```\n\nAnd:\n\n```sh\ncat a; sleep 1\n```\n'
    steps = list(FIRST_HOUR["lived"](section, tmp_path))
    written = FIRST_HOUR["written"](section, steps)

    assert written.count("```text\nb\n```\n\n*0:0") == 2
    assert FIRST_HOUR["written"](written, steps) == written
    with pytest.raises(FIRST_HOUR["NewcomerError"], match="No such file"):
        list(FIRST_HOUR["lived"](section.replace("cat a\n", "cat nothing\ntrue\n"), tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", CAME)
def test_they_come_type_and_get_what_they_came_for(name: str, tmp_path: Path) -> None:
    """Minutes each, 1.4 GB each, and packages to fetch; `pytest -s` shows what took how long."""
    missing = [tool for tool in NEEDS[name] if shutil.which(tool, path="/usr/bin:/bin:/usr/sbin") is None]
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")
    said = ""
    for step in FIRST_HOUR["lived"](SECTIONS[name], tmp_path):
        said += step.said + "\n"
        print(f"{name}  {step.seconds:5.0f} s  {step.gigabytes:.2f} GB  {step.text.splitlines()[0]}")

    for pattern in CAME[name]:
        assert re.search(pattern, said, re.MULTILINE), pattern
