"""The clients under examples/ in a real browser: pages of another origin that miss nothing."""

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

chromium = pytest.importorskip("chromium", reason="playwright is missing")

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
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


@pytest.mark.parametrize("example", ["index.html", "token.html"])
def test_an_example_hears_all_from_another_origin_over_a_restart_of_the_server(
    browser: Browser, endpoint: str, origin: str, tmp_path: Path, example: str
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    port = chromium.free_port()
    guarded = ("--token", str(token)) if example == "token.html" else ()
    words = ("web", "--endpoint", endpoint, "--port", str(port), *guarded, "--origin", origin)
    page = browser.new_page()
    with chromium.running("fake", "--publish", endpoint, "--speed", "20"):
        with chromium.running(*words, ready=True):
            page.goto(f"{origin}/{example}?events=http://127.0.0.1:{port}/v1/events")
            if guarded:
                page.wait_for_selector("#now >> text=send the token")
                page.fill("#token", TOKEN)
            wait_for(page, 10)
        page.wait_for_selector("#now >> text=/network error|no server/")
        with chromium.running(*words, ready=True):
            wait_for(page, 15)
            assert re.match(r"mic: [01]\.\d\d", page.inner_text("#now"))
    lines = heard(page)
    page.close()
    scores = [int(line.split()[2]) for line in lines if line.startswith("score mic")]

    assert "behind" not in " ".join(lines)
    assert scores == list(range(scores[0], scores[0] + len(scores)))


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that lets in nobody else's pages, and hears nothing."""
    port = str(chromium.free_port())
    endpoint = f"ipc://{tmp_path_factory.mktemp('silent')}/pub"
    with chromium.running("web", "--endpoint", endpoint, "--port", port, "--origin", "https://x", ready=True):
        yield f"127.0.0.1:{port}"


def test_the_page_of_the_contract_can_be_used_by_everybody_and_asks_nothing_of_others(
    browser: Browser, silent: str
) -> None:
    asked: list[str] = []
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://{silent}/v1/")
    found = Axe().run(page)
    too_wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    page.close()

    assert found.violations_count == 0, found.generate_report()
    assert not too_wide
    assert {url.split("/")[2] for url in asked} == {silent}


def test_a_page_whose_origin_is_not_named_reads_nothing(browser: Browser, silent: str, origin: str) -> None:
    page = browser.new_page()
    page.goto(f"{origin}/token.html?events=http://{silent}/v1/events")
    page.wait_for_selector("#now >> text=Failed to fetch")
    assert heard(page) == []
    page.close()
