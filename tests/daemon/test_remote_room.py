"""A room whose segments are scored elsewhere: the same events, and what it does while nobody answers there."""

import asyncio
import hashlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from doors import HELLO, RunningDoor, door, keyed, noise
from fakes import READY, Each, analysis, slow

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.base.errors import ConfigError
from sadstream.base.samples import SEGMENT_SAMPLES, to_pcm
from sadstream.cluster.scorer import Scorer
from sadstream.config import Config, parse
from sadstream.daemon import loading
from sadstream.daemon.loading import load_remote
from sadstream.daemon.messages import LoadedAnalyzer, ModelsDegraded
from sadstream.daemon.pipeline.door_connection import DoorConnection
from sadstream.daemon.remote.analyzer import RemoteAnalyzer
from sadstream.daemon.remote.reachability import Reachability
from sadstream.events.keys import Curve
from sadstream.scoring.analysis import Analysis, LostSegment
from sadstream.scoring.fusion import checkpoint

SCENE = files("sadstream.cli.demo") / "scene" / "scene.flac"
HEADER = checkpoint.read_header(checkpoint.default_path())
MODEL = hashlib.sha256(checkpoint.default_path().read_bytes()).hexdigest()[:12]


def config(endpoint: str, **remote: Any) -> Config:
    asked = {"endpoints": [endpoint], "fallback": "none", "timeout_s": 0.5} | remote
    return parse({"compute": {"device": "remote"}, "remote": asked}, "a test")


def segment(number: int = 0) -> Segment:
    samples = np.zeros(SEGMENT_SAMPLES, np.float32)
    samples[:16_000] = noise(1.0, number)
    return Segment(number, samples, float(number), number + 1.0, 0.5, arrived_s=0.0)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/door"


@contextmanager
def connected(
    endpoint: str, curve: Curve | None = None, hellos: int = 1, start_s: float = 5.0
) -> Iterator[tuple[DoorConnection, list[bool]]]:
    said: list[bool] = []
    link = DoorConnection([endpoint], curve, Reachability(hellos), said.append)
    link.start(start_s)
    try:
        yield link, said
    finally:
        link.close()


def room(link: DoorConnection, settings: Config, **own: Any) -> RemoteAnalyzer:
    return RemoteAnalyzer(settings, HEADER, HELLO.model, link, own.pop("load_local", None), **own)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end_s = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.02)


def local_models(made: list[float] | None = None) -> LoadedAnalyzer:
    if made is not None:
        made.append(time.monotonic())
    return LoadedAnalyzer(Each(analysis), READY)


def test_what_comes_back_is_what_the_models_said(endpoint: str) -> None:
    felt = (("sad", 0.25), ("calm", 0.75))

    def analyze(one: Segment) -> Analysis | UnscoredSegment:
        if one.t_start == 2.0:
            return UnscoredSegment(0.03125)
        return replace(analysis(one), emotions=felt, valence=-0.5, arousal=0.0)

    with door(endpoint, analyze), connected(endpoint) as (link, _):
        found = room(link, config(endpoint)).many([segment(0), segment(2)])

    expected = analysis(segment(0))
    assert isinstance(found[0], Analysis)
    assert (found[0].audio_logit, found[0].text_logit, found[0].compute) == (expected.audio_logit, 0.0, "remote")
    assert found[0].remote_ms is not None
    assert found[0].remote_ms > 0
    assert found[1] == UnscoredSegment(0.03125)
    assert (found[0].emotions, found[0].valence, found[0].arousal) == (felt, -0.5, 0.0)


@pytest.mark.parametrize("published", [False, True])
def test_words_are_asked_for_only_where_they_are_published(endpoint: str, published: bool) -> None:
    settings = config(endpoint)
    settings = settings.model_copy(update={"publish": settings.publish.model_copy(update={"text": published})})
    with door(endpoint, lambda one: analysis(one, "some words")), connected(endpoint) as (link, _):
        (found,) = room(link, settings).many([segment()])

    assert isinstance(found, Analysis)
    assert found.transcript.text == ("some words" if published else "")


def test_prior_and_threshold_are_the_rooms(endpoint: str) -> None:
    settings = config(endpoint).model_copy(update={"model": parse({"model": {"prior": 0.3}}, "a test").model})
    with door(endpoint), connected(endpoint) as (link, _):
        (found,) = room(link, settings).many([segment()])

    assert isinstance(found, Analysis)
    assert found.bias_logit == pytest.approx(np.log(0.3 / 0.7))


