"""A recording's page: the numbers that were printed, drawn; nothing from outside; no words unless they are wanted."""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest
import soundfile
from daemon import run
from reports import STEP_S, Reader, a_report, an_update, scored

from sadstream.audio.decoding.decoder import to_flac
from sadstream.audio.segmenter import Segmenter
from sadstream.audio.sources.recording import Recording
from sadstream.base.samples import SAMPLE_RATE, AudioFrame, to_pcm
from sadstream.config import Config
from sadstream.config.tables import SegmentConfig, VadConfig
from sadstream.scoring.analysis import audio_part
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import load_models
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.mood.mood import MoodPlan
from sadstream.scoring.recording import RecordedSegment, score_recording
from sadstream.views.report.axis import GUTTER, UNITS_S
from sadstream.views.report.data import last_updates, report_segment
from sadstream.views.report.document import page
from sadstream.views.report.drawing import ATTENTION, EMOTIONS_TOP, SCORE
from sadstream.views.report.emotions import BAR_HEIGHT, LEVEL_HEIGHT, emotion_tracks
from sadstream.views.report.spectrogram import ROW_S, SoundRow, sound_rows, to_png

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)> & "quotes" \u2028 ]]> <!--'
LIMIT_BYTES = 6_000_000  # a page of ten minutes without its sound


def quiet_rows(seconds: float = 10.0) -> Iterator[SoundRow]:
    return sound_rows(to_pcm(fakes.quiet(seconds)))


def read(**report: object) -> Reader:
    return Reader(page(a_report(**report), quiet_rows()))  # type: ignore[arg-type]


def test_hostile_words_stay_text() -> None:
    document = page(a_report(text=HOSTILE, words=True), quiet_rows())
    found = Reader(document)

    assert len(found.scripts) == 1
    assert not found.all("img")
    assert not [attributes for _, attributes in found.elements if any(name.startswith("on") for name in attributes)]
    assert found.scores[0]["text"] == HOSTILE
    assert "<script>alert(1)" in found.text  # in the table, as it was said
    assert document.count("<script") == 1


def test_a_hostile_file_name_stays_text() -> None:
    assert len(Reader(page(a_report(name="<script>alert(1)</script>.wav"), quiet_rows())).scripts) == 1


def test_what_is_to_be_said_of_the_sound_stands_at_the_top() -> None:
    said = page(replace(a_report(), notes=("muted: nothing but zeros: <b>all of it</b>",)), quiet_rows())

    assert "Its sound: muted: nothing but zeros: &lt;b&gt;all of it&lt;/b&gt;." in said


def test_words_are_nowhere_unless_they_are_wanted() -> None:
    """Even where the configuration gives them to every subscriber."""
    assert "secret" not in page(a_report(text="secret words"), quiet_rows())
    assert "secret" in page(a_report(text="secret words", words=True), quiet_rows())


def test_a_page_needs_nothing_from_outside() -> None:
    document = page(a_report(text="hello", words=True), quiet_rows(), to_flac(bytes(3200)))
    found = Reader(document)
    (policy,) = [
        meta["content"] for meta in found.all("meta") if "content" in meta and "default-src" in meta["content"]
    ]
    style = document.split("<style>")[1].split("</style>")[0]
    script = found.scripts[1]

    assert "http" not in document.replace('http-equiv="Content', "")
    assert not found.all("link")
    assert policy.startswith("default-src 'none'")
    for content in (style, script):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy
    assert not [attributes for _, attributes in found.elements if "style" in attributes]


def test_without_sound_there_is_no_script_and_no_sound() -> None:
    found = read()

    assert len(found.scripts) == 1  # the numbers
    assert not found.all("audio")
    assert not found.all("button")


def test_every_step_of_the_attention_is_as_high_as_its_share() -> None:
    one = scored(0)
    assert one.analysis.attention is not None
    shares = one.analysis.attention[one.analysis.attention > 0]
    heights = [float(bar["height"]) for bar in read(n=1).all("rect", "weight")]

    assert len(heights) == 10
    assert heights == pytest.approx(list(ATTENTION[1] * shares / shares.max()), abs=0.06)


def test_attention_lies_under_its_sound() -> None:
    first, second = report_segment(scored(1), STEP_S, with_words=False).weights[:2]

    assert (first.t_start, first.t_end, second.t_start) == pytest.approx((3.5, 3.7, 3.7))


def test_a_score_is_as_high_as_its_probability_and_as_wide_as_its_segment() -> None:
    bars = read(n=5).all("rect", "score")
    for number, bar in enumerate(bars):
        score = scored(number).score
        assert float(bar["height"]) == pytest.approx(SCORE[1] * score.p_sad, abs=0.06)
        assert float(bar["width"]) == pytest.approx(2.0 * UNITS_S - 2, abs=0.06)
        assert float(bar["x"]) == pytest.approx(score.t_start * UNITS_S + 1, abs=0.06)


