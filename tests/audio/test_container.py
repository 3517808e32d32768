"""How long a recording is, whatever its header says: all sound that is there is read, and what is missing is said."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import voice

from sadstream.audio.decoding import container, decoder
from sadstream.audio.sources.recording import Recording
from sadstream.base.errors import DataError
from sadstream.base.samples import AudioFrame, to_float

VOICE = voice(3.0)
LINEAR = [("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAVEX", "PCM_24"),
          ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"),
          ("CAF", "PCM_16"), ("NIST", "PCM_16"), ("VOC", "PCM_16")]  # fmt: skip
BLOCKS = [("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610")]
OTHERS = [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16"),
          ("SVX", "PCM_16"), ("AVR", "PCM_16"), ("MAT4", "PCM_16")]  # fmt: skip
PLACEHOLDERS = [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFF0]
NOTES = b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0Lavf58.29.100\0"


def encoded(form: str, subtype: str, samples: np.ndarray = VOICE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format=form, subtype=subtype)
    return file.getvalue()


def layout(content: bytes) -> container.SoundLayout:
    kind = container.sniffed(content[:8192])
    assert kind is not None
    found = container.layout(kind, lambda at, size: content[at : at + size])
    assert found is not None
    return found


def heard(content: bytes, folder: Path) -> tuple[np.ndarray, str, str]:
    """The samples, what is remarked, and the failure at the end."""
    path = folder / "recording"
    path.write_bytes(content)
    recording = Recording(path)
    frames: list[bytes] = []
    failure = ""
    try:
        frames.extend(item.pcm for item in recording.listen(lambda: False) if isinstance(item, AudioFrame))
    except DataError as error:
        failure = str(error)
    return to_float(b"".join(frames)), recording.remark, failure


def with_size(content: bytes, size: int) -> bytes:
    """The same file whose header gives its sound this size, as far as the field can hold it."""
    changed = bytearray(content)
    for field in layout(content).fields:
        kept = (size & ((1 << 8 * field.width) - 1)).to_bytes(field.width, "big" if field.big else "little")
        changed[field.at : field.at + field.width] = kept
    return bytes(changed)


@pytest.mark.parametrize(("form", "subtype"), LINEAR + BLOCKS + OTHERS, ids=" ".join)
class TestAnyContainer:
    def test_a_whole_one_is_read_without_a_word(self, tmp_path: Path, form: str, subtype: str) -> None:
        samples, remark, failure = heard(encoded(form, subtype), tmp_path)

        assert (remark, failure) == ("", "")
        assert samples.size == pytest.approx(VOICE.size, abs=1500)

    def test_one_cut_short_is_read_to_the_cut_and_said_at_the_end(
        self, tmp_path: Path, form: str, subtype: str
    ) -> None:
        content = encoded(form, subtype, np.tile(VOICE, 4) if form == "OGG" else VOICE)
        whole, _, _ = heard(content, tmp_path)

        samples, remark, failure = heard(content[: len(content) // 2 + 1], tmp_path)

        assert remark == ""
        assert "truncated" in failure or "cannot be decoded" in failure
        assert "copy it again" in failure
        assert samples.size > 0.3 * VOICE.size
        kept = min(samples.size - 480, whole.size)
        assert np.abs(samples[:kept] - whole[:kept]).max() < 2e-4


@pytest.mark.parametrize(("form", "subtype"), LINEAR + BLOCKS, ids=" ".join)
class TestSizes:
    @pytest.mark.parametrize("size", PLACEHOLDERS, ids=hex)
    def test_what_streaming_writers_leave_is_a_length_left_open(
        self, tmp_path: Path, form: str, subtype: str, size: int
    ) -> None:
        content = encoded(form, subtype)
        whole, _, _ = heard(content, tmp_path)

        samples, remark, failure = heard(with_size(content, size), tmp_path)

        assert (remark, failure) == ("", "")
        np.testing.assert_array_equal(samples, whole)

    def test_the_header_of_a_killed_writer_is_not_believed_and_that_is_said(
        self, tmp_path: Path, form: str, subtype: str
    ) -> None:
        """Its header covers the first block, and the rest follows."""
        content, first = encoded(form, subtype), encoded(form, subtype, VOICE[:1600])
        whole, _, _ = heard(content, tmp_path)
        killed = first[: layout(first).start] + content[layout(content).start :]

        samples, remark, failure = heard(killed, tmp_path)

        assert failure == ""
        assert "its header says" in remark
        np.testing.assert_array_equal(samples, whole)

    @pytest.mark.parametrize("after", [NOTES, b"TAG" + bytes(125), b"id3 \x04\0\0\0abcd"], ids=["LIST", "ID3v1", "id3"])
    def test_notes_behind_the_sound_are_no_sound(self, tmp_path: Path, form: str, subtype: str, after: bytes) -> None:
        content = encoded(form, subtype)
        whole, _, _ = heard(content, tmp_path)

        samples, remark, failure = heard(content + after, tmp_path)

        assert (remark, failure) == ("", "")
        np.testing.assert_array_equal(samples, whole)


def flac_of_length(samples: int) -> bytes:
    """A FLAC file whose STREAMINFO says so many samples."""
    content = bytearray(encoded("FLAC", "PCM_16"))
    content[21] &= 0xF0
    content[22:26] = samples.to_bytes(4, "big")
    return bytes(content)


class TestFlac:
    @pytest.mark.parametrize("samples", [0, 4096])
    @pytest.mark.parametrize("after", [b"", b"TAG" + bytes(125)], ids=["", "ID3v1"])
    def test_an_unknown_length_and_one_too_small_are_read_to_the_end(
        self, tmp_path: Path, samples: int, after: bytes
    ) -> None:
        found, _, failure = heard(flac_of_length(samples) + after, tmp_path)

        assert failure == ""
        assert found.size == VOICE.size

    def test_the_length_of_one_without_is_known_when_it_was_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.flac"
        path.write_bytes(flac_of_length(0))
        recording = Recording(path)

        assert recording.duration_s is None
        assert sum(1 for _ in recording.frames()) == 100
        assert recording.duration_s == 3.0

    def test_an_error_in_the_middle_keeps_what_came_before(self, tmp_path: Path) -> None:
        content = bytearray(encoded("FLAC", "PCM_16"))
        at = len(content) // 2
        content[at : at + 100] = bytes(100)

        samples, _, failure = heard(bytes(content), tmp_path)

        assert "cannot be decoded after" in failure
        assert samples.size > 0.3 * VOICE.size

    def test_one_that_says_less_than_is_there_is_said(self, tmp_path: Path) -> None:
        _, remark, failure = heard(flac_of_length(16_000), tmp_path)

        assert failure == ""
        assert "its header says 1.00 s, 3.00 s are there" in remark


PCM, FLAC, OPUS = encoded("WAV", "PCM_16"), encoded("FLAC", "PCM_16"), encoded("OGG", "OPUS")


class TestSeveralInOne:
    """Copied one behind the other, or a chained Ogg."""

    @pytest.mark.parametrize(
        "parts",
        [
            (FLAC, FLAC, FLAC),
            (FLAC, PCM),
            (PCM, PCM),
            (PCM, FLAC),
            (OPUS, OPUS),
            (encoded("OGG", "VORBIS"), OPUS),
            (flac_of_length(0), flac_of_length(16_000)),
        ],
    )
    def test_all_are_read(self, tmp_path: Path, parts: tuple[bytes, ...]) -> None:
        samples, _, failure = heard(b"".join(parts), tmp_path)

        assert failure == ""
        assert samples.size == pytest.approx(len(parts) * VOICE.size, abs=500)

    def test_a_broken_one_is_said_and_does_not_hide_the_next(self, tmp_path: Path) -> None:
        samples, _, failure = heard(FLAC[: len(FLAC) // 2] + FLAC, tmp_path)

        assert "cannot be decoded after" in failure or "truncated" in failure
        assert samples.size > 1.3 * VOICE.size

    def test_one_of_another_kind_is_said(self, tmp_path: Path) -> None:
        file = io.BytesIO()
        soundfile.write(file, np.stack([VOICE, VOICE], 1), 44_100, format="FLAC")

        samples, _, failure = heard(FLAC + file.getvalue(), tmp_path)

        assert "another recording follows" in failure
        assert samples.size == VOICE.size

    def test_a_thousand_of_them_are_not_deeper_than_the_stack(self, tmp_path: Path) -> None:
        samples, _, failure = heard(encoded("WAV", "PCM_16", VOICE[:480]) * 1200, tmp_path)

        assert (samples.size, failure) == (1200 * 480, "")


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000, 0, (5 << 30) & 0xFFFF_FFFF], ids=hex)
def test_a_file_beyond_what_its_size_field_can_say_is_five_gigabytes_long(tmp_path: Path, size: int) -> None:
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(with_size(PCM, size)[:44])
        file.truncate(44 + (5 << 30))

    assert Recording(path).duration_s == (5 << 30) / 32_000


def test_sound_in_sections_is_the_same_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file beyond 2 GiB is read, here with sections of a second."""
    monkeypatch.setattr(decoder, "SECTION_BYTES", 32_001)
    for form, subtype in LINEAR:
        samples, _, failure = heard(encoded(form, subtype), tmp_path)

        assert (samples.size, failure) == (VOICE.size, ""), (form, subtype)
        assert np.abs(samples - VOICE).max() < (0.05 if subtype in ("ULAW", "PCM_U8") else 2e-4)


