"""Bytes of any length and rate in, frames of exactly 30 ms at 16 kHz out. Pure, constant memory."""

from typing import TYPE_CHECKING

from sadstream.base.errors import ConfigError
from sadstream.base.samples import FRAME_BYTES, SAMPLE_RATE, AudioFrame, Channel, to_float, to_pcm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Framer:
    """Bytes of any length in, frames of exactly 30 ms out; what is left over waits for more."""

    __slots__ = ("_gap", "_index", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._index = 0
        self._gap = False

    def feed(self, pcm: bytes, arrived_s: float) -> list[AudioFrame]:
        """The frames completed by these 16 kHz mono signed 16-bit bytes."""
        self._rest += pcm
        whole = len(self._rest) // FRAME_BYTES * FRAME_BYTES
        frames = [
            AudioFrame(
                pcm=self._rest[at : at + FRAME_BYTES],
                index=self._index + at // 2,
                arrived_s=arrived_s,
                gap=self._gap and at == 0,
            )
            for at in range(0, whole, FRAME_BYTES)
        ]
        self._rest = self._rest[whole:]
        self._index += whole // 2
        self._gap = self._gap and not frames
        return frames

    def skip(self, samples: int) -> None:
        """Mark that this many samples were lost here: the index moves on and the next frame says `gap`."""
        self._index += len(self._rest) // 2 + samples
        self._rest = b""
        self._gap = True

    def flush(self, arrived_s: float) -> list[AudioFrame]:
        """The last frame, filled up with its last sample, if anything is left.

        Zeros after a constant offset would be a thump, louder than a quiet voice.
        """
        whole = self._rest[: len(self._rest) // 2 * 2]  # half a sample is none
        missing = -len(whole) % FRAME_BYTES
        self._rest = whole
        return self.feed(whole[-2:] * (missing // 2), arrived_s) if whole else []


class Resampler:
    """Signed 16-bit audio of any rate and channel count in, 16 kHz mono out, with constant memory.

    channel: the one that is heard, from 1, or `mix`: the mean of those that help.
    """

    __slots__ = ("_channel", "_channels", "_mixer", "_rest", "_stream")

    def __init__(self, rate: int, channels: int, channel: Channel = "mix") -> None:
        from sadstream.audio.filters.mixer import Mixer

        if channel != "mix" and not 1 <= channel <= channels:
            raise ConfigError(f"channel = {channel}: expected mix or 1 to {channels}: the sound has {channels}")
        self._channels = channels
        self._channel = channel
        self._mixer = Mixer(rate, channels) if channel == "mix" and channels > 1 else None
        self._rest = b""
        self._stream = None
        if rate != SAMPLE_RATE:
            import soxr

            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def feed(self, samples: "NDArray[np.float32]", last: bool = False) -> bytes:
        """Signed 16-bit bytes from (n, channels) or (n,) floats in [-1, 1]; `last` empties the filter."""
        if self._mixer is not None:
            mono = self._mixer.feed(samples, last)
        elif samples.ndim == 1:
            mono = samples
        else:
            mono = samples[:, 0 if self._channel == "mix" else self._channel - 1]
        if self._stream is not None:
            mono = self._stream.resample_chunk(mono, last=last)
        return to_pcm(mono)

    @property
    def left_out(self) -> frozenset[int]:
        """Channels that the mix does without by now, from 1."""
        return frozenset() if self._mixer is None else self._mixer.left_out

    def feed_pcm(self, pcm: bytes, last: bool = False) -> bytes:
        """The same from signed 16-bit little-endian bytes, channels interleaved."""
        if self._stream is None and self._channels == 1:
            return pcm
        pcm = self._rest + pcm
        whole = len(pcm) // (2 * self._channels) * 2 * self._channels
        self._rest = pcm[whole:]
        return self.feed(to_float(pcm[:whole]).reshape(-1, self._channels), last)
