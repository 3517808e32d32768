"""A recording's page in a real browser: it asks nothing of the network, everybody can use it, clicks move the sound."""

import re
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest
from reports import a_report

from sadstream.audio.decoding.decoder import to_flac
from sadstream.base.samples import to_pcm
from sadstream.views.report.document import page as document
from sadstream.views.report.spectrogram import sound_rows

chromium = pytest.importorskip("chromium", reason="playwright is missing")

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402

pytestmark = pytest.mark.skipif(chromium.path() is None, reason="no chromium here (Debian: chromium)")

browser = chromium.browser
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a minute with words and sound."""
    pcm = to_pcm(fakes.talk(20))
    path = tmp_path_factory.mktemp("page") / "talk.html"
    told = {"emotions": (("sad", 0.25), ("calm", 0.75)), "valence": 0.5, "arousal": -0.5}
    report = a_report(n=20, text="so it goes, on and on and on", words=True, told=told)
    path.write_text(document(report, sound_rows(pcm), to_flac(pcm)))
    return path


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, file: Path) -> Iterator[Page]:
    """It, opened; what it complains of or asks of anybody fails the test."""
    shown = browser.new_page(viewport={"width": 1180, "height": 900}, color_scheme=request.param)
    wrong: list[str] = []
    shown.on("console", lambda message: wrong.append(message.text))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith("http") else None)
    shown.goto(file.as_uri())
    yield shown
    shown.close()
    assert wrong == []


def test_axe_finds_nothing_wrong(page: Page) -> None:
    found = Axe().run(page, options=RULES)

    assert found.violations_count == 0, found.generate_report()


def test_its_style_and_its_script_are_let_in_by_its_own_policy(page: Page) -> None:
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert background in ("rgb(253, 253, 251)", "rgb(20, 24, 27)")
    assert "plays" in (page.get_attribute("body", "class") or "")


def test_a_click_moves_the_sound_there_and_the_line_with_it(page: Page) -> None:
    ground = page.locator("#at-20 .ground")
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    page.wait_for_function("document.querySelector('audio').currentTime > 29.9")
    page.evaluate("document.querySelector('audio').pause()")
    page.wait_for_function("Number(document.querySelector('#at-20 .head').getAttribute('x1')) > 490")

    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(30.2, abs=1.0)
    assert page.get_attribute("#at-0 .head", "x1") == "-1"


def test_a_button_plays_a_segment(page: Page) -> None:
    page.get_by_role("button", name="play 3", exact=True).press("Enter")
    page.wait_for_function("document.querySelector('audio').currentTime >= 9.5")


def test_a_phone_scrolls_the_drawings_and_not_the_page(browser: Browser, file: Path) -> None:
    shown = browser.new_page(viewport={"width": 390, "height": 844})
    shown.goto(file.as_uri())

    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    shown.close()


def test_it_prints_every_row_whole(browser: Browser, file: Path) -> None:
    shown = browser.new_page()
    shown.goto(file.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page[^s]", shown.pdf(format="A4")))
    shown.emulate_media(media="print")

    assert 2 <= pages <= 5
    assert not shown.locator("audio").is_visible()
    assert shown.evaluate("getComputedStyle(document.querySelector('svg.row')).breakInside") == "avoid"
    shown.close()
