"""A browser's microphone in a real browser, whose microphone is a recording."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

chromium = pytest.importorskip("chromium", reason="playwright is missing")

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from browser_microphone import flags, hearing, scene_wav, wait_for  # noqa: E402
from daemon import config_file, heard, scores  # noqa: E402
from playwright.sync_api import Browser, Page, sync_playwright  # noqa: E402

from sadstream.client import subscribe  # noqa: E402
from sadstream.events import Score, Status  # noqa: E402
from sadstream.events.control import ask  # noqa: E402

pytestmark = pytest.mark.skipif(chromium.path() is None, reason="no chromium here (Debian: chromium)")

PHONE = {"width": 390, "height": 844}
SCENE_S = 30.0
APART_S = 0.3  # segments may begin a little elsewhere
WORST = 0.05
# A tone at half of full scale through the page's audio thread, and its level after it against before.
TONE = """async ([rate, hz]) => {
  const context = new OfflineAudioContext(1, 2 * rate, rate);
  await context.audioWorklet.addModule("/pages/frames.js");
  const node = new AudioWorkletNode(context, "frames");
  const frames = [];
  node.port.onmessage = ({ data }) => frames.push(new Int16Array(data));
  const [tone, gain] = [new OscillatorNode(context, { frequency: hz }), new GainNode(context, { gain: 0.5 })];
  tone.connect(gain).connect(node).connect(context.destination);
  tone.start();
  await context.startRendering();
  while (frames.length < 19) await new Promise((wake) => setTimeout(wake, 20));
  const samples = frames.slice(2, 18).flatMap((frame) => [...frame]);
  const power = samples.reduce((sum, x) => sum + (x / 32768) ** 2, 0) / samples.length;
  return 10 * Math.log10((power + 1e-12) / 0.125);
}"""
# What a person's "no" is to a page; a Chromium that asks nobody cannot be told it otherwise.
DENIED = """navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium that hears the scene once, from each Start on, and asks nobody whether it may."""
    with sync_playwright() as playwright:
        found = chromium.launched(playwright, *flags(scene_wav(tmp_path_factory.mktemp("scene"))))
        yield found
        found.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Where a daemon's page is, and where it publishes."""
    folder, port = tmp_path_factory.mktemp("daemon"), chromium.free_port()
    with hearing(folder, port):
        yield port, f"ipc://{folder}/pub"


@pytest.fixture
def errors() -> list[str]:
    """What a page complained of, what it asked of others."""
    return []


@pytest.fixture
def page(browser: Browser, errors: list[str]) -> Iterator[Page]:
    """A page of which nothing goes wrong unseen."""
    context = browser.new_context(viewport={"width": 1100, "height": 700})
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    page.on("request", lambda asked: None if asked.url.startswith("http://127.0.0.1:") else errors.append(asked.url))
    yield page
    context.close()
    assert errors == []


def opened(page: Page, port: int) -> None:
    """The page, as soon as the daemon says that it waits for it."""
    page.goto(f"http://127.0.0.1:{port}/")
    page.wait_for_selector("#state-name >> text=no-device", timeout=60_000)


def seconds(page: Page, name: str) -> int:
    """A number of seconds that the page shows."""
    return int(page.inner_text(f"#{name}").split()[0])


