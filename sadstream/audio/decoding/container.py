"""What a file really holds: its container by the first bytes, and where the sound in it lies. Pure, but for `read`.

Headers lie: a writer that was killed leaves the length of its first block, one that writes to a pipe a placeholder, a
copy that was broken off promises what is not there. The size of the file and the container decide together.
Layouts: RIFF (Microsoft's RIFFMCI), EBU Tech 3306 (RF64), Sony Wave64, AIFF 1.3, CAF 1.0, RFC 9639 (FLAC),
RFC 3533 (Ogg), NIST SPHERE, Sun's AU.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEAD_BYTES = 64  # enough to know any container but those that begin with a frame of MPEG audio
FRAMES_BYTES = 8192  # and enough for those: four frames
MPEG_FRAMES = 3  # that follow each other: one alone is four bytes, which raw PCM may hold by chance
PLACEHOLDERS = (0x7FFF_0000, 0x8000_0000 + 4096), (0xFFFF_0000, 0x1_0000_0000)  # SoX, arecord, phones; FFmpeg
SCAN_BYTES = 1 << 20
OGG_PAGE_BYTES = 65_307  # at most
OGG_START = b"OggS\0\x02" + bytes(8)
W64_GUID = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
MPEG_RATES = (44_100, 48_000, 32_000)
MPEG_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}

Read = Callable[[int, int], bytes]  # (at, size): these bytes of the file, fewer at its end


class UnreadableError(Exception):
    """A decoder does not know these bytes, in its own words."""


class BrokenError(Exception):
    """A decoder cannot go on; `samples` came before that."""

    def __init__(self, why: str, samples: "NDArray[np.float32]") -> None:
        super().__init__(why)
        self.samples = samples


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file, and what FFmpeg calls it."""

    name: str
    ffmpeg: str


@dataclass(frozen=True, slots=True)
class SizeField:
    """A field of the header that holds the sound's size: where, how wide, and how much more it counts."""

    at: int
    width: int
    big: bool
    more: int = 0

    def patch(self, size: int) -> tuple[int, bytes]:
        """What stands in this field where the sound has `size` bytes."""
        most = (1 << (8 * self.width - 1)) - 1 if self.width == 8 else (1 << 8 * self.width) - 2
        return self.at, min(size + self.more, most).to_bytes(self.width, "big" if self.big else "little")


@dataclass(frozen=True, slots=True)
class SoundLayout:
    """Where the sound lies: its first byte, the bytes that the header promises (none: left open), the size fields."""

    start: int
    promised: int | None
    fields: tuple[SizeField, ...]
    align: int = 1


WAV, AIFF, AU, CAF = Container("WAV", "wav"), Container("AIFF", "aiff"), Container("AU", "au"), Container("CAF", "caf")
W64, FLAC, OGG = Container("W64", "w64"), Container("FLAC", "flac"), Container("Ogg", "ogg")
MP3, AAC, MP4 = Container("MP3", "mp3"), Container("AAC", "aac"), Container("MP4 (m4a, 3gp)", "mov")
NIST, VOC, AMR = Container("SPHERE", "nistsphere"), Container("VOC", "voc"), Container("AMR", "amr")
WEBM, ASF = Container("WebM", "matroska"), Container("WMA", "asf")

SIMPLE = (WAV, AIFF, AU, CAF, W64, FLAC, MP3, NIST, VOC)  # what libsndfile refuses of these, FFmpeg reads no better

LINEAR = (WAV, AIFF, AU, CAF, W64)

MAGIC: tuple[tuple[int, bytes, Container], ...] = (
    (0, W64_GUID, W64),
    (0, b"NIST_1A\n", NIST),
    (0, b"Creative Voice File\x1a", VOC),
    (0, b"#!AMR\n", AMR),
    (0, b"#!AMR-WB\n", AMR),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", ASF),
    (0, b"caff\0\x01\0\0", CAF),
    (0, b"fLaC\0\0\0\x22", FLAC),
    (0, b"fLaC\x80\0\0\x22", FLAC),
    (0, OGG_START, OGG),
    (0, b"FLV\x01\x04\0\0\0\x09", Container("FLV", "flv")),
    (0, b"FLV\x01\x05\0\0\0\x09", Container("FLV", "flv")),
    (0, b".RMF\0\0\0\x12", Container("RealMedia", "rm")),
    (0, b"wvpk", Container("WavPack", "wv")),
    (0, b"MAC \x96\x0f", Container("Monkey's Audio", "ape")),
    (0, b"TTA1\x01\0", Container("TTA", "tta")),
    (0, b"DSD \x1c\0\0\0\0\0\0\0", Container("DSF", "dsf")),
)  # fmt: skip