def test_rows_cover_the_recording() -> None:
    found = Reader(page(a_report(n=20), quiet_rows(61.0)))

    assert [row["data-start"] for row in found.all("svg", "row")] == [str(at) for at in range(0, 61, ROW_S)]
    assert {door["href"] for door in found.all("a")} == {f"#at-{at}" for at in range(0, 61, ROW_S)}
    assert len({segment["data-segment"] for segment in found.all("g", "segment")}) == 20


def test_what_a_row_cuts_is_drawn_in_both_and_written_in_one() -> None:
    """The seventh segment lies from 18.5 to 20.5 s: its greater part in the first row, whose edge it does not cross."""
    document = page(a_report(n=8, text="once", words=True), quiet_rows(25.0))
    rows = [part.split("</svg></svg>")[0] for part in document.split('class="row"')[1:]]

    assert ["<title>segment 6" in row for row in rows] == [True, True]
    assert [len(re.findall('class="value"', row)) for row in rows] == [7, 1]
    assert [row.count(">once<") for row in rows] == [7, 1]


def felt(number: int, *shares: float, **levels: float) -> RecordedSegment:
    return scored(number, emotions=tuple(zip(("sad", "calm"), shares, strict=True)), **levels)


def test_an_emotion_is_as_high_as_its_probability_and_the_likeliest_stands_out() -> None:
    segments = [felt(0, 0.25, 0.75, valence=-0.5), scored(1), felt(2, 0.5, 0.5, valence=1.0)]
    found = read(segments=tuple(report_segment(one, STEP_S, with_words=False) for one in segments))
    bars = found.all("rect", "emotion")
    dots = found.all("circle", "valence")

    assert [float(bar["height"]) for bar in bars] == pytest.approx([BAR_HEIGHT * p for p in (0.25, 0.5, 0.75, 0.5)])
    assert ["likeliest" in bar["class"] for bar in bars] == [False, True, True, False]
    assert float(dots[0]["cy"]) - float(dots[1]["cy"]) == pytest.approx(0.75 * LEVEL_HEIGHT, abs=0.1)
    assert len(dots) == 2
    assert not found.all("polyline", "arousal")
    assert {"emotions", "calm", "0.75", "-0.50"} <= set(found.text.split())


def test_a_page_of_scores_that_tell_nothing_more_has_no_place_for_it() -> None:
    found = read()
    plain, tracks = found.all("svg", "row"), emotion_tracks(a_report(), EMOTIONS_TOP)

    assert not {"emotion", "valence", "arousal"} & {
        kind for _, at in found.elements for kind in at.get("class", "").split()
    }
    assert "emotion" not in found.text
    assert tracks.bottom == EMOTIONS_TOP
    assert plain[0]["viewbox"].endswith(f" {EMOTIONS_TOP + 2}")


def test_an_episode_is_told_once_as_it_ended() -> None:
    updates = [
        an_update(phase="start", segments=1),
        an_update(phase="update", segments=2),
        an_update(),
        an_update(episode=1),
    ]

    assert last_updates(updates) == (an_update(), an_update(episode=1))
    assert "2 of 3 segments sad" in read().text


def test_a_recording_without_speech_has_a_page_too() -> None:
    assert "0 segments of speech" in read(n=0, episodes=()).text


def test_the_spectrogram_shows_a_tone_where_it_is() -> None:
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.concatenate([np.zeros(SAMPLE_RATE), 0.5 * np.sin(2 * np.pi * 440 * t)]).astype(np.float32)
    (row,) = sound_rows(to_pcm(tone))
    shades = row.spectrum.astype(int)

    assert shades[:, :45].max() == 0
    assert shades[:, 60].argmax() == pytest.approx(80 - 80 * 440 / 4000, abs=8)  # linear below 1 kHz, on the Mel scale
    assert row.high[:20].max() == 0.0
    assert row.high[30:].max() == pytest.approx(1.0, abs=0.01)
    assert to_png(row.spectrum).startswith(b"\x89PNG")


def test_the_sound_in_the_page_is_bit_for_bit_what_was_heard() -> None:
    pcm = to_pcm(fakes.voice(2.0))
    samples, rate = soundfile.read(io.BytesIO(to_flac(pcm)), dtype="int16")

    assert rate == SAMPLE_RATE
    assert samples.tobytes() == pcm


