"""Audio that flows but says nothing: muted, constant, clipped; and an offset, which costs nothing. Pure."""

from dataclasses import dataclass

from sadstream.base.samples import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE, AudioFrame, exact_div
from sadstream.events import Reason

MUTED_FRAMES = exact_div(10_200, FRAME_MS) - 6  # 334: the first whole number of frames over 10 s
SECOND_FRAMES = 34  # the first whole number of frames over 1 s
CLEAR_SECONDS = 3  # without clipping, before it is called off
CLIPPED_SHARE = 0.1  # of a second's samples at full scale; a shout stays under 2 %
OFFSET = 0.0075  # of full scale: what is called about one percent
OFFSET_FRAMES = 8  # of a quarter of a second, whose mean is no speech any more
OFFSET_BLOCKS = 4  # that agree, before it is said
OFFSET_STEADY = 0.25  # of the larger: two means that differ by more are rumble
OFFSET_CLEAR_BLOCKS = 12  # under half of it, before it is called off
KINDS = {  # of a recording's faults, and what is said of each
    "muted": "muted: nothing but zeros",
    "constant": "constant: one value and no sound",
    "clipped": "clipped: more than a tenth of the samples at full scale",
    "offset": "a constant offset",
}


class SignalHealth:
    """Frames in, the fault that they show out (`none`, `muted`, `constant`, `clipped`)."""

    __slots__ = ("_clear", "_heard", "_level", "_same", "reason")

    def __init__(self) -> None:
        self.reason: Reason = "none"
        self._level: int | None = None  # the one value of all samples of the last `_same` frames
        self._same = 0
        self._heard: list[bytes] = []  # of this second: looked at together, which costs a quarter
        self._clear = 0

    def feed(self, frame: AudioFrame) -> Reason:
        """The fault in force after this frame."""
        self._feed_level(frame.pcm)
        if self._level is not None:
            self._heard.clear()
            if self._level == 0:
                self.reason = "muted" if self._same >= MUTED_FRAMES else self._unless("constant", "clipped")
            else:
                self.reason = "constant" if self._same >= SECOND_FRAMES else self.reason
            return self.reason
        self._feed_clipping(frame.pcm)
        return self.reason

    @property
    def same_frames(self) -> int:
        """How many of the last frames hold one value."""
        return self._same

    def finish(self) -> Reason:
        """The fault of a sound that ended before any rule had its time."""
        if self._level is not None and self.reason == "none":
            return "muted" if self._level == 0 else "constant"
        return "clipped" if _is_clipped(self._heard) else self.reason

    def _unless(self, *over: Reason) -> Reason:
        return "none" if self.reason in over else self.reason

    def _feed_level(self, pcm: bytes) -> None:
        if pcm != pcm[:2] * FRAME_SAMPLES:
            self._level, self._same = None, 0
            self.reason = self._unless("muted", "constant")
            return
        level = int.from_bytes(pcm[:2], "little", signed=True)
        self._same = self._same + 1 if level == self._level else 1
        self._level = level

    def _feed_clipping(self, pcm: bytes) -> None:
        self._heard.append(pcm)
        if len(self._heard) < SECOND_FRAMES:
            return
        clipped = _is_clipped(self._heard)
        self._heard.clear()
        self._clear = 0 if clipped else self._clear + 1
        if clipped:
            self.reason = "clipped"
        elif self._clear >= CLEAR_SECONDS:
            self.reason = self._unless("clipped")


def _is_clipped(frames: list[bytes]) -> bool:
    import numpy as np

    x = np.frombuffer(b"".join(frames), dtype="<i2")
    return int(np.count_nonzero((x == 32767) | (x == -32768))) > CLIPPED_SHARE * len(frames) * FRAME_SAMPLES


def offset_of(share: float) -> str:
    """How an offset of this share of full scale is said."""
    return f"a constant offset of {100 * share:+.1f} % of full scale"


