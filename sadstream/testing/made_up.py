"""Events and findings with defaults: true to the contract whatever is changed, or a ValueError."""

from collections.abc import Mapping

from sadstream.base.odds import logit, sigmoid
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.events import (
    STALE_S,
    Episode,
    EventName,
    Latency,
    Phase,
    Reason,
    Score,
    State,
    Status,
    TextReason,
    from_json,
    to_json,
)
from sadstream.events.types import Compute, E

STREAM = "mic"
SESSION = "0123456789abcdef"
NEXT_SESSION = "fedcba9876543210"
TIME = "2030-01-31T12:00:00.000Z"
MODEL = "fa4e" * 3  # no checkpoint's
BIAS_LOGIT = -1.2
TEXT_LOGIT = 0.3
SEGMENT_S, EVERY_S = 2.5, 3.0  # how long one is, and from one's start to the next's
FALSE_ALARMS_H = 1.0
LATENCY = Latency(queue=0.4, vad=0.2, whisper=210.0, text=9.0, fusion=6.0, publish=0.2, total=225.8)
REASONS: Mapping[State, Reason] = {
    "starting": "none",
    "listening": "none",
    "no-device": "device-lost",
    "overloaded": "slow",
    "degraded": "slow",
    "paused": "user",
    "stopping": "none",
}
# Of an episode so far: segments heard, of these sad, evidence.
SO_FAR: Mapping[Phase, tuple[int, int, float]] = {"start": (1, 1, 3.2), "update": (4, 3, 5.1), "end": (8, 5, 0.3)}


def score(
    p_sad: float | None = None,
    *,
    audio_logit: float | None = None,
    text_logit: float | None = None,
    bias_logit: float = BIAS_LOGIT,
    offset_logit: float = 0.0,
    threshold: float = 0.5,
    text_used: bool | None = None,
    text_reason: TextReason | None = None,
    segment: int = 0,
    t_start: float | None = None,
    t_end: float | None = None,
    voiced: float = 0.9,
    dropped: int = 0,
    mood: float | None = None,
    uncertain: bool | None = False,
    provisional: bool | None = None,
    compute: Compute | None = None,
    emotions: Mapping[str, float] | None = None,
    valence: float | None = None,
    arousal: float | None = None,
    speaker: str | None = None,
    text: str | None = None,
    latency_ms: Latency = LATENCY,
    model: str = MODEL,
    stream: str = STREAM,
    session: str = SESSION,
    seq: int = 0,
    time: str = TIME,
    monotonic_s: float = 0.0,
) -> Score:
    """A score that is this sad (default .8), with parts that sum to its logit and the decision that follows.

    Of `p_sad` and `audio_logit` give one; the other follows, and so do the defaults of fields that hang on others.
    """
    if p_sad is not None and audio_logit is not None:
        raise ValueError("score: expected p_sad or audio_logit, not both: one follows from the other")
    if text_used is None:
        text_used = not provisional and text_reason in (None, "none")
    if text_logit is None:
        text_logit = TEXT_LOGIT if text_used else 0.0
    others = bias_logit + text_logit + offset_logit
    if audio_logit is None:
        p_sad = 0.8 if p_sad is None else p_sad
        if not 0.0 < p_sad < 1.0:
            raise ValueError(f"score: p_sad {p_sad}: expected more than 0 and less than 1")
        audio_logit = logit(p_sad) - others
    p_sad = sigmoid(audio_logit + others) if p_sad is None else p_sad
    t_start = segment * EVERY_S if t_start is None else t_start
    return _checked(
        Score(
            stream=stream, session=session, seq=seq, time=time, monotonic_s=monotonic_s, segment=segment,
            t_start=t_start, t_end=t_start + SEGMENT_S if t_end is None else t_end,
            p_sad=p_sad, threshold=threshold, sad=p_sad >= threshold,
            bias_logit=bias_logit, audio_logit=audio_logit, text_logit=text_logit, offset_logit=offset_logit,
            text_used=text_used, text_reason=text_reason or ("none" if text_used else "off"), voiced=voiced,
            latency_ms=latency_ms, dropped=dropped, model=model, mood=p_sad if mood is None else mood,
            uncertain=uncertain, provisional=provisional, compute=compute, emotions=emotions, valence=valence,
            arousal=arousal, speaker=speaker, text=text,
        )
    )  # fmt: skip


