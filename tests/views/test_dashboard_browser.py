"""The dashboard in a real browser: what comes is seen at once, a week opens at once, everybody can use it."""

import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

chromium = pytest.importorskip("chromium", reason="playwright is missing")

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import Browser, BrowserContext, Page  # noqa: E402

pytestmark = pytest.mark.skipif(chromium.path() is None, reason="no chromium here (Debian: chromium)")

browser = chromium.browser
WIDTHS = {"desk": (1440, 900), "phone": (390, 844)}
SPEED = "12"


@pytest.fixture
def errors() -> list[str]:
    """What a page complained of, what it asked of others."""
    return []


@pytest.fixture
def page(browser: Browser, errors: list[str]) -> Iterator[Page]:
    """A page of which nothing goes wrong unseen."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield watched(context, errors)
    context.close()
    assert errors == []


def watched(context: BrowserContext, errors: list[str]) -> Page:
    """A page that writes down its errors and what it asks of other machines."""
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda asked: None if asked.url.startswith("http://127.0.0.1:") else errors.append(asked.url))
    return page


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200,000 scores of seven days."""
    return Path(chromium.made_journal(tmp_path_factory.mktemp("week") / "week.sqlite"))


@pytest.fixture(scope="module")
def served(week: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard of that week, whose daemon is gone."""
    with chromium.dashboard(f"ipc://{tmp_path_factory.mktemp('served')}/pub", "--journal", str(week)) as address:
        yield address


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard with something in every view."""
    folder = tmp_path_factory.mktemp("full")
    journal = chromium.made_journal(folder / "j.sqlite", 2000)
    with (
        chromium.running("fake", "--publish", f"ipc://{folder}/pub", "--speed", "40", "--emotions"),
        chromium.dashboard(f"ipc://{folder}/pub", "--journal", str(journal)) as address,
    ):
        yield address


@pytest.fixture
def fake(endpoint: str) -> Iterator[subprocess.Popen[str]]:
    """A daemon that talks."""
    with chromium.running("fake", "--publish", endpoint, "--speed", SPEED) as process:
        yield process


@pytest.mark.usefixtures("fake")
def test_a_score_is_on_the_screen_within_a_second(page: Page, endpoint: str) -> None:
    with chromium.dashboard(endpoint) as address:
        page.goto(address)
        page.wait_for_selector("#now-p[data-seq]")
        found = chromium.delays(page, endpoint, 3.0)
        assert not any(page.is_visible(what) for what in ("#felt", "#now-valence", "#now-arousal"))

    assert len(found) >= 5
    assert max(found) < 1.0


def test_after_a_restart_of_the_daemon_the_page_goes_on_by_itself(
    page: Page, endpoint: str, fake: subprocess.Popen[str]
) -> None:
    with chromium.dashboard(endpoint) as address:
        page.goto(address)
        page.wait_for_selector("#state[data-session]")
        for seconds in chromium.restarted(page, endpoint, fake, "--speed", SPEED):
            assert seconds < 5.0
            page.wait_for_selector("#log >> text=a new daemon")


@pytest.mark.usefixtures("fake")
def test_after_a_restart_of_its_own_server_too(page: Page, endpoint: str) -> None:
    port = chromium.free_port()
    with chromium.dashboard(endpoint, port=port) as address:
        page.goto(address)
        page.wait_for_selector("#state-name >> text=listening")
    page.wait_for_selector("#state-name >> text=page lost")
    with chromium.dashboard(endpoint, port=port):
        page.wait_for_selector("#state-name >> text=listening", timeout=10_000)


@pytest.mark.usefixtures("fake")
def test_a_server_that_goes_while_the_page_begins_is_no_error_of_the_page(page: Page, endpoint: str) -> None:
    page.route("**/api/history?points=2", lambda route: route.abort())
    with chromium.dashboard(endpoint) as address:
        page.goto(address)
        page.wait_for_selector("#state-name >> text=listening")


CUT = """async () => {
  const { ask } = await import("/pages/ask.js");
  const cut = new ReadableStream({ start: (answer) => answer.error(new TypeError("Failed to fetch")) });
  window.fetch = async () => new Response(cut);
  return ask("/api/state");
}"""


def test_an_answer_that_is_cut_in_the_middle_is_none(page: Page, served: str) -> None:
    chromium.opened(page, served)

    assert page.evaluate(CUT) == {"ok": False, "body": "The page's server does not answer."}


def test_a_week_of_200_000_scores_is_usable_within_two_seconds(page: Page, endpoint: str, week: Path) -> None:
    with chromium.dashboard(endpoint, "--journal", str(week)) as address:
        first = chromium.opened(page, address)
        again = chromium.opened(page, address)
        zoom = chromium.zoomed(page, "[data-span='86400']")

        assert page.get_attribute("#history", "data-scores") is not None
        assert int(page.get_attribute("#history", "data-scores") or 0) == pytest.approx(200_000 / 7, rel=0.01)
    assert min(first, again) < 2.0
    assert zoom < 1.0


def test_the_history_is_moved_and_zoomed_with_keys_and_by_dragging(page: Page, served: str) -> None:
    chromium.opened(page, served)
    page.focus("#history")
    scores = []
    for key in ("+", "ArrowLeft", "-", "0"):
        drawn = page.get_attribute("#history", "data-drawn")
        page.keyboard.press(key)
        page.wait_for_selector(f"#history:not([data-drawn='{drawn}'])")
        scores.append(int(page.get_attribute("#history", "data-scores") or 0))
    drawn = page.get_attribute("#history", "data-drawn")
    where = page.locator("#past-score .u-over").bounding_box()
    assert where is not None
    page.mouse.move(where["x"] + 0.4 * where["width"], where["y"] + 50)
    page.mouse.down()
    page.mouse.move(where["x"] + 0.5 * where["width"], where["y"] + 50, steps=3)
    page.mouse.up()
    page.wait_for_selector(f"#history:not([data-drawn='{drawn}'])")
    dragged = int(page.get_attribute("#history", "data-scores") or 0)

    assert scores == pytest.approx([100_000, 100_000, 150_000, 200_000], rel=0.01)
    assert dragged == pytest.approx(20_000, rel=0.05)


def test_the_heat_map_is_walked_with_keys_and_opens_hours_and_days(page: Page, served: str) -> None:
    chromium.opened(page, served)
    page.wait_for_selector("#heat td[tabindex='0']")
    assert page.locator("#heat td[tabindex='0']").count() == 1
    assert "no scores" not in page.inner_text("#heat-when")
    drawn = page.get_attribute("#heat", "data-first")
    page.click("#heat-later")
    page.wait_for_selector("#heat-when >> text=no scores")
    page.click("#heat-earlier")
    page.wait_for_selector(f"#heat[data-first='{drawn}']")
    page.click("#heat-earlier")
    page.wait_for_selector(f"#heat:not([data-first='{drawn}'])")
    page.focus("#heat td[tabindex='0']")
    for key in ("End", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert "22:00: mean score" in page.inner_text("#heat-cell")
    drawn = page.get_attribute("#history", "data-drawn")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#history:not([data-drawn='{drawn}'])")
    assert int(page.get_attribute("#history", "data-scores") or 0) == pytest.approx(200_000 / 168, rel=0.01)
    page.locator("#heat tbody th button").last.click()
    page.wait_for_selector("#heat-title >> text=Day")
    assert page.locator("#heat tbody tr").count() == 6


def test_the_pause_button_pauses_and_the_privacy_line_says_so(page: Page, endpoint: str) -> None:
    daemon = subprocess.Popen([sys.executable, str(Path(__file__).parents[1].joinpath("pausable.py")), endpoint])
    try:
        with chromium.dashboard(endpoint) as address:
            page.goto(address)
            page.wait_for_selector("#privacy-microphone >> text=open")
            assert "not sent" in page.inner_text("#privacy-words")
            page.wait_for_selector("#pause:not([disabled])")
            page.focus("#pause")
            page.keyboard.press("Enter")
            page.wait_for_selector("#state-name >> text=paused")
            page.wait_for_selector("#privacy-microphone >> text=closed")
            page.click("#pause >> text=Resume")
            page.wait_for_selector("#privacy-microphone >> text=open")
    finally:
        daemon.kill()
        daemon.wait()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_and_nothing_hangs_over(
    browser: Browser, errors: list[str], full: str, width: str, scheme: Any
) -> None:
    """With an episode open, and every table filled."""
    size = WIDTHS[width]
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = watched(context, errors)
    chromium.opened(page, full)
    page.wait_for_selector(".episodes summary", timeout=15_000)
    page.evaluate("() => document.querySelector('.episodes details').setAttribute('open', '')")
    page.evaluate("() => document.querySelector('.point details').setAttribute('open', '')")
    page.wait_for_selector("#heat td.h1, #heat td.h2, #heat td.h3")
    assert page.locator("#felt li").all_inner_texts()
    assert page.is_visible("#now-valence")
    assert page.is_visible(".episodes th >> text=likeliest")
    found = Axe().run(page)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    theme = page.evaluate("() => document.documentElement.dataset.theme")
    context.close()

    assert found.violations_count == 0, found.generate_report()
    assert wide == size[0]
    assert theme == scheme
    assert errors == []


def test_axe_finds_nothing_where_one_logs_in(page: Page, endpoint: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-that-nobody-guesses\n")
    token.chmod(0o600)
    with chromium.dashboard(endpoint, "--token", str(token)) as address:
        page.goto(address)
        found = Axe().run(page)
        page.fill("#token", "a-token-that-nobody-guesses")
        page.keyboard.press("Enter")
        page.wait_for_selector("#state-name")
        page.wait_for_load_state()  # or its scripts are asked of a server that has ended

    assert found.violations_count == 0, found.generate_report()


def test_the_docs_show_the_last_run_of_the_benchmark() -> None:
    root = Path(__file__).parents[2]
    report = json.loads((root / "docs/bench-dashboard.json").read_text())
    table = runpy.run_path(str(root / "bench/dashboard.py"))["table"](report["figures"])

    assert table in (root / "docs/dashboard.md").read_text()
