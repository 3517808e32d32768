"""The table of docs/reliability.md is that of the command that makes it; what needs no model is tried anew."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
INPUTS = SimpleNamespace(**runpy.run_path(str(ROOT / "bench/inputs.py"), run_name="inputs"))
QUICK = {case.name: case for case in INPUTS.CASES if case.code and not case.scores and "cut" not in case.name}
TRIED = (
    "text called WAV", "a header alone", "a device without an end", "no such file", "a page over the recording",
    "a key in a folder that is not there", "a configuration without an end", "`[stream]` for `[[stream]]`",
)  # fmt: skip


def test_the_table_is_of_these_inputs() -> None:
    page = (ROOT / "docs/reliability.md").read_text()
    rows = page.split(INPUTS.BEGIN)[1].split(INPUTS.END)[0].splitlines()[3:]

    assert len(rows) == len(INPUTS.CASES)
    for row, case in zip(rows, INPUTS.CASES, strict=True):
        assert row.startswith(INPUTS.shown(case))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    INPUTS.make(folder)
    return folder


@pytest.mark.parametrize("name", TRIED)
def test_what_is_expected_comes(name: str, folder: Path) -> None:
    case = QUICK[name]
    row, good = INPUTS.judged(case, INPUTS.seen(case, folder), [0.0], folder)

    assert good, row
