"""Who scores for rooms: requests of many at once in, their answers out, of models that one thread owns."""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.daemon.remote.request import (
    Answer,
    RefusedAnswer,
    ScoredAnswer,
    SegmentRequest,
    UnscoredAnswer,
    answer_frame,
    read_audio,
    read_request,
    segment_of,
)
from sadstream.events.validation import WireError
from sadstream.scoring.analysis import LostSegment, SegmentAnalyzer, SegmentAnswer

log = logging.getLogger("sadstream")

HUNG_S = 20.0  # at one batch: then the replica is replaced


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A segment, and who waits for its answer."""

    request: SegmentRequest
    segment: Segment
    answer: "asyncio.Future[Answer]"
    loop: asyncio.AbstractEventLoop

    def say(self, answer: Answer) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(_settle, self.answer, answer)


class Scorer:
    """Takes what waits, at most `batch` segments, and waits for nobody: a lone segment is never late.

    What is no segment is answered before it could spoil a batch, and a batch that fails is done again one by one.
    """

    def __init__(self, analyzer: SegmentAnalyzer, batch: int) -> None:
        self._analyzer = analyzer
        self._batch = batch
        self._waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._busy_since_s: float | None = None
        threading.Thread(target=self._run, name="scorer", daemon=True).start()

    async def score(self, *frames: bytes) -> list[bytes]:
        """The answers to requests, a header and its sound each, as they go back."""
        return await asyncio.gather(*map(self._score, frames[::2], frames[1::2]))

    async def _score(self, header: bytes, audio: bytes) -> bytes:
        """The answer to one; nothing of what was said is in any exception."""
        try:
            request = read_request(header)
            if request is None:
                raise WireError("a hello without a door")
            segment = segment_of(request, read_audio(request, audio))
        except WireError as error:
            return answer_frame(RefusedAnswer(why="error", what=str(error)[:200]))
        loop = asyncio.get_running_loop()
        job = _Job(request, segment, loop.create_future(), loop)
        self._waiting.put(job)
        return answer_frame(await job.answer)

    @property
    def is_hung(self) -> bool:
        """It has been at one batch for too long."""
        since_s = self._busy_since_s
        return since_s is not None and time.monotonic() - since_s > HUNG_S

    def _run(self) -> None:
        while True:
            jobs = [self._waiting.get()]
            while len(jobs) < self._batch and not self._waiting.empty():
                jobs.append(self._waiting.get())
            jobs = [job for job in jobs if not job.answer.cancelled()]
            self._busy_since_s = time.monotonic()
            try:
                self._answer(jobs)
            except Exception:
                for job in jobs:
                    self._answer_alone(job)
            self._busy_since_s = None

    def _answer(self, jobs: Sequence[_Job]) -> None:
        found = self._analyzer.many([job.segment for job in jobs]) if jobs else []
        for job, one in zip(jobs, found, strict=True):
            job.say(_answer_of(job, one))

    def _answer_alone(self, job: _Job) -> None:
        try:
            self._answer([job])
        except Exception as error:  # its message may hold words
            log.warning("a segment could not be analysed: %s", type(error).__name__)
            job.say(RefusedAnswer(why="error", what=f"analysis: {type(error).__name__}"))


def _answer_of(job: _Job, found: SegmentAnswer) -> Answer:
    if isinstance(found, UnscoredSegment):
        return UnscoredAnswer(speech=found.speech)
    assert not isinstance(found, LostSegment), "models of one's own are always there"
    heard = found.transcript
    return ScoredAnswer(
        audio=found.audio_logit, text=found.text_logit, uncapped=found.uncapped_logit, speech=found.speech,
        no_speech=heard.no_speech, avg_logprob=heard.avg_logprob, reason=heard.reason, model=found.model,
        whisper_ms=found.whisper_ms, text_ms=found.text_ms, fusion_ms=found.fusion_ms,
        emotions=dict(found.emotions) or None, valence=found.valence, arousal=found.arousal,
        words=heard.text if job.request.words else None,
    )  # fmt: skip


def _settle(waiting: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not waiting.done():
        waiting.set_result(answer)
