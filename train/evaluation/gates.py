"""What the gates let through and what they lose, measured through the daemon's own segmenter and analyser."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import UnscoredSegment
from sadstream.audio.vad import webrtc_detector
from sadstream.base.samples import FRAME_BYTES, SAMPLE_RATE, to_pcm
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.fusion.card import DEFAULT_FALSE_ALARMS_H, Card, Offset
from sadstream.scoring.mood.calibration import baseline
from sadstream.scoring.mood.mood import Mood, plan
from sadstream.scoring.mood.voice import VoiceBaseline
from train.corpora.clips import Clip, daemon_segments, read_audio
from train.features.noises import Noise, at_mean_level, frame_powers, loud_dbfs
from train.metrics.detection import Interval
from train.metrics.markdown import markdown

Samples = NDArray[np.float32]

BREATH_S = 0.8
SPOKEN = frozenset({"voice_prompt"})  # "front left": these words are not invented
NOISE_DBFS = (-50.0, -40.0, -30.0, -20.0, -10.0)
SPEECH_DBFS = (-45.0, -35.0, -22.5, -10.0)
# A real speech segment has 150 ms within 15 dB of its clip's loud frames. What has not is the breath before the voice
# or the last decay after it, which a louder copy lifts over the detector's floor.
REAL_SPEECH_DB = 15.0
REAL_SPEECH_FRAMES = 5


def share(count: int, n: int) -> Interval:
    """A share with Wilson's 95 percent interval.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0, 0)
    found = binomtest(count, n).proportion_ci(method="wilson")
    return Interval(count / n, float(found.low), float(found.high), n)


@dataclass(slots=True)
class NoiseCount:
    """What became of one kind of sound without speech."""

    seconds: float = 0.0
    raw_s: float = 0.0  # called speech by WebRTC's detector as it comes
    cut_s: float = 0.0  # in the daemon's segments, before the speech gate
    passed_s: float = 0.0  # and after it
    cut: int = 0
    passed: int = 0
    words: int = 0  # segments whose words reached the text branch
    sad: int = 0  # segments decided sad

    def add(self, other: "NoiseCount") -> None:
        """Both together."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def heard_in_noise(noise: Noise, level_dbfs: float, analyzer: Analyzer, seed: int) -> NoiseCount:
    """One sound at one level through the daemon's objects."""
    samples = at_mean_level(noise.samples, level_dbfs)
    count = NoiseCount(seconds=samples.size / SAMPLE_RATE, raw_s=raw_speech_s(samples))
    for segment in daemon_segments(samples, seed):
        length = segment.t_end - segment.t_start
        count.cut_s += length
        count.cut += 1
        analysis = analyzer(segment)
        if not isinstance(analysis, UnscoredSegment):
            count.passed_s += length
            count.passed += 1
            count.words += analysis.transcript.kept
            count.sad += analysis.sad
    return count