def scores(*p_sad: float, stream: str = STREAM, session: str = SESSION, threshold: float = 0.5) -> list[Score]:
    """One after the other, three seconds apart, numbered from 0."""
    return [
        score(p, stream=stream, session=session, threshold=threshold, segment=number, seq=number)
        for number, p in enumerate(p_sad)
    ]


def status(
    state: State = "listening",
    reason: Reason | None = None,
    *,
    last_score_seq: int | None = None,
    dropped: int = 0,
    rtf: float = 0.1,
    replay: str | None = None,
    compute: Compute | None = None,
    stream: str = STREAM,
    session: str = SESSION,
    seq: int = 0,
    time: str = TIME,
    monotonic_s: float = 0.0,
) -> Status:
    """A status; the reason is a usual one of its state."""
    return _checked(
        Status(
            stream=stream, session=session, seq=seq, time=time, monotonic_s=monotonic_s, state=state,
            reason=REASONS[state] if reason is None else reason, last_score_seq=last_score_seq, dropped=dropped,
            rtf=rtf, replay=replay, compute=compute,
        )
    )  # fmt: skip


def episode(
    phase: Phase = "start",
    *,
    episode: int = 0,
    segments: int | None = None,
    sad_segments: int | None = None,
    evidence: float | None = None,
    mood: float = 0.6,
    t_start: float = 0.0,
    t_end: float | None = None,
    first_score_seq: int = 0,
    last_score_seq: int | None = None,
    false_alarms_h: float = FALSE_ALARMS_H,
    model: str = MODEL,
    stream: str = STREAM,
    session: str = SESSION,
    seq: int = 0,
    time: str = TIME,
    monotonic_s: float = 0.0,
) -> Episode:
    """An episode at this phase, its counts, times and numbers as those of a short one."""
    heard, sad, how_sure = SO_FAR[phase]
    segments = heard if segments is None else segments
    return _checked(
        Episode(
            stream=stream, session=session, seq=seq, time=time, monotonic_s=monotonic_s, episode=episode, phase=phase,
            t_start=t_start, t_end=t_start + (segments - 1) * EVERY_S + SEGMENT_S if t_end is None else t_end,
            segments=segments, sad_segments=min(sad, segments) if sad_segments is None else sad_segments,
            evidence=how_sure if evidence is None else evidence, mood=mood, first_score_seq=first_score_seq,
            last_score_seq=first_score_seq + segments - 1 if last_score_seq is None else last_score_seq,
            false_alarms_h=false_alarms_h, model=model,
        )
    )  # fmt: skip


def gap(
    missed: int = 1,
    event_type: EventName = "score",
    *,
    first_seq: int = 0,
    stream: str = STREAM,
    session: str = SESSION,
) -> Gap:
    """So many events lost, from `first_seq` on."""
    last_seq = first_seq + missed - 1
    return Gap(stream=stream, session=session, event_type=event_type, first_seq=first_seq, last_seq=last_seq)


def restart(*, session: str = NEXT_SESSION, previous: str = SESSION, stream: str = STREAM) -> Restart:
    """The daemon is a new one."""
    return Restart(stream=stream, session=session, previous=previous)


def stale(stream: str | None = STREAM, *, silent_s: float = STALE_S, last_state: State | None = "listening") -> Stale:
    """Nothing came for too long; without a stream: nothing was ever heard."""
    return Stale(stream=stream, silent_s=silent_s, last_state=None if stream is None else last_state)


def _checked(event: E) -> E:
    """The event as a reader of the wire gets it; ValueError (a WireError) says what it would refuse."""
    read = from_json(to_json(event))
    assert isinstance(read, type(event))
    return read
