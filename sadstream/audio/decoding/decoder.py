"""Samples out of a container's bytes: libsndfile reads a header that says the truth, FFmpeg what libsndfile cannot."""

import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from sadstream.audio.decoding import container, ffmpeg
from sadstream.audio.decoding.container import BrokenError, Container, Read, SoundLayout, UnreadableError
from sadstream.base.errors import DataError
from sadstream.base.samples import SAMPLE_RATE, Channel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOWEST_HZ, HIGHEST_HZ = 1_000, 768_000  # rates of sound: 1 Hz made 16,000 samples of each
SAMPLE_DUMP = (
    b"\xf0\x7e"  # of MIDI: libsndfile's reader prints what it finds wrong on standard output, among our scores
)
CHANNELS = 128  # an array of microphones
BLOCK_SAMPLES = 1 << 20  # of all channels: memory stays constant whatever the header says
SECTION_BYTES = 1 << 31  # of sound, under a header of 32 bits
UNKNOWN_FRAMES = 1 << 40  # libsndfile's lengths beyond are no lengths
REMARKABLE_S = 0.1  # a few bytes more than the header says are not worth a word
SLACK_S = 0.5  # FFmpeg's durations count the encoder's delay
EXPECTED = "expected WAV, FLAC, Ogg, MP3, AIFF, or with PyAV what phones and browsers record"
LOUDEST = 8.0  # floats may overshoot 1; beyond 8 times it they are of another scale


class Codec(Protocol):
    """Something that gives samples."""

    rate: int
    channels: int
    frames: int | None  # all that will come, as far as it is known

    def read(self, frames: int) -> "NDArray[np.float32]":
        """The next (n, channels) samples, none at the end; BrokenError where it cannot go on."""
        ...


class MendedFile:
    """A file as libsndfile is to see it: its header mended, its end where its sound ends."""

    def __init__(self, read: Read, end: int, patches: tuple[tuple[int, bytes], ...] = ()) -> None:
        self._read = read
        self._end = end
        self._patches = patches
        self._at = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        found = self._read(self._at, max(0, min(len(buffer), self._end - self._at)))
        buffer[: len(found)] = found
        for at, content in self._patches:
            low, high = max(at, self._at), min(at + len(content), self._at + len(found))
            if low < high:
                buffer[low - self._at : high - self._at] = content[low - at : high - at]
        self._at += len(found)
        return len(found)

    def read(self, size: int = -1) -> bytes:
        content = bytearray(self._end - self._at if size < 0 else size)
        return bytes(content[: self.readinto(content)])

    def write(self, content: object) -> int:
        raise io.UnsupportedOperation("a view is not written to")


class Sndfile:
    """What libsndfile makes of a file."""

    def __init__(self, file: MendedFile) -> None:
        import soundfile

        head = file.read(len(SAMPLE_DUMP))
        file.seek(0)
        if head == SAMPLE_DUMP:
            raise UnreadableError("a MIDI sample dump")
        try:
            self._file = soundfile.SoundFile(file)
        except (soundfile.LibsndfileError, TypeError, ValueError, OSError) as error:
            raise UnreadableError(getattr(error, "error_string", None) or str(error)) from None
        self._read = 0
        self._file.seekable = lambda: False  # soundfile would seek after each read, which some decoders cannot
        self.rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        self.frames: int | None = int(self._file.frames) if self._file.frames < UNKNOWN_FRAMES else None
        self.format = str(self._file.format)
        self.shortened = re.search(r"(BODY.*|Data length.*)should be|be truncated", self._file.extra_info) is not None
        told = re.search(r"^ *Frames +: (\d+)$", self._file.extra_info, re.MULTILINE)
        self.shortened |= told is not None and self.frames is not None and int(told[1]) > self.frames
        self.is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        self.width = _bytes_per_sample(self._file.subtype) * self.channels  # bytes of a linear frame; 0: compressed

    def read(self, frames: int) -> "NDArray[np.float32]":
        import numpy as np

        out = np.zeros((frames, self.channels), dtype=np.float32)
        try:
            found: NDArray[np.float32] = self._file.read(dtype="float32", always_2d=True, out=out)
        except RuntimeError as error:  # soundfile's LibsndfileError
            done = 0
            with suppress(RuntimeError):
                done = min(max(0, self._file.tell() - self._read), frames)
            raise BrokenError(getattr(error, "error_string", str(error)), out[:done]) from None
        self._read += found.shape[0]
        return found


