"""A recording: a file with sound in it, of any container, rate and channel count."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sadstream.audio.decoding.decoder import LOUDEST, Sound, check_channel
from sadstream.audio.filters.framing import Framer, Resampler
from sadstream.audio.filters.mixer import MixWatch
from sadstream.audio.sources.source import Item, SourceChange, Stopped, left_out
from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.samples import AudioFrame, Channel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OVERSHOOT = 1.5  # of the integers' full scale


class Recording:
    """A file with sound in it, of any container, rate and channel count."""

    live = False
    speed: float | None = 1.0

    def __init__(self, path: Path, channel: Channel = "mix", content: Path | None = None) -> None:
        self.path = path
        self._content = path if content is None else content  # where what is called `path` lies
        self._channel = channel
        self.without_s: Counter[int] = Counter()  # seconds that each channel, from 1, was left out of the mix
        with _open(self._content, str(path)) as sound:
            check_channel(str(path), channel, sound.channels)
            # What its header says that is not so, where no sound is missing; as late as it is known.
            self.remark = sound.remark()
            self._bits = _integer_bits(sound, path) if sound.is_float else 0
            if self._bits:
                said = f"{self.remark}; its" if self.remark else f"{path}: its"
                self.remark = f"{said} float samples have the scale of {self._bits}-bit integers: scaled"
            self.duration_s: float | None = None if sound.frames is None else sound.frames / sound.rate

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as fast as they are taken; at last DataError where the file does not hold what it says."""
        import numpy as np

        yield SourceChange("listening", "none", f"{self.path.name}")
        framer = Framer()
        failure: DataError | None = None
        with _open(self._content, str(self.path)) as sound:
            resampler, mix = Resampler(sound.rate, sound.channels, self._channel), MixWatch()
            self.without_s.clear()
            blocks = _finite(sound, self.path, self._bits)
            heard = 0
            while failure is None:
                try:
                    block = next(blocks, None)
                except DataError as error:  # what came before it is heard
                    failure, block = error, None
                if block is None:
                    break
                heard += block.shape[0]
                pcm = resampler.feed(block)
                self.without_s.update(dict.fromkeys(resampler.left_out, block.shape[0] / sound.rate))
                yield from map(left_out, mix.changed(resampler.left_out))
                for frame in framer.feed(pcm, time.monotonic()):
                    if stopped():
                        return
                    yield frame
            yield from framer.feed(
                resampler.feed(np.zeros((0, sound.channels), dtype=np.float32), last=True), time.monotonic()
            )
            yield from framer.flush(time.monotonic())
            self.duration_s = heard / sound.rate
            if not heard and failure is None:
                failure = DataError(f"{self.path}: holds no samples: nothing can be decoded; record it again")
            if not self.remark and (remark := sound.remark(heard)):
                self.remark = remark
                yield SourceChange("listening", "none", remark)
        if failure is not None:
            raise failure

    def frames(self) -> Iterator[AudioFrame]:
        """Its frames once more, as far as they go: where they end was said when they were scored."""
        with suppress(DataError):
            yield from (item for item in self.listen(lambda: False) if isinstance(item, AudioFrame))


def _open(path: Path, name: str) -> Sound:
    if not path.is_file():
        what = "is not a file" if path.exists() else "no such file"
        raise MissingFileError(f"{path}: {what}: expected a recording")
    file = path.open("rb", buffering=0)
    try:
        return Sound(file, name)
    except BaseException:
        file.close()
        raise


def _integer_bits(sound: Sound, path: Path) -> int:
    """The width of the integers in whose scale a float recording was written; 0 where its full scale is 1.

    All of it is looked at, since it may begin quietly. DataError where no integer is so large.
    """
    import numpy as np

    peak = 0.0
    with suppress(DataError):  # what is missing is said when it is scored
        for block in sound.blocks():
            peak = max(peak, float(np.abs(block, where=np.isfinite(block), out=np.zeros_like(block)).max()))
    if peak <= LOUDEST:
        return 0
    bits = next((bits for bits in (8, 16, 24, 32) if peak <= OVERSHOOT * 2 ** (bits - 1)), None)
    if bits is None:
        raise DataError(f"{path}: float samples up to {peak:.3g}: expected -1 to 1; write it again")
    return bits


def _finite(sound: Sound, path: Path, bits: int = 0) -> "Iterator[NDArray[np.float32]]":
    """The same blocks up to the first sample that is no number, at which DataError is raised.

    bits: of the integers in whose scale they are; 0: full scale is 1.
    """
    import numpy as np

    heard = 0
    for block in sound.blocks():
        if bits:
            np.multiply(block, np.float32(2.0 ** (1 - bits)), out=block)
        if not np.isfinite(block).all():
            good = block[: int((~np.isfinite(block).all(axis=1)).argmax())]
            yield good
            at = (heard + good.shape[0]) / sound.rate
            raise DataError(f"{path}: NaN or infinite samples after {at:.2f} s: write it again")
        heard += block.shape[0]
        yield block