class TestMp3:
    def test_two_files_put_together_are_both_read(self, tmp_path: Path) -> None:
        content = encoded("MP3", "MPEG_LAYER_III")

        samples, _, failure = heard(content + content, tmp_path)

        assert failure == ""
        assert samples.size == pytest.approx(2 * VOICE.size, abs=8000)


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (24, (1).to_bytes(4, "little"), "1 Hz: expected 1000 to 768000"),
        (24, bytes(4), "not a recording"),
        (24, b"\xff\xff\xff\xff", "not a recording"),
        (24, (2_000_000_000).to_bytes(4, "little"), "2000000000 Hz"),
        (22, bytes(2), "not a recording"),
        (22, (300).to_bytes(2, "little"), "channels"),
        (34, bytes(2), "not a recording"),
        (16, bytes(4), "not a recording"),
    ],
)
def test_a_format_that_is_no_sound_is_refused(tmp_path: Path, at: int, value: bytes, says: str) -> None:
    content = bytearray(encoded("WAV", "PCM_16"))
    content[at : at + len(value)] = value

    with pytest.raises(DataError, match=says):
        heard(bytes(content), tmp_path)


class TestSniffed:
    @pytest.mark.parametrize(("form", "subtype"), LINEAR + BLOCKS + OTHERS[:6], ids=" ".join)
    def test_a_container_is_known_by_its_first_bytes(self, form: str, subtype: str) -> None:
        assert container.sniffed(encoded(form, subtype)[: container.FRAMES_BYTES]) is not None

    def test_bytes_by_chance_are_not(self) -> None:
        rng = np.random.default_rng(0)

        assert [content for _ in range(5000) if container.sniffed(content := rng.bytes(64))] == []

    def test_raw_sound_is_not(self) -> None:
        """Silence, noise, one value throughout, two that take turns: at all places of 20 s."""
        rng = np.random.default_rng(0)
        sounds = [np.zeros(9000), rng.integers(-32768, 32768, 320_000), rng.integers(-3, 4, 320_000)]
        sounds += [np.full(9000, value) for value in range(-32768, 32768, 997)]
        sounds += [np.tile([0xFBFF - 65536, value], 4500) for value in range(-32768, 32768, 491)]
        for sound in sounds:
            content = sound.astype("<i2").tobytes()
            for at in range(0, len(content) - 8192, 64) if len(content) > 20_000 else (0, 1):
                assert container.sniffed(content[at : at + 8192]) is None

    def test_a_new_file_in_the_stream_is_found(self) -> None:
        content = encoded("WAV", "PCM_16")

        assert container.next_start(b"x" * 1001 + content) == 1001
        assert container.next_start(content[44:]) is None