def test_many_streams_are_asked_about_at_once(endpoint: str) -> None:
    async def takes_a_while(*frames: bytes) -> list[bytes]:
        await asyncio.sleep(0.2)
        return await score(*frames)

    score = Scorer(Each(analysis), 1).score
    with RunningDoor(endpoint, None, takes_a_while, calls=8), connected(endpoint) as (link, _):
        start_s = time.monotonic()
        found = room(link, config(endpoint, timeout_s=5.0)).many([segment(n) for n in range(8)])

    assert all(isinstance(one, Analysis) for one in found)
    assert time.monotonic() - start_s < 1.0


def test_a_room_without_models_says_what_it_lost_and_comes_back_by_itself(endpoint: str) -> None:
    with connected(endpoint, start_s=0.3) as (link, said):
        analyzer = room(link, config(endpoint))
        assert analyzer.many([segment()]) == [LostSegment("the cluster is away")]
        with door(endpoint):
            until(lambda: link.is_up)
            assert isinstance(analyzer.many([segment()])[0], Analysis)
        until(lambda: not link.is_up)
        assert analyzer.many([segment()]) == [LostSegment("the cluster is away")]
        with door(endpoint):
            until(lambda: link.is_up)
            assert isinstance(analyzer.many([segment()])[0], Analysis)

    assert said[:3] == [True, False, True]


def test_warm_models_lose_nothing_when_the_door_dies_in_a_request(endpoint: str) -> None:
    with connected(endpoint, start_s=0.1) as (link, _):
        analyzer = room(link, config(endpoint, timeout_s=2.0), local=local_models())
        with door(endpoint, slow(5.0)) as running:
            until(lambda: link.is_up)
            assert running.door is not None

            async def never(*frames: bytes) -> list[bytes]:
                running._loop.call_soon(running._task.cancel)
                await asyncio.sleep(60)
                return []

            running.score = never
            start_s = time.monotonic()
            (found,) = analyzer.many([segment()])

    assert isinstance(found, Analysis)
    assert found.compute == "local"
    assert time.monotonic() - start_s < 1.0  # a connection that is gone is known at once


def test_cold_models_are_loaded_when_the_cluster_is_away_and_given_back_when_it_returns(endpoint: str) -> None:
    made: list[float] = []
    with connected(endpoint, start_s=0.1) as (link, _):
        analyzer = room(link, config(endpoint), load_local=lambda: local_models(made))
        assert isinstance(analyzer.many([segment()])[0], Analysis)
        assert isinstance(analyzer.many([segment()])[0], Analysis)
        assert len(made) == 1
        with door(endpoint):
            until(lambda: link.is_up)
            (found,) = analyzer.many([segment()])
            assert isinstance(found, Analysis)
            assert found.compute == "remote"
        until(lambda: not link.is_up)
        analyzer.many([segment()])

    assert len(made) == 2


def test_two_answers_that_do_not_come_in_time_are_away(endpoint: str) -> None:
    async def stands_still(*frames: bytes) -> list[bytes]:
        time.sleep(1.5)  # the whole door, which else would say that it is late
        return await score(*frames)

    score = Scorer(Each(analysis), 1).score
    with RunningDoor(endpoint, None, stands_still), connected(endpoint, hellos=3) as (link, said):
        analyzer = room(link, config(endpoint, timeout_s=0.2))
        assert isinstance(analyzer.many([segment()])[0], LostSegment)
        assert link.is_up
        assert isinstance(analyzer.many([segment()])[0], LostSegment)
        assert not link.is_up
        until(lambda: said[:2] == [True, False])  # it is said too, though another thread found it out


def test_a_recording_waits_until_it_is_scored(endpoint: str) -> None:
    with connected(endpoint, start_s=0.1) as (link, _):
        analyzer = room(link, config(endpoint), patient=True)
        running = door(endpoint)

        def later() -> None:
            time.sleep(0.5)
            running.__enter__()

        opening = threading.Thread(target=later)
        opening.start()
        (found,) = analyzer.many([segment()])
        opening.join()
        running.__exit__(None, None, None)

    assert isinstance(found, Analysis)


def test_a_door_with_another_checkpoint_ends_the_start_and_is_never_believed(endpoint: str) -> None:
    with door(endpoint):
        with pytest.raises(ConfigError, match=f"hears with {HELLO.model}, this room expects {MODEL}"):
            load_remote(config(endpoint), lambda _: None)
        with connected(endpoint) as (link, _):
            analyzer = RemoteAnalyzer(config(endpoint), HEADER, MODEL, link, None)
            (found,) = analyzer.many([segment()])

    assert isinstance(found, LostSegment)


