"""People who are heard are told so, in their language, as it is true of this daemon."""

import re
from pathlib import Path

import pytest
from chromium import launched
from chromium import path as chromium_path
from daemon import config_file, run
from playwright.sync_api import sync_playwright

from sadstream.cli.setup.notice import page as notice_page
from sadstream.cli.setup.notice import sentences
from sadstream.cli.setup.wordings import WORDINGS, Language
from sadstream.config import load

EVERYTHING = """
[publish]
text = true
speaker = true
[journal]
path = "/var/lib/sadstream/scores.sqlite"
keep_days = 14
[voice]
only = ["anna"]
"""


@pytest.mark.parametrize("language", Language)
def test_the_law_and_the_program_are_named_in_each_language(language: Language) -> None:
    wording = WORDINGS[language]

    assert "sadstream" in wording.heard
    assert "50" in wording.heard
    assert "{days}" in wording.kept
    fields = [getattr(wording, name) for name in wording.__slots__]
    assert all(fields)
    assert len(set(fields)) == len(fields)
    assert not set(fields) & {getattr(WORDINGS[o], n) for o in Language if o is not language for n in wording.__slots__}


def test_the_notice_is_true_of_the_configuration(tmp_path: Path) -> None:
    plain = run("notice").stdout
    assert "nothing leaves but the numbers" in plain
    assert "does not store" in plain
    assert "voices of some people" not in plain
    assert "the name" not in plain
    assert "other emotions" in plain

    sad_alone = load(config_file(tmp_path, "[publish]\nemotions = false\n"))
    assert "other emotions" not in " ".join(sentences(WORDINGS[Language.en], sad_alone, None))

    told = run("notice", "--config", str(config_file(tmp_path, EVERYTHING)), "--contact", "Anna, 0123").stdout
    assert "the words that were spoken are passed on" in told
    assert "kept for 14 days" in told
    assert "voices of some people" in told
    assert "the name of the one who spoke" in told
    assert told.endswith("Anna, 0123\n")
    assert "nothing leaves" not in told


def test_work_and_school_are_named_to_whoever_puts_it_up() -> None:
    assert "prohibited" in run("notice", "--language", "nl").stderr


@pytest.mark.skipif(chromium_path() is None, reason="no Chromium here")
def test_each_sign_prints_on_one_page(tmp_path: Path) -> None:
    everything = load(config_file(tmp_path, EVERYTHING))
    with sync_playwright() as playwright:
        browser = launched(playwright)
        page = browser.new_page()
        for language in Language:
            sign = tmp_path / f"{language}.html"
            contact = "Anna <b>Nowak</b>, Tel. 0123 456789"
            wording = WORDINGS[language]
            sign.write_text(notice_page(language, wording, sentences(wording, everything, contact)))
            page.goto(sign.as_uri())
            assert page.inner_text("h1") == WORDINGS[language].title
            assert contact in page.inner_text("body")
            assert page.get_attribute("html", "lang") == language.value
            assert len(re.findall(rb"/Type ?/Page\b", page.pdf(prefer_css_page_size=True))) == 1
        browser.close()


def test_a_sign_replaces_a_sign_and_nothing_else(tmp_path: Path) -> None:
    sign, letter = tmp_path / "sign.html", tmp_path / "letter.html"
    letter.write_text("Dear Anna")

    assert [run("notice", "--sign", str(sign)).returncode for _ in range(2)] == [0, 0]
    assert run("notice", "--sign", str(letter)).returncode == 73
    assert letter.read_text() == "Dear Anna"