class SectionedSound:
    """Sound beyond what its header's field can say: one section after the other, each with a header that holds it."""

    def __init__(self, read: Read, lay: SoundLayout, end: int, first: Sndfile) -> None:
        self._read, self._lay, self._end = read, lay, end
        self._size = SECTION_BYTES // (first.width or lay.align) * (first.width or lay.align)
        self._at, self._codec = lay.start, self._section(lay.start)
        self.rate, self.channels, self.width, self.format = first.rate, first.channels, first.width, first.format
        self.frames: int | None = (end - lay.start) // first.width if first.width else None

    def read(self, frames: int) -> "NDArray[np.float32]":
        block = self._codec.read(frames)
        while not block.shape[0] and self._at + self._size < self._end:
            self._at += self._size
            self._codec = self._section(self._at)
            block = self._codec.read(frames)
        return block

    def _section(self, at: int) -> Sndfile:
        start, size = self._lay.start, min(self._size, self._end - at)

        def read(place: int, size: int) -> bytes:
            if place < start:
                return self._read(place, min(size, start - place))
            return self._read(place - start + at, size)

        return Sndfile(MendedFile(read, start + size, tuple(field.patch(size) for field in self._lay.fields)))


class Sound:
    """A file's sound: how much its header promises, how much is there, and the samples."""

    def __init__(self, file: BinaryIO, name: str, start: int = 0) -> None:
        self._file = file
        self._name = name
        self._start = start  # of this one in the file
        self._size = os.fstat(file.fileno()).st_size - start
        kind = container.sniffed(self._at(0, container.FRAMES_BYTES))
        self._next = None if kind is None else container.next_part(kind, self._at, self._size)
        self._size = self._size if self._next is None else self._next
        self._fault = ""  # of the container, where the samples cannot show it
        self.promised: int | None = None  # samples of a channel, by the header
        self.codec = self._opened(kind)
        self.rate, self.channels = self.codec.rate, self.codec.channels
        check_format(name, self.rate, self.channels)
        if self.codec.frames == 0:
            why = f"truncated: {self._fault}" if self._fault else "expected at least one"
            raise DataError(f"{name}: holds no samples: {why}; record it again")

    @property
    def frames(self) -> int | None:
        """The samples of a channel that will come, where that is known before they came."""
        return self.codec.frames if self._next is None else None

    @property
    def is_float(self) -> bool:
        """Its samples are written as floats, which may be of any scale."""
        return isinstance(self.codec, Sndfile) and self.codec.is_float

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def remark(self, found: int | None = None) -> str:
        """What is to be said of a header that promises less than is there, or was found; else nothing."""
        there = self.frames if found is None else found
        if self._next is not None or self.promised is None or there is None:
            return ""
        if isinstance(self.codec, ffmpeg.Decoder):  # its durations count the encoder's delay
            return ""
        if there - self.promised < REMARKABLE_S * self.rate:
            return ""
        said_s, there_s = self.promised / self.rate, there / self.rate
        return f"{self._name}: its header says {said_s:.2f} s, {there_s:.2f} s are there: read to the end"

    def blocks(self) -> Iterator["NDArray[np.float32]"]:
        """(n, channels) at its own rate; DataError after the last one where sound is missing or broken.

        Another file behind this one is read too, where its sound is of the same kind.
        """
        failure: DataError | None = None
        part: Sound | None = self
        while part is not None:
            try:
                yield from part._blocks()
            except DataError as error:
                failure = failure or error
            try:
                part = None if part._next is None else self._behind(part._start + part._next)
            except DataError as error:
                failure, part = failure or error, None
        if failure is not None:
            raise failure

    def _behind(self, start: int) -> "Sound":
        other = Sound(self._file, self._name, start)
        if (other.rate, other.channels) != (self.rate, self.channels):
            raise DataError(
                f"{self._name}: another recording follows at byte {start}, of {other.rate} Hz and {other.channels} "
                f"channels behind {self.rate} Hz and {self.channels}: not read; make two files of it"
            )
        return other

    def _blocks(self) -> Iterator["NDArray[np.float32]"]:
        found = 0
        try:
            while (block := self.codec.read(block_frames(self.rate, self.channels))).shape[0]:
                found += block.shape[0]
                yield block
        except BrokenError as error:
            found += error.samples.shape[0]
            yield error.samples
            if self.promised is None or found < self.promised:
                at = f"cannot be decoded after {found / self.rate:.2f} s"
                raise DataError(f"{self._name}: {at}: {error}; copy it again") from None
        if self.promised is not None and found < self.promised:
            raise DataError(
                f"{self._name}: truncated: expected {self.promised} samples by its header, found {found}; copy it again"
            )
        if self._fault:
            raise DataError(f"{self._name}: truncated: {self._fault}, found {found} samples; copy it again")

    def _at(self, at: int, size: int) -> bytes:
        size = min(size, self._size - at)
        return os.pread(self._file.fileno(), size, self._start + at) if 0 <= at < self._size else b""

    def _opened(self, kind: Container | None) -> Codec:
        try:
            return self._sndfile(kind)
        except UnreadableError as error:
            if kind is None or kind in container.SIMPLE:
                what = f"not a recording ({self._size} bytes)"
                raise DataError(f"{self._name}: {what}: {EXPECTED}; {error}") from None
        if not ffmpeg.is_here():
            raise DataError(f"{self._name}: {kind.name}: {ffmpeg.CURE}")
        try:
            codec = ffmpeg.of_file(MendedFile(self._at, self._size), kind.ffmpeg)
        except UnreadableError as error:
            raise DataError(f"{self._name}: {kind.name} ({self._size} bytes) cannot be read: {error}") from None
        if codec.frames is not None:
            self.promised = max(0, codec.frames - round(SLACK_S * codec.rate))
        return codec

    def _sndfile(self, kind: Container | None) -> Codec:
        if kind in (container.FLAC, container.MP3):
            return self._tagged()
        lay = None if kind is None else container.layout(kind, self._at)
        if lay is not None and lay.start <= self._size:
            end = container.sound_end(lay, self._size, self._at)
            first = Sndfile(MendedFile(self._at, end, tuple(field.patch(end - lay.start) for field in lay.fields)))
            is_long = end - lay.start > SECTION_BYTES and any(field.width < 8 for field in lay.fields)
            codec: Sndfile | SectionedSound = SectionedSound(self._at, lay, end, first) if is_long else first
            self._measure(codec, lay.promised, end - lay.start)
            return codec
        whole = Sndfile(MendedFile(self._at, self._size))
        if kind == container.OGG:
            self._fault = "" if container.ogg_ends(self._at, self._size) else "its last page is not whole"
        elif whole.shortened:
            self._fault = "its header promises more"
        else:
            self.promised = whole.frames
        return whole

    def _tagged(self) -> Codec:
        """FLAC and MP3, whose lengths are taken out of the header, because libsndfile would end there."""
        end, info = container.tagged_end(self._size, self._at), container.flac_samples(self._at)
        if info is not None:
            codec = Sndfile(MendedFile(self._at, end, (info[1],)))
            self.promised = codec.frames = info[0] or None
            return codec
        promise = container.mp3(self._at)
        there = end - promise.start
        if promise.promised is None:
            header = promise.header(self._at)
            shift = promise.start - len(header)
            return Sndfile(
                MendedFile(lambda at, size: header[at : at + size] or self._at(at + shift, size), end - shift)
            )
        if there < promise.promised:
            self._fault = f"its header promises {promise.promised} bytes of sound, {there} are there"
        return Sndfile(MendedFile(self._at, end, promise.patches(there) if there != promise.promised else ()))

    def _measure(self, codec: "Sndfile | SectionedSound", promised: int | None, there: int) -> None:
        """What the header promises, as samples."""
        if promised is None or not codec.frames or there <= 0:
            return
        self.promised = promised // codec.width if codec.width else round(codec.frames * promised / there)
        if codec.format == "CAF" and not codec.width:
            self.promised = codec.frames  # by its table of packets