def test_a_key_that_the_door_does_not_know_ends_with_the_line_that_allows_it(tmp_path: Path) -> None:
    keys, _, stranger = keyed(tmp_path)
    address = "tcp://127.0.0.1:0".replace(":0", f":{_free_port()}")
    settings = config(address, server_key=stranger.server.decode(), secret_key=str(tmp_path / "stranger.key"))
    with door(address, keys=keys), pytest.raises(ConfigError) as caught:
        load_remote(settings, lambda _: None)

    assert f"sadstream keys allow '{stranger.public.decode()}'" in str(caught.value)


def test_over_a_network_with_keys_it_is_scored(tmp_path: Path) -> None:
    keys, known, _ = keyed(tmp_path)
    address = f"tcp://127.0.0.1:{_free_port()}"
    with door(address, keys=keys), connected(address, known) as (link, _):
        (found,) = room(link, config(address)).many([segment()])

    assert isinstance(found, Analysis)


def test_the_next_door_is_asked_when_the_first_does_not_answer(tmp_path: Path, endpoint: str) -> None:
    link = DoorConnection([f"ipc://{tmp_path}/nobody", endpoint], None, Reachability(1))
    with door(endpoint):
        try:
            assert link.start(8.0)
        finally:
            link.close()


def test_a_cluster_that_is_away_at_the_start_keeps_no_room_from_starting(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "DOOR_S", 0.2)
    said: list[ModelsDegraded] = []
    loaded = load_remote(config(endpoint), said.append)

    assert [(one.reason, one.compute) for one in said] == [("slow", "remote")]
    assert isinstance(loaded.analyzer.many([segment()])[0], LostSegment)


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ({"endpoints": []}, "remote.endpoints: missing"),
        ({"endpoints": ["tcp://192.0.2.7:5560"]}, "speech would cross the network in plain"),
        ({"endpoints": ["http://x"]}, "expected ipc:///path or tcp"),
        ({"server_key": "short"}, "expected the 40 letters"),
        ({"secret_key": "room.key"}, "expected both or none"),
        ({"timeout_s": 60.0}, "timeout_s"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(remote: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config("tcp://127.0.0.1:5560", **remote)


def test_a_services_own_key_may_be_its_credential(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd gives it; without one, and without `secret_key`, half a pair is refused."""
    keys, known, _ = keyed(tmp_path)
    server = known.server.decode()
    with pytest.raises(ConfigError, match="expected both or none"):
        config(endpoint, server_key=server)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/remote.key").write_bytes((tmp_path / "room.key").read_bytes())
    (tmp_path / "credentials/remote.key").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    said: list[ModelsDegraded] = []
    scored = Scorer(Each(analysis), 1).score
    with RunningDoor(endpoint, keys, scored, hello=replace(HELLO, model=MODEL)):
        loaded = load_remote(config(endpoint, server_key=server), said.append)
        known_to_it = loaded.ready.whisper, list(said)

    assert known_to_it == (HELLO.whisper, [])


ROOM = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        absent = ("torch", "torchaudio", "transformers", "tokenizers", "safetensors", "whisper", "ray")
        return None if name.split(".")[0] in absent else self.finder.find_spec(name, path, target)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
from sadstream.cli.main import main
main(sys.argv[1:])
"""


def test_a_room_needs_no_torch_and_little_memory(tmp_path: Path, endpoint: str) -> None:
    """A whole daemon in which models cannot be imported scores a recording: 34 MB of its own, 60 with its files."""
    told: list[Segment] = []

    def analyze(one: Segment) -> Analysis:
        told.append(one)
        return replace(analysis(one), model=MODEL)

    (tmp_path / "room.toml").write_text(
        f'[compute]\ndevice = "remote"\n[remote]\nendpoints = ["{endpoint}"]\n'
        f'[publish]\nendpoint = "ipc://{tmp_path}/pub"\n'
    )
    words = ["run", "--config", str(tmp_path / "room.toml"), "--source", "-", "--pace", "fast"]
    pcm = to_pcm(soundfile.read(SCENE, dtype="float32")[0])
    with (
        RunningDoor(endpoint, None, Scorer(Each(analyze), 1).score, hello=replace(HELLO, model=MODEL)),
        (tmp_path / "said").open("w+") as said,
        subprocess.Popen([sys.executable, "-c", ROOM, *words], stdin=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(pcm)
        process.stdin.flush()
        until(lambda: len(told) >= 8, 60.0)
        status = Path(f"/proc/{process.pid}/status").read_text()
        own, all_of_it = (int(found) for found in re.findall(r"(?:RssAnon|VmHWM):\s*(\d+) kB", status)[::-1])
        process.stdin.close()
        assert process.wait(20) == 0, Path(said.name).read_text()

    assert len(told) == 9  # one of them without speech, which the models would say
    # What of its libraries' files is mapped is the kernel's choice: 24 to 35 MB, shared with whoever else uses them.
    assert own <= 40 * 1024
    assert all_of_it <= 75 * 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
