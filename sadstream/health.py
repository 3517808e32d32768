"""Audio that flows but says nothing: a muted microphone, a constant level, clipping. Pure."""

from sadstream.audio import FRAME_MS, FRAME_SAMPLES, AudioFrame, exact_div
from sadstream.events import Reason

MUTED_FRAMES = exact_div(10_200, FRAME_MS) - 6  # 334: the first whole number of frames over 10 s
SECOND_FRAMES = 34  # the first whole number of frames over 1 s
CLEAR_SECONDS = 3  # without clipping, before it is called off
CLIPPED_SHARE = 0.1  # of a second's samples at full scale; a shout stays under 2 %


class SignalHealth:
    """Frames in, the fault that they show out (`none`, `muted`, `constant`, `clipped`)."""

    __slots__ = ("_clear", "_clipped", "_frames", "_level", "_same", "reason")

    def __init__(self) -> None:
        self.reason: Reason = "none"
        self._level: int | None = None  # the one value of all samples of the last `_same` frames
        self._same = 0
        self._frames = 0
        self._clipped = 0
        self._clear = 0

    def feed(self, frame: AudioFrame) -> Reason:
        """The fault in force after this frame."""
        self._feed_level(frame.pcm)
        if self._level is not None:
            self._frames = self._clipped = 0
            if self._level == 0:
                self.reason = "muted" if self._same >= MUTED_FRAMES else self._unless("constant", "clipped")
            else:
                self.reason = "constant" if self._same >= SECOND_FRAMES else self.reason
            return self.reason
        self._feed_clipping(frame.pcm)
        return self.reason

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
        import numpy as np

        x = np.frombuffer(pcm, dtype="<i2")
        self._clipped += int(np.count_nonzero((x == 32767) | (x == -32768)))
        self._frames += 1
        if self._frames < SECOND_FRAMES:
            return
        clipped = self._clipped > CLIPPED_SHARE * SECOND_FRAMES * FRAME_SAMPLES
        self._frames = self._clipped = 0
        self._clear = 0 if clipped else self._clear + 1
        if clipped:
            self.reason = "clipped"
        elif self._clear >= CLEAR_SECONDS:
            self.reason = self._unless("clipped")
