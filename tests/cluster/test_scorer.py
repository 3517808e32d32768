"""Who scores for rooms: takes what waits, answers each, and survives what one of them sends."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
from doors import noise, request
from fakes import Each, analysis

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.cluster.scorer import Scorer
from sadstream.daemon.remote.request import (
    Answer,
    RefusedAnswer,
    ScoredAnswer,
    UnscoredAnswer,
    answer_frame,
    read_answer,
    request_frames,
)
from sadstream.events.validation import WireError
from sadstream.scoring.analysis import Analysis, Early

CANARY = "the-words-that-nobody-may-read"


def answers(scorer: Scorer, *frames: Sequence[bytes]) -> list[Answer]:
    return [read_answer(one) for one in asyncio.run(scorer.score(*chain.from_iterable(frames)))]


class Recording:
    """An analyser that remembers how many came at once, and lets none go before it is told to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.waited, self.go = threading.Event(), threading.Event()

    def many(self, segments: Sequence[Segment], early: Early | None = None) -> list[Analysis | UnscoredSegment]:
        self.waited.set()
        self.go.wait(5)
        self.batches.append(len(segments))
        return [analysis(one) for one in segments]


def test_a_segment_is_heard_to_the_last_bit() -> None:
    heard: list[Segment] = []

    def keep(segment: Segment) -> Analysis:
        heard.append(segment)
        return analysis(segment)

    samples = noise(2.5)
    (answer,) = answers(Scorer(Each(keep), 1), request_frames(request(2.5), samples))

    assert isinstance(answer, ScoredAnswer)
    assert np.array_equal(heard[0].heard, samples)
    assert not heard[0].samples[40_000:].any()


def test_what_is_heard_beside_sad_comes_back_and_nothing_where_there_is_none() -> None:
    def feeling(segment: Segment) -> Analysis:
        heard = analysis(segment)
        felt = (("sad", 0.25), ("calm", 0.75))
        return replace(heard, emotions=felt, valence=-0.5, arousal=0.0) if segment.t_start else heard

    asked = (request_frames(request(t_start=start, t_end=start + 1), noise()) for start in (0.0, 3.0))
    plain, felt = answers(Scorer(Each(feeling), 2), *asked)

    assert isinstance(plain, ScoredAnswer)
    assert isinstance(felt, ScoredAnswer)
    assert (plain.emotions, plain.valence, plain.arousal) == (None, None, None)
    assert (felt.emotions, felt.valence, felt.arousal) == ({"sad": 0.25, "calm": 0.75}, -0.5, 0.0)
    assert b"valence" not in answer_frame(plain)
    with pytest.raises(WireError, match="emotions"):
        read_answer(answer_frame(replace(felt, emotions={"sad": 0.5})))


@pytest.mark.parametrize("codec", ["pcm", "flac"])
def test_either_codec_is_the_same_sound(codec: str) -> None:
    def mean(segment: Segment) -> UnscoredSegment:
        return UnscoredSegment(float(np.abs(segment.heard).mean()))

    samples = noise(1.0)
    (answer,) = answers(Scorer(Each(mean), 1), request_frames(request(codec=codec), samples))

    assert answer == UnscoredAnswer(speech=float(np.abs(samples).mean()))


def test_words_come_back_only_where_they_were_asked_for() -> None:
    scorer = Scorer(Each(lambda segment: analysis(segment, CANARY)), 1)

    quiet, open_ = answers(scorer, *(request_frames(request(words=words), noise()) for words in (False, True)))

    assert isinstance(quiet, ScoredAnswer)
    assert isinstance(open_, ScoredAnswer)
    assert (quiet.words, open_.words) == (None, CANARY)


def test_what_waits_is_taken_together_and_a_lone_one_at_once() -> None:
    analyzer = Recording()
    scorer = Scorer(analyzer, batch=4)
    frames = request_frames(request(), noise())

    async def one_then_six() -> None:
        first = asyncio.create_task(scorer.score(*frames))
        while not analyzer.waited.is_set():
            await asyncio.sleep(0.01)
        rest = [asyncio.create_task(scorer.score(*frames)) for _ in range(6)]
        await asyncio.sleep(0.05)
        analyzer.go.set()
        await asyncio.gather(first, *rest)

    asyncio.run(one_then_six())

    assert analyzer.batches == [1, 4, 2]


def bad(change: Callable[[list[bytes]], list[bytes]]) -> list[bytes]:
    return change(request_frames(request(), noise()))


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (bad(lambda ok: [ok[0], ok[1][:-1]]), "bytes of PCM"),
        (bad(lambda ok: [ok[0], ok[1] + b"\0" * 70_000]), "at most 96000"),
        (bad(lambda ok: [ok[0], b""]), "bytes of PCM"),
        (bad(lambda ok: [b"{", ok[1]]), "not JSON"),
        (bad(lambda ok: [ok[0].replace(b'"v":1', b'"v":2'), ok[1]]), "version 2"),
        (bad(lambda ok: [ok[0].replace(b'"voiced":0.5', b'"voiced":NaN'), ok[1]]), "voiced"),
        (bad(lambda ok: [ok[0].replace(b'"t_end":1.0', b'"t_end":1e9'), ok[1]]), "samples"),
        (bad(lambda ok: [ok[0].replace(b'"t_end":1.0', b'"t_end":3.0000625'), ok[1]]), "48001 samples"),
        (bad(lambda ok: [ok[0].replace(b'"pcm"', b'"flac"'), ok[1]]), "not FLAC"),
        (bad(lambda ok: [ok[0].replace(b'"pcm"', b'"opus"'), ok[1]]), "codec"),
    ],
)
def test_what_is_no_segment_is_an_error_to_its_room_and_none_to_the_next(frames: list[bytes], said: str) -> None:
    refused, scored = answers(Scorer(Each(analysis), 1), frames, request_frames(request(), noise()))

    assert isinstance(refused, RefusedAnswer)
    assert refused.why == "error"
    assert said in refused.what
    assert isinstance(scored, ScoredAnswer)


def test_a_batch_that_fails_is_done_again_one_by_one_and_no_message_is_repeated() -> None:
    def analyze(segment: Segment) -> Analysis:
        if segment.t_start == 7.0:
            raise ValueError(CANARY)
        return analysis(segment)

    frames = [request_frames(request(t_start=start, t_end=start + 1), noise()) for start in (0.0, 7.0, 9.0)]
    found = answers(Scorer(Each(analyze), batch=4), *frames)

    assert [type(one) for one in found] == [ScoredAnswer, RefusedAnswer, ScoredAnswer]
    assert found[1] == RefusedAnswer(why="error", what="analysis: ValueError")
