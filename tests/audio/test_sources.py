"""Audio from recordings and pipes: any format gives the same frames, and what is broken is said."""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from fakes import voice
from hypothesis import given, settings
from hypothesis import strategies as st

from sadstream.audio.segmenter import Segmenter
from sadstream.audio.sources.pipe import PcmPipe
from sadstream.audio.sources.recording import Recording
from sadstream.audio.sources.source import QUIET_FRAMES, Item, SourceChange, gathered, paced
from sadstream.base.errors import DataError, MissingFileError
from sadstream.base.samples import FRAME_SAMPLES, SAMPLE_RATE, AudioFrame, rms_dbfs, to_pcm
from sadstream.config import Config

VOICE = voice(3.0)


def never() -> bool:
    return False


def frames(source: Recording | PcmPipe) -> list[AudioFrame]:
    return [item for item in source.listen(never) if isinstance(item, AudioFrame)]


def pcm(found: list[AudioFrame]) -> bytes:
    return b"".join(frame.pcm for frame in found)


def written(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE, **options: str) -> Path:
    if options.get("subtype") == "PCM_16":
        samples = np.frombuffer(to_pcm(samples), dtype="<i2")  # libsndfile cuts off where we round
    soundfile.write(path, samples, rate, **options)
    return path


def at_rate(rate: int, channels: int = 1, seconds: float = 3.0) -> np.ndarray:
    """A tone of 440 Hz at -20 dBFS in every channel."""
    t = np.arange(int(seconds * rate)) / rate
    tone = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 440 * t)
    return np.repeat(tone[:, None], channels, axis=1).astype(np.float32)