def test_a_header_may_say_anything(tmp_path: Path) -> None:
    """Headers with two bytes changed by chance: read, or refused in a line."""
    rng = np.random.default_rng(1)
    for form, subtype in LINEAR:
        content = encoded(form, subtype, VOICE[:4000])
        for _ in range(12):
            changed = bytearray(content)
            for at in rng.integers(0, min(layout(content).start, 120), 2):
                changed[at] = rng.integers(256)
            try:
                samples, _, _ = heard(bytes(changed), tmp_path)
            except DataError:
                continue
            assert samples.size < 16 * VOICE.size, struct.unpack("44B", changed[:44])


@pytest.mark.parametrize(("form", "codec", "rate"), [("ipod", "aac", 16_000), ("webm", "libopus", 48_000)])
def test_what_phones_and_browsers_record_is_read_without_a_word_and_a_cut_is_said(
    tmp_path: Path, form: str, codec: str, rate: int
) -> None:
    av = pytest.importorskip("av", reason="PyAV is not here: pip install '.[av]'")
    path = tmp_path / "made"
    try:
        with av.open(str(path), "w", format=form) as out:
            stream = out.add_stream(codec, rate=rate, layout="mono")
            context = stream.codec_context
            resampler = av.AudioResampler(context.format, "mono", rate, context.frame_size or 1024)
            frame = av.AudioFrame.from_ndarray(np.rint(VOICE * 16_384).astype(np.int16)[None], "s16", "mono")
            frame.sample_rate, frame.pts = 16_000, 0
            for one in [*resampler.resample(frame), *resampler.resample(None), None]:
                for packet in stream.encode(one):
                    out.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"PyAV has no {codec}: {error}")

    samples, remark, failure = heard(path.read_bytes(), tmp_path)

    assert (remark, failure) == ("", "")
    assert samples.size == pytest.approx(VOICE.size, abs=3000)

    content = path.read_bytes()
    if form == "webm":  # an m4a's table stands at its end: without it there is no sound to find
        assert "copy it again" in heard(content[: len(content) // 2], tmp_path)[2]
    else:
        with pytest.raises(DataError, match="cannot be read"):
            heard(content[: len(content) // 2], tmp_path)


def test_a_sample_dump_is_refused_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libsndfile's reader of it prints on standard output, where scores are one JSON object a line."""
    path = tmp_path / "dump.sds"
    path.write_bytes(encoded("SDS", "PCM_16").replace(b"\xf7\xf0\x7e", b"\xf6\xf0\x7e"))
    with pytest.raises(DataError, match="not a recording"):
        Recording(path)

    assert capfd.readouterr().out == ""
