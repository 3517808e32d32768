"""The sample format inside the daemon: 16 kHz mono, 30 ms frames, segments of at most 3 s."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def exact_div(x: int, y: int) -> int:
    """x / y where it is whole; a constant that does not divide cannot be imported."""
    assert x % y == 0, f"{x} is not a multiple of {y}"
    return x // y


Channel = int | Literal["mix"]  # from 1; mix: all that help

SAMPLE_RATE = 16_000
FRAME_MS = 30
SEGMENT_S = 3
FRAME_SAMPLES = exact_div(SAMPLE_RATE * FRAME_MS, 1000)  # 480
FRAME_BYTES = FRAME_SAMPLES * 2  # signed 16-bit
SEGMENT_SAMPLES = SAMPLE_RATE * SEGMENT_S  # 48,000
SEGMENT_FRAMES = exact_div(SEGMENT_SAMPLES, FRAME_SAMPLES)  # 100

SILENCE_DBFS = -120.0  # what a frame of zeros is called


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """30 ms of mono 16 kHz audio: signed 16-bit little-endian, exactly FRAME_BYTES long."""

    pcm: bytes
    index: int  # sample index of the first sample since the stream was opened
    arrived_s: float  # monotonic time at which the last sample was in hand
    gap: bool = False  # samples were lost before this frame

    def __post_init__(self) -> None:
        # webrtcvad answers 960 bytes of anything (float32 too), so the format is held here.
        if len(self.pcm) != FRAME_BYTES:
            raise ValueError(f"a frame has {FRAME_BYTES} bytes, not {len(self.pcm)}")


def to_float(pcm: bytes) -> "NDArray[np.float32]":
    """(n,) float32 in [-1, 1) from signed 16-bit little-endian bytes."""
    import numpy as np

    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)


def to_pcm(samples: "NDArray[np.float32]") -> bytes:
    """Signed 16-bit little-endian bytes, clipped, from (n,) floats in [-1, 1]."""
    import numpy as np

    scaled = np.rint(np.clip(np.asarray(samples, dtype=np.float32), -1.0, 1.0) * 32768)  # a file may hold 1e38
    return np.minimum(scaled, 32767).astype("<i2").tobytes()


def rms_dbfs(pcm: bytes) -> float:
    """Root mean square level in dB of full scale; SILENCE_DBFS for digital silence."""
    import numpy as np

    x = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    power = float(np.dot(x, x)) / max(1, x.size)
    return SILENCE_DBFS if power == 0.0 else 10.0 * float(np.log10(power / 32768.0**2))
