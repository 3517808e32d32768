"""A checkpoint's card: trade-off on simulated days, reference voice, rejection band; and the report beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.files import save_atomic
from sadstream.scoring.fusion.card import Card, OperatingPoint, card_path
from sadstream.scoring.mood.episodes import ScoredSegment
from train.corpora.clips import CALM
from train.evaluation.alarms import METHODS, AlarmCurvePoint, at_rate, curve
from train.evaluation.days import Day, DaysConfig, ScoredClip, days, reference_of, spoken_clips
from train.metrics.detection import Interval, auc, bootstrap, over_groups, true_positives_at
from train.metrics.markdown import markdown
from train.shipped.scorecard import ScoredClips

Scores = Callable[[Day], Sequence[ScoredSegment]]

COVERAGE = 0.7
DRAWS = 5
HMM_THRESHOLDS = tuple(-1.0 + 0.25 * n for n in range(33))  # to 7
OTHER_THRESHOLDS = {
    "CUSUM": tuple(0.75 * n for n in range(1, 15)),
    "single segments": tuple(0.25 * n for n in range(16)),
}
RATES = (1.0, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class RejectionBand:
    """The log-likelihood ratios that are too close to call, and what leaving them out does."""

    low: float
    high: float
    error_all: Interval  # 1 - AUC against neutral and calm
    error_kept: Interval
    rejected: tuple[tuple[str, float, int], ...]  # class, share, of how many


def rejection_band(scored: ScoredClips, coverage: float = COVERAGE, resamples: int = 500) -> RejectionBand:
    """The band of ratios without which the rest is ranked best, at this share of segments kept.

    Chow, "On optimum recognition error and reject tradeoff", IEEE Transactions on Information Theory 16 (1970).
    """
    calm = scored.against_calm()
    ordered = np.sort(calm.llrs)
    width = round((1.0 - coverage) * ordered.size)

    def band(start: int) -> tuple[float, float]:
        return float(ordered[start]), float(ordered[min(start + width, ordered.size - 1)])

    def error_without(limits: tuple[float, float]) -> float:
        kept = (calm.llrs <= limits[0]) | (calm.llrs >= limits[1])
        return 1.0 - auc(calm.sad[kept], calm.llrs[kept])

    starts = range(0, ordered.size - width, max(1, ordered.size // 50))
    low, high = min((band(start) for start in starts), key=error_without)
    outside = _rows(calm, (calm.llrs <= low) | (calm.llrs >= high))
    kinds = {
        "sad": lambda clip: bool(clip.sad),
        "neutral and calm": lambda clip: clip.emotion in CALM,
        "other": lambda clip: not clip.sad and clip.emotion not in CALM,
    }
    rejected = []
    for name, wanted in kinds.items():
        part = scored.only(wanted)
        inside = (part.llrs > low) & (part.llrs < high)
        rejected.append((name, float(inside.mean()) if inside.size else float("nan"), int(inside.size)))
    return RejectionBand(low, high, _error(calm, resamples), _error(outside, resamples), tuple(rejected))


def _rows(scored: ScoredClips, mask: NDArray[np.bool_]) -> ScoredClips:

    return ScoredClips(tuple(scored.clips[i] for i in np.flatnonzero(mask)), scored.llrs[mask])


def _error(scored: ScoredClips, resamples: int) -> Interval:
    groups = [clip.speaker for clip in scored.clips]
    return over_groups(lambda y, s: 1.0 - auc(y, s), scored.sad, scored.llrs, groups, resamples=resamples)


@dataclass(frozen=True, slots=True)
class OffsetGain:
    """What `sadstream calibrate` is worth, over several draws of the clips that it hears, which are left out."""

    without: Interval  # true positives at 5 % false positives on neutral and calm
    with_offset: Interval
    gain: Interval  # paired
    moved: ScoredClips  # sad, neutral and calm segments of all draws, with the offset


def offset_gain(
    scored: ScoredClips, seconds: NDArray[np.float64], config: DaysConfig, resamples: int = 500
) -> OffsetGain:
    """True positives pooled over all speakers, the mean of DRAWS; one draw and the next differ by .01."""
    speakers = spoken_clips(scored, seconds)
    reference = reference_of(speakers)
    parts, shifts, draws = [], [], []
    for draw in range(DRAWS):
        asked = config.model_copy(update={"hours": 1, "seed": config.seed + draw})
        voices = {day.speaker: day for day in days(speakers, asked, reference)}
        rest = scored.only(lambda clip, v=voices: clip not in v[clip.speaker].calibration).against_calm()  # type: ignore[misc]
        parts.append(rest)
        shifts.append(np.array([voices[clip.speaker].offset for clip in rest.clips]))
        draws.append(np.full(rest.llrs.size, draw))
    plain = ScoredClips(tuple(clip for part in parts for clip in part.clips), np.concatenate([p.llrs for p in parts]))
    moved = ScoredClips(plain.clips, plain.llrs + np.concatenate(shifts))
    draw_of, labels = np.concatenate(draws), plain.sad

    def caught(llrs: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
        of_draws = [rows[draw_of[rows] == draw] for draw in range(DRAWS)]
        return float(np.mean([true_positives_at(labels[part], llrs[part]) for part in of_draws]))

    groups = [clip.speaker for clip in plain.clips]
    without = bootstrap(lambda rows: caught(plain.llrs, rows), groups, resamples=resamples)
    with_offset = bootstrap(lambda rows: caught(moved.llrs, rows), groups, resamples=resamples)
    gain = bootstrap(lambda rows: caught(moved.llrs, rows) - caught(plain.llrs, rows), groups, resamples=resamples)
    return OffsetGain(without, with_offset, gain, moved)


@dataclass(frozen=True, slots=True)
class DaysReport:
    """A card and what is to be read beside it."""

    card: Card
    text: str
    days: tuple[Day, ...]


def days_report(scored: ScoredClips, seconds: NDArray[np.float64], model: str, config: DaysConfig) -> DaysReport:
    """Simulated days of out-of-fold scores, every method and offset on them, and the card of the shipped filter."""
    speakers = spoken_clips(scored, seconds)
    reference = reference_of(speakers)
    made = days(speakers, config, reference)
    scores = {
        "off": lambda day: day.moved(calibrated=False),
        "running": lambda day: day.running(reference),
        "calibrated": lambda day: day.moved(calibrated=True),
    }
    protocol, calm_h = _protocol(config, len(speakers), made), _calm_h(made)
    gain = offset_gain(scored, seconds, config)
    as_voices_come, calibrated = rejection_band(scored), rejection_band(gain.moved)
    points = {name: curve(made, of, METHODS["hidden Markov model"], HMM_THRESHOLDS) for name, of in scores.items()}
    card = Card(
        model=model,
        protocol=protocol,
        hours=calm_h,
        speakers=len(speakers),
        reference=reference,
        coverage=COVERAGE,
        uncertain_low=as_voices_come.low,
        uncertain_high=as_voices_come.high,
        calibrated_low=calibrated.low,
        calibrated_high=calibrated.high,
        off=_points(points["off"], calm_h),
        running=_points(points["running"], calm_h),
        calibrated=_points(points["calibrated"], calm_h),
    )
    text = [
        f"Protocol: {protocol}; intervals: bootstrap over speakers.\n",
        _trade_table(made, scores),
        _easy_table(speakers, reference, config),
        _rejection_text("as voices come", as_voices_come),
        _rejection_text("calibrated voices", calibrated),
        _gain_text(gain),
    ]
    return DaysReport(card, "\n".join(text), tuple(made))


def _calm_h(made: Sequence[Day]) -> float:
    """Hours of talk outside of sad episodes."""
    return sum(day.seconds - sum(span.t_end - span.t_start for span in day.truth) for day in made) / 3600.0


def _protocol(config: DaysConfig, speakers: int, made: Sequence[Day]) -> str:
    return (
        f"simulated days, out of fold, seed {config.seed}, {config.hours} strings of clips for each of "
        f"{speakers} speakers, {_calm_h(made):.1f} h of talk outside of sad episodes, "
        f"{round(100 * config.sad_share)} % of an episode's clips sad, {round(100 * config.calm_share)} % of the rest "
        "neutral or calm"
    )


def _gain_text(gain: OffsetGain) -> str:
    return (
        f"True positive rate at 5 % false positives on neutral and calm, mean of {DRAWS} draws of the clips that "
        f"the calibration hears, which are left out (n = {gain.without.n // DRAWS:,} each): {gain.without} "
        f"without, {gain.with_offset} with the calibrated offset; gain {gain.gain}.\n"
    )


def write_card(checkpoint: Path, card: Card) -> None:
    """Write the card beside its checkpoint, whole or not at all."""
    save_atomic(card_path(checkpoint), (card.model_dump_json(indent=1) + "\n").encode())


def _points(points: Sequence[AlarmCurvePoint], calm_h: float) -> tuple[OperatingPoint, ...]:
    return tuple(
        OperatingPoint(
            threshold=p.threshold,
            alarms=round(p.false_alarms_h.value * calm_h),
            caught=round(p.caught.value, 4),
            delay_s=None if p.delay_s != p.delay_s else round(p.delay_s, 1),
        )
        for p in points
    )


def _trade_table(made: Sequence[Day], scores: dict[str, Scores]) -> str:
    rows = []
    for offset, of in scores.items():
        for method, starts in METHODS.items():
            points = curve(made, of, starts, OTHER_THRESHOLDS.get(method, HMM_THRESHOLDS))
            rows += [_row(offset, method, rate, at_rate(points, rate)) for rate in RATES]
    columns = ("offset", "method", "allowed/h", "false alarms/h", "caught, 60 s and more", "n", "median delay")
    return markdown(columns, rows)


def _row(offset: str, method: str, rate: float, found: AlarmCurvePoint | None) -> tuple[str, ...]:
    head = (offset, method, f"{rate:g}")
    if found is None:
        return (*head, "cannot", "–", "–", "–")
    return (*head, str(found.false_alarms_h), str(found.caught), str(found.caught.n), f"{found.delay_s:.0f} s")


def _easy_table(speakers: dict[str, list[ScoredClip]], reference: float, config: DaysConfig) -> str:
    """Easier days, labelled so: the acted mixture of emotions, and episodes in which everything is sad."""
    rows = []
    for name, changes in (("easy: acted mix", {"calm_share": 0.3}), ("easy: pure episodes", {"sad_share": 1.0})):
        made = days(speakers, config.model_copy(update=changes), reference)
        points = curve(made, lambda day: day.moved(calibrated=True), METHODS["hidden Markov model"], HMM_THRESHOLDS)
        rows.append(_row("calibrated", name, 1.0, at_rate(points, 1.0)))
    columns = ("offset", "days", "allowed/h", "false alarms/h", "caught, 60 s and more", "n", "median delay")
    return markdown(columns, rows)


def _rejection_text(whose: str, found: RejectionBand) -> str:
    shares = ", ".join(f"{name} {share:.3f} (n = {n:,})" for name, share, n in found.rejected)
    return (
        f"`uncertain`, {whose}, between {found.low:.2f} and {found.high:.2f}, coverage {COVERAGE:.0%} of sad, neutral "
        f"and calm segments: 1 - AUC against neutral and calm {found.error_all} for all, {found.error_kept} for those "
        f"not marked; marked: {shares}.\n"
    )
