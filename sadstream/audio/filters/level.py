"""A segment's samples at one level, whatever the microphone's. Pure."""

from typing import TYPE_CHECKING

from sadstream.base.samples import FRAME_SAMPLES, SEGMENT_FRAMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MAX_GAIN_DB = 50.0  # from -70 dBFS, quieter than any microphone in a room, to the target


def at_level(samples: "NDArray[np.float32]", level_dbfs: float | None) -> "NDArray[np.float32]":
    """(48000,) samples whose loud 30 ms frames (90th percentile of those heard) are at `level_dbfs`.

    Loudness tells the microphone and, in acted corpora, the label; neither may decide.
    """
    import numpy as np

    if level_dbfs is None:
        return samples
    power = np.square(samples.reshape(SEGMENT_FRAMES, FRAME_SAMPLES), dtype=np.float32).mean(axis=1)
    heard = power[power > 0.0]
    if heard.size == 0:
        return samples
    gain_db = min(MAX_GAIN_DB, level_dbfs - 10.0 * float(np.log10(np.percentile(heard, 90.0))))
    return samples * np.float32(10.0 ** (gain_db / 20.0))