def test_ten_minutes_stay_small() -> None:
    """Noise is the worst that a picture can hold."""
    noise = np.random.default_rng(0).standard_normal(600 * SAMPLE_RATE).astype(np.float32) * np.float32(0.1)
    size = len(page(a_report(n=200, text="so many words " * 3, words=True), sound_rows(to_pcm(noise))).encode())

    assert size < LIMIT_BYTES


def test_episodes_come_with_the_scores(tmp_path: Path) -> None:
    """A filter that starts at once says a start, and its end at the end of the recording."""
    path = tmp_path / "talk.wav"
    soundfile.write(path, fakes.talk(3), SAMPLE_RATE)
    plan = MoodPlan(threshold=-99.0, false_alarms_h=1.0)
    items = list(score_recording(Recording(path), Config(), fakes.Each(fakes.analysis), plan=plan))

    assert [item.phase for item in items if isinstance(item, EpisodeUpdate)] == ["start", "end"]
    assert isinstance(items[0], RecordedSegment)


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_the_attention_is_what_the_score_was_made_with(scene: Path) -> None:
    """The voice's part of the shipped model: its states by the very attention that is drawn, and their statistics."""
    import torch

    analyzer = Analyzer(load_models(Config()))
    states: list[torch.Tensor] = []
    statistics: list[torch.Tensor] = []
    analyzer.models.fusion.lstm.register_forward_hook(lambda *given: states.append(given[2][0].data))
    analyzer.models.fusion.statistics.register_forward_hook(lambda *given: statistics.append(given[2][0]))
    segmenter = Segmenter(VadConfig(), SegmentConfig())
    frames = [item for item in Recording(scene).listen(lambda: False) if isinstance(item, AudioFrame)]
    segment = next(segment for frame in frames for segment in segmenter.feed(frame))
    analysis = analyzer(segment)
    assert analysis.attention is not None  # type: ignore[union-attr]
    weights = torch.from_numpy(analysis.attention)  # type: ignore[union-attr]
    context = torch.cat([weights[: len(states[-1])] @ states[-1], statistics[-1]])
    raw = analyzer.models.fusion.audio_out(context.unsqueeze(0))

    assert audio_part(analyzer.models.header.calibration, float(raw)) == pytest.approx(analysis.audio_logit, abs=1e-4)  # type: ignore[union-attr]
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-4)
    assert analyzer.models.header.attention_step_s * len(weights) == pytest.approx(3.0)
    assert len({round(float(weight), 4) for weight in weights}) > 5


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_a_page_holds_the_scores_that_are_printed_and_no_words(scene: Path, tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text("[publish]\ntext = true\n")
    out = tmp_path / "out.html"
    done = run("score", str(scene), "--report", str(out), "--config", str(config))
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    words = [score.pop("text") for score in printed]
    for score in printed:
        score.pop("file")
    document = out.read_text()

    assert Reader(document).scores == printed
    assert len(printed) > 5
    assert not [said for said in words if said and said in document]
    assert not re.search("talking|sitting", document, re.IGNORECASE)
    assert "data:audio" not in document


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_words_and_sound_are_there_when_asked_for_and_then_for_the_owner_alone(scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    done = run("score", str(scene), "--report", str(out), "--words", "--embed-audio")
    assert done.returncode == 0, done.stderr
    found = Reader(out.read_text())
    (sound,) = found.all("audio")
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(sound["src"].split(",")[1])), dtype="int16")

    assert "Kids are talking by the door." in found.text
    assert samples.size / SAMPLE_RATE == pytest.approx(Recording(scene).duration_s, abs=0.1)
    assert out.stat().st_mode & 0o777 == 0o600
    assert "talking" not in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--words"], 2, "--report"),
        (["--embed-audio"], 2, "--report"),
        (["--report", "no/such/folder/a.html"], 69, "No such file"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_before_models_load(scene: Path, arguments: list[str], code: int, says: str) -> None:
    done = run("score", str(scene), *arguments)

    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert done.stdout == ""


def test_a_page_is_of_one_recording(scene: Path, tmp_path: Path) -> None:
    assert run("score", str(scene), str(scene), "--report", str(tmp_path / "a.html")).returncode == 2


def test_a_recording_of_more_than_an_hour_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(3700 * 8000, dtype=np.int16), 8000)
    done = run("score", str(path), "--report", str(tmp_path / "a.html"))

    assert done.returncode == 2
    assert "62 minutes long" in done.stderr


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sadstream.base.files import write_atomic

    path = tmp_path / "a.html"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"after")

    assert path.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == ["a.html"]


def test_the_drawing_leaves_room_for_its_labels() -> None:
    (row,) = read(n=1).all("svg", "row")

    assert row["viewbox"].startswith(f"0 0 {GUTTER + 1000} ")
