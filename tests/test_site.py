"""The documentation as a site: built strictly, whole, and asking nothing of anybody else."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sadstream.testing

pytestmark = pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="mkdocs is not here: make setup")
PAGES = sorted(path.relative_to("docs").with_suffix(".html").as_posix() for path in Path("docs").rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_it_and_named_to_programs_that_read(site: Path) -> None:
    named = re.findall(r"^- \[.+?\]\((.+?)\)", (site / "llms.txt").read_text(), re.MULTILINE)

    assert sorted(named) == PAGES
    assert all((site / page).is_file() for page in PAGES)


def test_no_link_of_a_page_leads_out_of_the_site_without_saying_where(site: Path) -> None:
    """A file of the repository that is no page is named; a link to it would lead nowhere."""
    for page in PAGES:
        content = (site / page).read_text()
        for target in re.findall(r'href="([^"#:]+)(?:#[^"]*)?"', content):
            assert (site / page).parent.joinpath(target).exists(), (page, target)


def test_a_reader_is_told_to_nobody(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//|<link[^>]+href="(?:https?:)?//')

    assert [page for page in PAGES if loaded.search((site / page).read_text())] == []


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("client", ["subscribe", "Subscription", "past", "Gap", "Restart", "Stale"]),
        ("events", ["Score", "Status", "Episode", "from_wire"]),
        ("testing", sadstream.testing.__all__),
    ],
)
def test_what_is_public_is_described(site: Path, module: str, names: list[str]) -> None:
    found = re.findall(r'id="sadstream\.([\w.]+)"', (site / f"reference/{module}.html").read_text())

    assert set(names) <= {one.rpartition(".")[2] for one in found}