class TestRecording:
    @pytest.mark.parametrize("name", ["a.wav", "a.flac"])
    def test_sixteen_bit_files_come_through_bit_by_bit(self, tmp_path: Path, name: str) -> None:
        path = written(tmp_path / name, VOICE, subtype="PCM_16")

        assert to_pcm(VOICE) == pcm(frames(Recording(path)))

    @pytest.mark.parametrize(
        ("name", "rate", "channels", "options"),
        [
            ("stereo.wav", 44_100, 2, {}),
            ("six.wav", 48_000, 6, {}),
            ("eight-bit.wav", 8_000, 1, {"subtype": "PCM_U8"}),
            ("float.wav", 96_000, 2, {"subtype": "FLOAT"}),
            ("double.wav", 22_050, 1, {"subtype": "DOUBLE"}),
            ("deep.flac", 44_100, 2, {"subtype": "PCM_24"}),
            ("a.ogg", 44_100, 2, {"subtype": "VORBIS"}),
            ("a.opus", 48_000, 1, {"subtype": "OPUS", "format": "OGG"}),
            ("phone.wav", 8_000, 1, {"subtype": "ULAW"}),
        ],
    )
    def test_any_format_is_16_khz_mono_of_the_same_length_and_level(
        self, tmp_path: Path, name: str, rate: int, channels: int, options: dict[str, str]
    ) -> None:
        path = written(tmp_path / name, at_rate(rate, channels), rate, **options)

        found = frames(Recording(path))

        assert abs(len(found) * FRAME_SAMPLES - 3 * SAMPLE_RATE) <= FRAME_SAMPLES
        assert abs(rms_dbfs(pcm(found[10:-10])) - -20) < 0.5
        assert [frame.index for frame in found] == [FRAME_SAMPLES * n for n in range(len(found))]

    def test_twenty_milliseconds_are_one_frame_filled_up_with_its_last_sample(self, tmp_path: Path) -> None:
        path = written(tmp_path / "short.wav", VOICE[:320], subtype="PCM_16")

        assert to_pcm(VOICE[:320]) + to_pcm(VOICE[319:320]) * 160 == pcm(frames(Recording(path)))

    def test_not_a_number_is_refused_with_its_time(self, tmp_path: Path) -> None:
        samples = VOICE.copy()
        samples[40_000] = np.nan
        path = written(tmp_path / "nan.wav", samples, subtype="FLOAT")

        with pytest.raises(DataError, match=r"nan\.wav: NaN or infinite samples after 2\.50 s"):
            frames(Recording(path))

    @pytest.mark.parametrize("name", ["cut.wav", "cut.flac"])
    def test_a_truncated_file_gives_what_it_has_then_says_so(self, tmp_path: Path, name: str) -> None:
        path = written(tmp_path / name, VOICE, subtype="PCM_16")
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        found: list[AudioFrame] = []

        with pytest.raises(DataError, match=r"truncated|cannot be decoded"):
            found.extend(item for item in Recording(path).listen(never) if isinstance(item, AudioFrame))

    def test_a_header_that_promises_too_much_is_a_lie(self, tmp_path: Path) -> None:
        path = written(tmp_path / "lie.wav", VOICE, subtype="PCM_16")
        content = bytearray(path.read_bytes())
        content[40:44] = (10_000_000).to_bytes(4, "little")
        path.write_bytes(content)

        with pytest.raises(DataError, match="expected 5000000 samples by its header, found 48000"):
            frames(Recording(path))

    @pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_F024 + 0x8000_0000])
    def test_a_header_written_to_a_pipe_leaves_the_length_open(self, tmp_path: Path, size: int) -> None:
        path = written(tmp_path / "open.wav", VOICE, subtype="PCM_16")
        content = bytearray(path.read_bytes())
        content[40:44] = size.to_bytes(4, "little")
        path.write_bytes(content)

        assert to_pcm(VOICE) == pcm(frames(Recording(path)))

    @pytest.mark.parametrize(
        ("content", "expected"),
        [(b"", "not a recording"), (b"Dear diary,\n" * 99, "not a recording"), (b"RIFF\0\0\0\0WAVE", "not a record")],
    )
    def test_what_is_no_recording_is_refused_before_it_is_played(
        self, tmp_path: Path, content: bytes, expected: str
    ) -> None:
        path = tmp_path / "letter.wav"
        path.write_bytes(content)

        with pytest.raises(DataError, match=expected):
            Recording(path)

    def test_a_file_without_samples_is_refused(self, tmp_path: Path) -> None:
        path = written(tmp_path / "none.wav", VOICE[:0])

        with pytest.raises(DataError, match="holds no samples"):
            Recording(path)

    def test_a_missing_file_and_a_folder_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(MissingFileError, match=r"away\.wav: no such file"):
            Recording(tmp_path / "away.wav")
        with pytest.raises(MissingFileError, match="is not a file"):
            Recording(tmp_path)

    def test_a_stop_ends_it_at_once(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.wav", VOICE)

        assert [SourceChange] == [type(item) for item in Recording(path).listen(lambda: True)]

    def test_an_hour_of_silence_needs_little_time_and_no_memory(self, tmp_path: Path) -> None:
        """Ten hours would take under a minute: 50 microseconds a frame, and no more memory than one."""
        path = tmp_path / "silence.wav"
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
            for _ in range(60):
                file.write(np.zeros(60 * SAMPLE_RATE, dtype=np.int16))
        config = Config()
        segmenter = Segmenter(config.vad, config.segment)
        before, start = psutil.Process().memory_info().rss, time.process_time()

        for frame in Recording(path).listen(never):
            if isinstance(frame, AudioFrame):
                assert segmenter.feed(frame) == []

        assert time.process_time() - start < 12.0  # of 3,600: 5.6 to 6.3 beside other programs
        assert psutil.Process().memory_info().rss - before < 20e6


class TestPcmPipe:
    @staticmethod
    def piped(content: bytes, cuts: list[int], rate: int = SAMPLE_RATE, channels: int = 1) -> list[AudioFrame]:
        """The frames of these bytes, written in pieces that end at these places."""
        read_fd, write_fd = os.pipe()

        def write() -> None:
            edges = [0, *sorted(cuts), len(content)]
            for start, end in itertools.pairwise(edges):
                os.write(write_fd, content[start:end])
            os.close(write_fd)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            return frames(PcmPipe(read_fd, rate, channels))
        finally:
            writer.join()
            os.close(read_fd)

    @settings(max_examples=60, deadline=None)
    @given(cuts=st.lists(st.integers(0, 2 * 8_000), max_size=12))
    def test_frames_do_not_depend_on_how_the_bytes_arrive(self, cuts: list[int]) -> None:
        content = to_pcm(VOICE[:8_000])

        assert content + content[-2:] * (-len(content) % 960 // 2) == pcm(self.piped(content, cuts))

    @settings(max_examples=30, deadline=None)
    @given(cuts=st.lists(st.integers(0, 4 * 44_100), max_size=12))
    def test_nor_does_resampled_stereo(self, cuts: list[int]) -> None:
        """The filter's state is carried, so one bit of rounding is the most that a cut may change."""
        content = to_pcm(at_rate(44_100, 2, 1.0).ravel())
        whole = np.frombuffer(pcm(self.piped(content, [], 44_100, 2)), dtype="<i2").astype(int)
        cut = np.frombuffer(pcm(self.piped(content, cuts, 44_100, 2)), dtype="<i2").astype(int)

        assert whole.size == cut.size
        assert np.abs(whole - cut).max() <= 1

    @pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (16_000, 2), (44_100, 2), (48_000, 6)])
    def test_other_rates_and_channels_keep_length_and_level(self, rate: int, channels: int) -> None:
        found = self.piped(to_pcm(at_rate(rate, channels).ravel()), [], rate, channels)

        assert abs(len(found) * FRAME_SAMPLES - 3 * SAMPLE_RATE) <= FRAME_SAMPLES
        assert abs(rms_dbfs(pcm(found[10:-10])) - -20) < 0.5

    def test_it_works_beyond_a_thousand_open_files(self, tmp_path: Path) -> None:
        """`select` cannot look at a descriptor of 1024 or more."""
        program = (
            "import os, resource\n"
            "from sadstream.audio.sources.pipe import PcmPipe\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
            "r, w = os.pipe(); os.dup2(r, 1500); os.write(w, bytes(960)); os.close(w)\n"
            "print(len(list(PcmPipe(1500).listen(lambda: False))))\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

        assert done.stdout.strip() == "2"


class TestPaced:
    def test_no_frame_comes_before_it_would_have_been_spoken(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.wav", VOICE[:8_000], subtype="PCM_16")
        start = time.monotonic()

        ends = [
            (item.arrived_s - start) - (item.index + FRAME_SAMPLES) / SAMPLE_RATE
            for item in paced(Recording(path).listen(never), never)
            if isinstance(item, AudioFrame)
        ]

        assert min(ends) >= 0.0
        assert time.monotonic() - start < 2.0

    def test_after_a_pause_it_does_not_hurry(self) -> None:
        def late() -> Iterator[AudioFrame]:
            yield AudioFrame(bytes(960), 0, 0.0)
            time.sleep(0.6)
            for n in range(1, 11):
                yield AudioFrame(bytes(960), n * FRAME_SAMPLES, 0.0)

        arrived = [item.arrived_s for item in paced(late(), never) if isinstance(item, AudioFrame)]

        assert arrived[-1] - arrived[1] > 0.25


def test_a_name_that_is_not_utf_8_is_a_name(tmp_path: Path, scene: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xff\n.flac"))
    path.write_bytes(scene.read_bytes())

    assert Recording(path).duration_s == Recording(scene).duration_s


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floats_in_the_scale_of_integers_are_scaled_and_it_is_said(tmp_path: Path, bits: int, subtype: str) -> None:
    tone = 0.5 * np.sin(np.arange(16_000) / 20)
    tone[:8_000] /= 2000  # a quiet beginning says nothing of the scale
    soundfile.write(tmp_path / "plain.wav", tone, 16_000, subtype=subtype)
    soundfile.write(tmp_path / "scaled.wav", tone * 2 ** (bits - 1), 16_000, subtype=subtype)

    plain, scaled = (Recording(tmp_path / name) for name in ("plain.wav", "scaled.wav"))

    assert [frame.pcm for frame in scaled.frames()] == [frame.pcm for frame in plain.frames()]
    assert f"scale of {bits}-bit integers" in scaled.remark
    assert plain.remark == ""


@pytest.mark.parametrize("peak", [1.2, 3.0])
def test_floats_that_overshoot_are_no_integers(tmp_path: Path, peak: float) -> None:
    soundfile.write(tmp_path / "loud.wav", np.sin(np.arange(16_000) / 20) * peak, 16_000, subtype="FLOAT")

    assert Recording(tmp_path / "loud.wav").remark == ""


def test_floats_beyond_any_integer_are_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "huge.wav", np.full(16_000, 1e38), 16_000, subtype="FLOAT")

    with pytest.raises(DataError, match="1e\\+38"):
        Recording(tmp_path / "huge.wav")


def sound_of(index: int, gap: bool = False) -> AudioFrame:
    return AudioFrame(bytes(2 * FRAME_SAMPLES), index * FRAME_SAMPLES, 0.0, gap)


def taken(source: list[Item], at_once: bool) -> list[tuple[Item, int]]:
    """What comes of it, and how much of the source had to be waited for."""
    waited = [0]

    def counted() -> Iterator[Item]:
        for item in source:
            waited[0] += 1
            yield item

    return [(item, waited[0]) for item in gathered(counted(), lambda: at_once)]


def test_frames_wait_for_each_other_only_while_nobody_speaks() -> None:
    """Waking for every frame is what silence costs; of a segment nothing may wait."""
    source: list[Item] = [sound_of(n) for n in range(2 * QUIET_FRAMES)]

    assert taken(source, True) == [(item, n) for n, item in enumerate(source, start=1)]
    assert taken(source, False) == [
        (item, n // QUIET_FRAMES * QUIET_FRAMES) for n, item in enumerate(source, start=QUIET_FRAMES)
    ]


@pytest.mark.parametrize(
    "item", [sound_of(1, gap=True), SourceChange("no-device", "device-lost")], ids=["gap", "change"]
)
def test_nothing_waits_for_long_before_a_gap_or_a_change(item: Item) -> None:
    source: list[Item] = [sound_of(0), item, sound_of(2)]

    assert taken(source, False) == [(source[0], 2), (item, 2), (source[2], 3)]


def test_what_waits_is_heard_before_a_fault() -> None:
    def broken() -> Iterator[Item]:
        yield sound_of(0)
        raise DataError("cut off")

    items = gathered(broken(), never)

    assert next(items) == sound_of(0)
    with pytest.raises(DataError):
        next(items)