def sniffed(head: bytes) -> Container | None:  # noqa: PLR0911
    """The container that begins with these bytes, or none; raw PCM is taken for one once in 2**32 files at most."""
    for at, magic, container in MAGIC:
        if head[at : at + len(magic)] == magic:
            return container if container.ffmpeg != "wv" or head[8:10] in (b"\x10\x04", b"\x07\x04") else None
    outer, inner = head[:4], head[8:12]
    if outer in (b"RIFF", b"RIFX", b"RF64", b"BW64") and inner == b"WAVE":
        return WAV
    if outer == b"RIFF" and inner == b"AVI ":
        return Container("AVI", "avi")
    if outer == b"FORM" and inner in (b"AIFF", b"AIFC"):
        return AIFF
    if outer == b"FORM" and inner in (b"8SVX", b"16SV"):
        return Container("SVX", "iff")
    if head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat") and (head[8:12].isascii() or head[4:8] != b"ftyp"):
        known = head[4:8] == b"ftyp" and head[:2] == b"\0\0"
        return MP4 if known or head[:4] in (b"\0\0\0\x08", b"\0\0\0\x01") else None
    if outer == b"\x1a\x45\xdf\xa3" and (b"webm" in head or b"matroska" in head):
        return WEBM
    if head[:3] in (b"\x47\x40\x00", b"\x47\x40\x11") and head[188::188][:3] == b"GGG":
        return Container("MPEG-TS", "mpegts")
    if outer in (b".snd", b"dns."):
        return AU if _is_au(head) else None
    if outer[:3] == b"ID3" and head[3:4] in (b"\x02", b"\x03", b"\x04") and head[5:6] and not head[5] & 0x0F:
        return MP3 if len(head) >= 10 and max(head[6:10]) < 0x80 else None
    return _mpeg(head)


def may_be_frames(head: bytes) -> bool:
    """These bytes may be a frame of MPEG audio, so that more of them are needed to know."""
    return head[:2] == b"\x47\x40" or _is_sync(head)


def _is_sync(head: bytes) -> bool:
    return len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def next_start(content: bytes) -> int | None:
    """Where in these bytes another file with a header begins, as when one writer of a pipe follows another."""
    found = []
    for magic, before in ((b"WAVEfmt ", 8), (b"fLaC\0\0\0\x22", 0), (b"fLaC\x80\0\0\x22", 0), (W64_GUID, 0)):
        at = content.find(magic, before)
        if at >= 0 and (before == 0 or content[at - 8 : at - 4] in (b"RIFF", b"RIFX", b"RF64", b"BW64")):
            found.append(at - before)
    return min(found) if found else None


def next_part(container: Container, read: Read, size: int) -> int | None:
    """Where in a file of this container another one begins: copied behind it, or a chained Ogg."""
    if container in (FLAC, OGG):
        find = next_start if container == FLAC else _ogg_start
        return next((at + found for at, content in _pages(read, size) if (found := find(content)) is not None), None)
    sound = layout(container, read)
    end = size if sound is None or sound.promised is None else sound.start + sound.promised
    another = next_start(read(end, HEAD_BYTES)) if end < size else None
    return end + another if another in (0, 1) else None  # chunks begin at even places


def _pages(read: Read, size: int) -> Iterator[tuple[int, bytes]]:
    """All but a file's first byte, each piece with the last bytes of the one before."""
    for at in range(1, size, SCAN_BYTES - OGG_PAGE_BYTES):
        yield at, read(at, SCAN_BYTES)


def _ogg_start(content: bytes) -> int | None:
    """A page that begins a stream, where the one before it did not: several that begin together are one file."""
    at = content.find(OGG_START)
    while at >= 0:
        before = content.rfind(b"OggS", 0, at)
        if before >= 0 and content[before + 5] & 2 == 0:
            return at
        at = content.find(OGG_START, at + 1)
    return None


def layout(container: Container, read: Read) -> SoundLayout | None:
    """Where the sound lies; none where the container has no size of it (Ogg, MP3), or no sound."""
    readers = {"wav": _wav, "aiff": _aiff, "au": _au, "caf": _caf, "w64": _w64, "nistsphere": _sphere, "voc": _voc}
    return readers[container.ffmpeg](read) if container.ffmpeg in readers else None


def sound_end(found: SoundLayout, size: int, read: Read) -> int:
    """Where the sound ends in a file of this size: as promised where chunks follow, else at the file's end."""
    if found.promised is None or found.start + found.promised >= size:
        return size
    end = found.start + found.promised
    return end if is_trailer(read(end, 64), size - end) else size