def check_format(name: str, rate: int, channels: int) -> None:
    """DataError for what is no sound."""
    if not LOWEST_HZ <= rate <= HIGHEST_HZ:
        raise DataError(f"{name}: {rate} Hz: expected {LOWEST_HZ} to {HIGHEST_HZ}; its header is wrong")
    if not 1 <= channels <= CHANNELS:
        raise DataError(f"{name}: {channels} channels: expected 1 to {CHANNELS}; its header is wrong")


def check_channel(name: str, channel: Channel, channels: int) -> None:
    """DataError for a channel that the sound does not have."""
    if channel != "mix" and channel > channels:
        raise DataError(f"{name}: channel = {channel}: expected mix or 1 to {channels}, as it has")


def block_frames(rate: int, channels: int) -> int:
    """A second at a time, or less where that would be much."""
    return max(1, min(rate, BLOCK_SAMPLES // channels))


def to_flac(pcm: bytes) -> bytes:
    """Signed 16-bit 16 kHz mono, bit for bit, as a FLAC file."""
    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(pcm, dtype="<i2"), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def from_flac(flac: bytes, most: int) -> bytes:
    """What `to_flac` made a file of, at most so many samples of it; DataError for any other bytes."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            if (file.format, file.subtype, file.samplerate, file.channels) != ("FLAC", "PCM_16", SAMPLE_RATE, 1):
                raise DataError("expected FLAC of 16 bits, 16 kHz and one channel")
            return bytes(file.read(most + 1, dtype="int16").astype("<i2").tobytes())
    except (soundfile.LibsndfileError, TypeError, ValueError, OSError):
        raise DataError("not FLAC, or broken") from None


def _bytes_per_sample(subtype: str) -> int:
    sizes = {"PCM_U8": 1, "PCM_S8": 1, "ALAW": 1, "ULAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
    return (sizes | {"FLOAT": 4, "DOUBLE": 8}).get(subtype, 0)  # 0: compressed