def _mean(frames: list[bytes]) -> float:
    """Of the frames' means, as a share of full scale."""
    import numpy as np

    means = np.frombuffer(b"".join(frames), dtype="<i2").reshape(len(frames), -1).mean(axis=1)
    total: float = sum((means / 32768).tolist())
    return total / len(frames)


class DcOffset:
    """Frames in, the constant offset that they stand on out, as a share of full scale: 0 where there is none."""

    __slots__ = ("_agreed", "_before", "_clear", "_heard", "share")

    def __init__(self) -> None:
        self.share = 0.0
        self._before = 0.0
        self._heard: list[bytes] = []
        self._agreed = self._clear = 0

    def feed(self, frame: AudioFrame) -> float:
        """The offset in force after this frame."""
        self._heard.append(frame.pcm)
        if len(self._heard) == OFFSET_FRAMES:
            self._take(_mean(self._heard))
            self._heard.clear()
        return self.share

    def _take(self, mean: float) -> None:
        largest = max(abs(mean), abs(self._before))
        agrees = abs(mean) >= OFFSET and abs(mean - self._before) <= OFFSET_STEADY * largest
        self._agreed = self._agreed + 1 if agrees else int(abs(mean) >= OFFSET)
        self._clear = self._clear + 1 if abs(mean) < OFFSET / 2 else 0
        self._before = mean
        if self._agreed >= OFFSET_BLOCKS and not self.share:
            self.share = mean
        elif self._clear >= OFFSET_CLEAR_BLOCKS:
            self.share = 0.0


@dataclass(slots=True)
class _FaultSpan:
    """Where one kind of fault was heard."""

    start_s: float
    end_s: float
    seconds: float = 0.0


class SignalRecord:
    """A recording's frames in, a sentence for each kind of fault out, with where and how long. Constant memory."""

    __slots__ = ("_end_s", "_found", "_frames", "_health", "_offset", "_share")

    def __init__(self) -> None:
        self._health = SignalHealth()
        self._offset = DcOffset()
        self._found: dict[str, _FaultSpan] = {}
        self._share = 0.0
        self._end_s = 0.0
        self._frames = 0

    def feed(self, frame: AudioFrame) -> None:
        """Remember what this frame shows."""
        self._frames += 1
        self._end_s = (frame.index + FRAME_SAMPLES) / SAMPLE_RATE
        before, now = self._health.reason, self._health.feed(frame)
        if now != "none":
            self._add(now, 1 if now == before else MUTED_FRAMES if now == "muted" else SECOND_FRAMES)
        elif before == "clipped":  # it was over some seconds ago
            self._add(before, -CLEAR_SECONDS * SECOND_FRAMES)
        if now in ("muted", "constant"):
            return
        had, share = self._offset.share, self._offset.feed(frame)
        if share:
            self._share = share
            self._add("offset", 1 if had else OFFSET_BLOCKS * OFFSET_FRAMES)

    def sentences(self) -> tuple[str, ...]:
        """What is to be said of all that was fed, in a fixed order; nothing of a sound recording."""
        if not self._found and (last := self._health.finish()) != "none":
            whole = self._frames * FRAME_MS / 1000
            span = _FaultSpan(max(0.0, self._end_s - whole), self._end_s, whole)
            if last == "clipped" or self._health.same_frames == self._frames:
                return (self._sentence(last, span),)
        return tuple(self._sentence(kind, self._found[kind]) for kind in KINDS if kind in self._found)

    def _add(self, kind: str, frames: int) -> None:
        seconds = frames * FRAME_MS / 1000
        start_s = max(0.0, self._end_s - max(0.0, seconds))
        span = self._found.setdefault(kind, _FaultSpan(start_s, start_s))
        span.seconds += seconds
        span.end_s = self._end_s + min(0.0, seconds)

    def _sentence(self, kind: str, span: _FaultSpan) -> str:
        what = KINDS[kind] if kind != "offset" else f"{offset_of(self._share)}, which is taken out"
        return f"{what}: from {span.start_s:.1f} to {span.end_s:.1f} s, {span.seconds:.1f} s in all"