def raw_speech_s(samples: Samples) -> float:
    """Seconds that WebRTC's detector in mode 2 calls speech, without the daemon's level and without segments."""
    detector, pcm = webrtc_detector(2), to_pcm(samples)
    frames = range(0, len(pcm) // FRAME_BYTES * FRAME_BYTES, FRAME_BYTES)
    return 0.03 * sum(detector.is_speech(pcm[at : at + FRAME_BYTES], SAMPLE_RATE) for at in frames)


def noise_table(noises: Sequence[Noise], analyzer: Analyzer, hours: float, seed: int, tick: Callable[[], None]) -> str:
    """False speech, invented words and sad decisions by kind, of this many hours of sounds drawn at random."""
    rng = np.random.default_rng(seed)
    counts: dict[tuple[str, bool], NoiseCount] = {}
    total_s = 0.0
    while total_s < 3600.0 * hours:
        for at in rng.permutation(len(noises)):
            noise = noises[at]
            found = heard_in_noise(noise, float(rng.choice(NOISE_DBFS)), analyzer, int(rng.integers(2**31)))
            counts.setdefault((noise.kind, noise.human_voice), NoiseCount()).add(found)
            total_s += found.seconds
            tick()
            if total_s >= 3600.0 * hours:
                break
    sums = {human: NoiseCount() for human in (False, True)}
    for (kind, human), count in counts.items():
        if kind not in SPOKEN:
            sums[human].add(count)
    rows = [_noise_row(kind, human, count) for (kind, human), count in sorted(counts.items())]
    rows += [_noise_row("ALL that says nothing", human, count) for human, count in sums.items()]
    columns = (
        "sound", "voice", "min", "webrtcvad min/h", "segments min/h", "after the gate min/h",
        "segments", "passed", "words kept", "sad",
    )  # fmt: skip
    return markdown(columns, rows)


def _noise_row(kind: str, human: bool, count: NoiseCount) -> tuple[str, ...]:
    def an_hour(seconds: float) -> str:
        return f"{60.0 * seconds / max(count.seconds, 1e-9):.1f}"

    return (
        kind,
        "yes" if human else "no",
        f"{count.seconds / 60:.1f}",
        an_hour(count.raw_s),
        an_hour(count.cut_s),
        an_hour(count.passed_s),
        str(count.cut),
        str(share(count.passed, count.cut)),
        f"{count.words}: {share(count.words, count.cut)}",
        f"{count.sad}: {share(count.sad, count.cut)}",
    )


def loss_table(clips: Sequence[Clip], analyzer: Analyzer, tick: Callable[[], None]) -> str:
    """Share of real speech segments that the gate drops, and of clips without a segment, by corpus, label and level."""
    found: dict[tuple[str, str, float], list[bool]] = {}
    deaf: dict[tuple[str, str, float], list[bool]] = {}
    for number, clip in enumerate(clips):
        samples = read_audio(clip.path)
        for level in SPEECH_DBFS:
            key = (clip.corpus, "sad" if clip.sad else "other", level)
            scaled = np.clip(samples * 10.0 ** ((level - loud_dbfs(samples)) / 20.0), -1.0, 1.0).astype(np.float32)
            segments = [s for s in daemon_segments(scaled, number) if real_speech(s, level)]
            deaf.setdefault(key, []).append(not segments)
            found.setdefault(key, []).extend(not analyzer.is_speech(s) for s in segments)
        tick()
    rows = []
    for label in ("sad", "other"):
        for levels, name in [*(((level,), f"{level:g}") for level in SPEECH_DBFS), (SPEECH_DBFS, "all")]:
            lost = [x for (_, kind, at), some in found.items() if kind == label and at in levels for x in some]
            none = [x for (_, kind, at), some in deaf.items() if kind == label and at in levels for x in some]
            rows.append(
                (label, name, str(share(sum(lost), len(lost))), f"{len(lost):,}", str(share(sum(none), len(none))))
            )
    return markdown(("label", "dBFS", "segments lost at the gate", "n", "clips without a segment"), rows)


def real_speech(segment: Segment, level_dbfs: float) -> bool:
    """It holds speech, not only what surrounds it; the level is that of its clip's loud frames."""
    power = frame_powers(segment.samples)
    return bool((power > 10.0 ** ((level_dbfs - REAL_SPEECH_DB) / 10.0)).sum() >= REAL_SPEECH_FRAMES)


def language_table(
    groups: Mapping[str, Sequence[Clip]], analyzer: Analyzer, tick: Callable[[], None], per_clip: int = 3
) -> str:
    """Share of segments whose words reach the text branch, and why the others do not."""
    rows = []
    for name, clips in groups.items():
        reasons = [a.transcript.reason for _, _, a in _analyzed(clips, analyzer, tick, per_clip)]
        kept = sum(reason == "none" for reason in reasons)
        others = sorted(set(reasons) - {"none"})
        why = ", ".join(f"{reason} {reasons.count(reason)}" for reason in others)
        rows.append((name, str(share(kept, len(reasons))), f"{len(reasons):,}", why))
    return markdown(("speech", "words kept", "n", "not kept"), rows)


Talk = Mapping[str, Sequence[tuple[Segment, Analysis]]]  # by speaker


def talk_table(clips: Sequence[Clip], analyzer: Analyzer, card: Card, tick: Callable[[], None]) -> str:
    """False positives on people of whom none is sad, as the daemon says them with each offset, one stream a person.

    Calibrated is the second half of each speaker's segments, with what the first half says of the voice; whoever has
    one segment has no first half.
    """
    corpora: dict[str, dict[str, list[tuple[Segment, Analysis]]]] = {}
    for clip, segment, analysis in _analyzed(clips, analyzer, tick, per_clip=100):
        corpora.setdefault(clip.corpus, {}).setdefault(clip.speaker, []).append((segment, analysis))
    everybody = {speaker: said for talk in corpora.values() for speaker, said in talk.items()}
    rows = []
    for corpus, talk in [*sorted(corpora.items()), ("all", everybody)]:
        later = {speaker: said[len(said) // 2 :] for speaker, said in talk.items()}
        for label, offset, some in (
            ("off", "off", talk),
            ("auto", "auto", talk),
            ("auto, second half", "auto", later),
            ("calibrated on the first half", "calibrated", talk),
        ):
            rows.append((corpus, label, *_talk_row(some, card, cast(Offset, offset))))
    columns = (
        "corpus", "offset", "speakers", "called sad", "n", "median speaker", "90th percentile", "worst",
        "an hour of speech", "episodes",
    )  # fmt: skip
    return markdown(columns, rows)


def _talk_row(talk: Talk, card: Card, offset: Offset) -> tuple[str, ...]:
    """Rates of everybody, each through a daemon's stream of their own."""
    called, seconds, starts, talked_s = [], 0.0, 0, 0.0
    for said in talk.values():
        known, rest = (said[: len(said) // 2], said[len(said) // 2 :]) if offset == "calibrated" else ([], said)
        mood, t = Mood(plan(card, DEFAULT_FALSE_ALARMS_H, offset, _voice(known, card))), 0.0
        decisions = []
        for segment, analysis in rest:
            length_s = segment.t_end - segment.t_start
            scored, updates = mood.feed(analysis, t, t + length_s)
            decisions.append(scored.sad)
            starts += sum(update.phase == "start" for update in updates)
            seconds += length_s
            t += length_s + BREATH_S
        called.append(decisions)
        talked_s += t
    flat = [sad for each in called for sad in each]
    rates = [float(np.mean(each)) for each in called if each]
    return (
        str(len(rates)),
        str(share(sum(flat), len(flat))),
        f"{len(flat):,}",
        *(f"{x:.3f}" for x in (np.median(rates), np.percentile(rates, 90), max(rates))),
        f"{3600.0 * sum(flat) / seconds:.0f}",
        f"{starts} in {talked_s / 3600:.2f} h",
    )


def _voice(said: Sequence[tuple[Segment, Analysis]], card: Card) -> VoiceBaseline | None:
    """As `sadstream calibrate` would write it."""
    if not said:
        return None
    analyses = [analysis for _, analysis in said]
    return baseline(analyses, sum(segment.t_end - segment.t_start for segment, _ in said), card)


def _analyzed(
    clips: Sequence[Clip], analyzer: Analyzer, tick: Callable[[], None], per_clip: int
) -> Iterator[tuple[Clip, Segment, Analysis]]:
    for number, clip in enumerate(clips):
        for segment in daemon_segments(read_audio(clip.path), number)[:per_clip]:
            analysis = analyzer(segment)
            if not isinstance(analysis, UnscoredSegment):
                yield clip, segment, analysis
        tick()
