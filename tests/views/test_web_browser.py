"""The client under examples/ in a real browser: a page of another origin, with a token, that misses nothing."""

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

chromium = pytest.importorskip("chromium", reason="playwright is missing")

from playwright.sync_api import Browser, Page  # noqa: E402

pytestmark = pytest.mark.skipif(chromium.path() is None, reason="no chromium here (Debian: chromium)")

browser = chromium.browser
EXAMPLE = Path(__file__).parents[2] / "examples" / "web"
TOKEN = "a-token-that-nobody-guesses"


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    """Another server than ours, which has the example's page."""
    files = functools.partial(QuietFiles, directory=str(EXAMPLE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def heard(page: Page) -> list[str]:
    """What the page has listed, oldest first."""
    return [line.strip() for line in reversed(page.locator("#heard li").all_inner_texts())]


def wait_for(page: Page, more: int) -> None:
    """Wait for so many more lines."""
    page.wait_for_function(f"() => document.querySelectorAll('#heard li').length >= {len(heard(page)) + more}")


def test_the_example_hears_all_from_another_origin_over_a_restart_of_the_server(
    browser: Browser, endpoint: str, origin: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    port = chromium.free_port()
    words = ("web", "--endpoint", endpoint, "--port", str(port), "--token", str(token), "--origin", origin)
    page = browser.new_page()
    with chromium.running("fake", "--publish", endpoint, "--speed", "20"):
        with chromium.running(*words, ready=True):
            page.goto(f"{origin}/?events=http://127.0.0.1:{port}/v1/events")
            page.wait_for_selector("#now >> text=send the token")
            page.fill("#token", TOKEN)
            wait_for(page, 10)
        page.wait_for_selector("#now >> text=network error")
        with chromium.running(*words, ready=True):
            wait_for(page, 15)
            assert re.match(r"mic: [01]\.\d\d", page.inner_text("#now"))
    lines = heard(page)
    page.close()
    scores = [int(line.split()[2]) for line in lines if line.startswith("score mic")]

    assert "behind" not in " ".join(lines)
    assert scores == list(range(scores[0], scores[0] + len(scores)))


def test_a_page_whose_origin_is_not_named_reads_nothing(browser: Browser, endpoint: str, origin: str) -> None:
    port = chromium.free_port()
    page = browser.new_page()
    with (
        chromium.running("fake", "--publish", endpoint, "--speed", "20"),
        chromium.running("web", "--endpoint", endpoint, "--port", str(port), "--origin", "https://x", ready=True),
    ):
        page.goto(f"{origin}/?events=http://127.0.0.1:{port}/v1/events")
        page.wait_for_selector("#now >> text=Failed to fetch")
        assert heard(page) == []
    page.close()