def is_trailer(after: bytes, left: int) -> bool:
    """What follows the sound is no sound: padding, or a chunk of notes (LIST, id3, bext, an ID3 or APE tag)."""
    for rest in (after, after[1:]):  # chunks begin at even places
        name, size = rest[:4], rest[4:8]
        printable = len(name) == 4 and all(32 <= letter < 127 for letter in name)
        if name[:3] in (b"TAG", b"ID3") or name == b"APET" or name.lower().strip() in NOTES:
            return True
        if printable and len(size) == 4 and int.from_bytes(size, "little") <= left - 8:
            return True
        if printable and len(size) == 4 and int.from_bytes(size, "big") <= left - 8:
            return True
    return left < 2


NOTES = {b"list", b"id3", b"bext", b"fact", b"cue", b"junk", b"pad", b"peak", b"info", b"free", b"ixml", b"axml"}


def flac_samples(read: Read) -> tuple[int, tuple[int, bytes]] | None:
    """What STREAMINFO says of the samples (0: unknown), and the patch that makes it say unknown."""
    at = _after_id3(read)
    info = read(at, 42)
    if len(info) < 42 or info[:4] != b"fLaC":
        return None
    return (info[21] & 0x0F) << 32 | int.from_bytes(info[22:26], "big"), (at + 21, bytes([info[21] & 0xF0, 0, 0, 0, 0]))


def tagged_end(size: int, read: Read) -> int:
    """Where a file ends without the 128 bytes of notes that MP3 began and others took over (ID3v1)."""
    return size - 128 if size > 128 and read(size - 128, 3) == b"TAG" else size


def ogg_ends(read: Read, size: int) -> bool:
    """The last page of an Ogg file is whole; a writer that was stopped may leave out its mark of the end."""
    tail = read(max(0, size - OGG_PAGE_BYTES), OGG_PAGE_BYTES)
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return False
    segments = tail[26 + at]
    sizes = tail[at + 27 : at + 27 + segments]
    return len(sizes) == segments and at + 27 + segments + sum(sizes) <= len(tail)


@dataclass(frozen=True, slots=True)
class Mp3Layout:
    """Where the frames of an MP3 file begin, the bytes that its Xing header promises, and where that stands."""

    start: int
    promised: int | None = None
    at: int = 0

    def patches(self, there: int) -> tuple[tuple[int, bytes], ...]:
        """What makes the header promise no end, of so many bytes."""
        return ((self.at + 8, b"\x7f\xff\xff\xff" + there.to_bytes(4, "big")[-4:]),)

    def header(self, read: Read) -> bytes:
        """A frame of silence whose Xing header promises no end: without one the length is guessed from the first."""
        head = read(self.start, 4)
        frame = _mpeg_frame(head)
        if frame is None:
            return b""
        side = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}
        before = 4 + side[head[1] & 8 != 0, head[3] >> 6 == 3]
        return (head + bytes(before - 4) + b"Xing\0\0\0\x01\x7f\xff\xff\xff").ljust(frame[0], b"\0")


def mp3(read: Read) -> Mp3Layout:
    """What is to be known of an MP3 file."""
    start = _after_id3(read)
    head = read(start, 512)
    for mark in (b"Xing", b"Info"):
        at = head.find(mark)
        if 0 < at <= 64 and len(head) >= at + 16 and head[at + 7] & 3 == 3:
            return Mp3Layout(start, int.from_bytes(head[at + 12 : at + 16], "big"), start + at)
    return Mp3Layout(start)


def _after_id3(read: Read) -> int:
    head = read(0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)


def _open(size: int) -> int | None:
    """None for a size that a writer leaves who cannot go back."""
    return None if size <= 0 or size >= 1 << 62 or any(low <= size < high for low, high in PLACEHOLDERS) else size


def _chunks(read: Read, at: int, big: bool) -> Iterator[tuple[bytes, int, int]]:
    while len(chunk := read(at, 8)) == 8:
        size = int.from_bytes(chunk[4:], "big" if big else "little")
        yield chunk[:4], size, at + 8
        at += 8 + size + size % 2


def _wav(read: Read) -> SoundLayout | None:
    big, wide, ds64, align = read(0, 4) == b"RIFX", None, 0, 1
    for name, size, at in _chunks(read, 12, big):
        if name == b"ds64":
            ds64, wide = at + 8, int.from_bytes(read(at + 8, 8), "little")
        elif name == b"fmt ":
            align = int.from_bytes(read(at + 12, 2), "big" if big else "little")
        elif name == b"data":
            promised = _open(wide if wide is not None and size == 0xFFFF_FFFF else size)
            fields = [SizeField(at - 4, 4, big)]
            if wide is not None and size == 0xFFFF_FFFF:
                fields = [SizeField(ds64, 8, False)]
            return SoundLayout(at, promised, tuple(fields), max(1, align))
    return None