def test_by_keyboard_it_is_started_scored_paused_and_stopped(page: Page, daemon: tuple[int, str]) -> None:
    port, endpoint = daemon
    opened(page, port)
    assert "before you press Start" in page.inner_text("#sentence")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#go[aria-pressed=true]")
    page.wait_for_selector("#state-name >> text=listening")
    page.wait_for_function("() => Number(document.getElementById('level').getAttribute('aria-valuenow')) > -40")
    assert "32 kB/s" in page.inner_text("#format")
    page.wait_for_selector("#now-p[data-seq]", timeout=20_000)
    ask(endpoint, "pause")
    page.wait_for_selector("#sentence >> text=Paused at the daemon")
    time.sleep(0.3)
    sent = seconds(page, "sent")
    time.sleep(1.5)
    assert seconds(page, "sent") == sent
    ask(endpoint, "resume")
    page.wait_for_selector("#state-name >> text=listening")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sentence >> text=Stopped")
    wait_for(endpoint, ("no-device", "device-lost"))

    assert sent > 0


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_and_nothing_hangs_over(page: Page, daemon: tuple[int, str], scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    opened(page, daemon[0])
    page.click("#go")
    page.wait_for_selector("#state-name >> text=listening")
    found = [Axe().run(page)]
    page.set_viewport_size(PHONE)
    found.append(Axe().run(page))

    assert [one.violations_count for one in found] == [0, 0], found[0].generate_report()
    assert page.evaluate("() => document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate("() => document.documentElement.dataset.theme") == scheme


def test_a_daemon_that_is_killed_is_said_and_heard_by_again_when_it_is_back(page: Page, tmp_path: Path) -> None:
    port = chromium.free_port()
    with hearing(tmp_path, port) as process:
        opened(page, port)
        page.click("#go")
        page.wait_for_selector("#state-name >> text=listening")
        process.send_signal(signal.SIGKILL)
        page.wait_for_selector("#sentence >> text=The daemon is gone")
        page.wait_for_selector("#state-name >> text=daemon lost")
    with hearing(tmp_path, port):
        page.wait_for_selector("#state-name >> text=listening", timeout=30_000)
        page.wait_for_selector("#sentence >> text=Sent as it is heard")


def test_without_permission_the_page_says_what_to_do(page: Page, daemon: tuple[int, str]) -> None:
    page.add_init_script(DENIED)
    opened(page, daemon[0])
    page.click("#go")
    page.wait_for_selector("#sentence[data-tone=bad]")

    assert "Allow it beside the address" in page.inner_text("#sentence")


def test_a_second_page_is_refused_in_words_while_one_is_heard(page: Page, daemon: tuple[int, str]) -> None:
    opened(page, daemon[0])
    page.click("#go")
    page.wait_for_selector("#state-name >> text=listening")
    second = page.context.new_page()
    second.goto(page.url)
    second.click("#go:not([disabled])")
    second.wait_for_selector("#sentence >> text=another page or program is heard")
    arrived = seconds(page, "arrived")
    page.wait_for_function(f"() => parseInt(document.getElementById('arrived').textContent) > {arrived}")

    assert second.get_attribute("#go", "aria-pressed") == "false"


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_whatever_the_rate_a_tone_comes_out_as_it_is_and_nothing_folds_back(
    page: Page, daemon: tuple[int, str], rate: int
) -> None:
    """In dB of what went in: 1 kHz, and 8.6 kHz, which a bad filter makes 7.4 kHz of."""
    page.goto(f"http://127.0.0.1:{daemon[0]}/")
    kept, folded = (page.evaluate(TONE, [rate, hz]) for hz in (1000, 8600))

    assert kept == pytest.approx(0.0, abs=0.01)
    assert rate == 16_000 or folded < -70.0


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_the_scene_through_the_browser_is_scored_as_the_file_is(
    page: Page, scene: Path, tmp_path: Path, endpoint: str
) -> None:
    """Each segment within .05 of the file's, with the same words."""
    port = chromium.free_port()
    words = config_file(tmp_path, "[publish]\ntext = true\n")
    file = scores(heard(endpoint, "--config", str(words), "--source", str(scene), "--pace", "fast"))
    with hearing(tmp_path, port, publish="text = true", fake=False):
        opened(page, port)
        page.click("#go")
        page.wait_for_selector("#state-name >> text=listening")
        said = list(subscribe(endpoint, timeout_s=SCENE_S + 5, replay=100))
    live = [item for item in said if isinstance(item, Score)]
    losses = [item.reason for item in said if isinstance(item, Status) and item.state == "no-device"]

    assert [score.text for score in live] == [score["text"] for score in file]
    shift_s = live[0].t_start - file[0]["t_start"]
    for one, other in zip(live, file, strict=True):
        assert one.t_start - shift_s == pytest.approx(other["t_start"], abs=APART_S)
        assert one.p_sad == pytest.approx(other["p_sad"], abs=WORST)
    assert losses[1:] == []