def _aiff(read: Read) -> SoundLayout | None:
    for name, size, at in _chunks(read, 12, big=True):
        if name == b"SSND":
            offset = int.from_bytes(read(at, 4), "big")
            known = _open(size)
            promised = None if known is None or known <= 8 else known - 8 - offset
            return SoundLayout(at + 8 + offset, promised, (SizeField(at - 4, 4, True, 8 + offset),))
    return None


def _is_au(head: bytes) -> bool:
    order = "big" if head[:1] == b"." else "little"
    start, coding = (int.from_bytes(head[at : at + 4], order) for at in (4, 12))  # type: ignore[arg-type]
    return 24 <= start < 1 << 16 and 1 <= coding <= 27


def _au(read: Read) -> SoundLayout | None:
    head = read(0, 24)
    big = head[:1] == b"."
    start, size = (int.from_bytes(head[at : at + 4], "big" if big else "little") for at in (4, 8))
    return SoundLayout(start, _open(size), (SizeField(8, 4, big),))


def _caf(read: Read) -> SoundLayout | None:
    at = 8
    while len(chunk := read(at, 12)) == 12:
        size = int.from_bytes(chunk[4:], "big", signed=True)
        if chunk[:4] == b"data":
            return SoundLayout(
                at + 16, None if size <= 4 or _open(size) is None else size - 4, (SizeField(at + 4, 8, True, 4),)
            )
        if size < 0:
            return None
        at += 12 + size
    return None


def _w64(read: Read) -> SoundLayout | None:
    at = 40
    while len(chunk := read(at, 24)) == 24:
        size = int.from_bytes(chunk[16:], "little")
        if chunk[:4] == b"data":
            known = size > 24 and _open(size) is not None
            return SoundLayout(at + 24, size - 24 if known else None, (SizeField(at + 16, 8, False, 24),))
        if size < 24:
            return None
        at += size + -size % 8
    return None


def _sphere(read: Read) -> SoundLayout | None:
    head = read(0, 4096)
    start = int(head[8:16]) if head[8:16].strip().isdigit() else 1024
    values = {}
    for line in head[16:start].splitlines():
        name, _, rest = line.partition(b" -i ")
        if rest.strip().isdigit():
            values[name] = int(rest)
    width = values.get(b"sample_n_bytes", 2) * values.get(b"channel_count", 1)
    count = values.get(b"sample_count", 0)
    return SoundLayout(start, count * width or None, ())


def _voc(read: Read) -> SoundLayout | None:
    at = int.from_bytes(read(20, 2), "little")
    while len(block := read(at, 4)) == 4 and block[0]:
        size = int.from_bytes(block[1:], "little")
        if block[0] in (1, 9):
            more = 2 if block[0] == 1 else 12
            return SoundLayout(
                at + 4 + more, size - more if more < size < 0xFF_0000 else None, (SizeField(at + 1, 3, False, more),)
            )
        at += 4 + size
    return None


def _mpeg(head: bytes) -> Container | None:
    """MP3 (any layer) or AAC (ADTS) by MPEG_FRAMES frames that follow each other and agree."""
    if head[4:8] == head[:4] or not _is_sync(head):
        return None
    for container, frame in ((MP3, _mpeg_frame), (AAC, _adts_frame)):
        kinds: list[int] = []
        at = 0
        while len(kinds) < MPEG_FRAMES and (found := frame(head[at : at + 8])) is not None:
            size, kind = found
            kinds.append(kind)
            at += size
        if len(kinds) == MPEG_FRAMES and len(set(kinds)) == 1:
            return container
    return None


def _mpeg_frame(head: bytes) -> tuple[int, int] | None:
    """The size of the frame that begins here, and what all frames of its stream have in common."""
    if len(head) < 4 or not _is_sync(head):
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    hz = MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * MPEG_KBITS[1 if version == 3 else 2, layer][kbits - 1]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    size = (samples // 32 * bits // hz + padding) * 4 if layer == 1 else samples // 8 * bits // hz + padding
    return size, head[1] << 8 | head[2] & 0x0C


def _adts_frame(head: bytes) -> tuple[int, int] | None:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return (size, head[1] << 8 | head[2] & 0xFC) if size > 7 else None
