"""A checkpoint's card: trade-off on simulated days, reference voice, rejection band; and the report beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sadstream.base.files import save_atomic
from sadstream.scoring.fusion.card import Card, Offset, OperatingPoint, card_path
from sadstream.scoring.fusion.voices import Voices
from sadstream.scoring.mood.belief import Belief, StretchBelief, VoiceBelief, voice_prior
from sadstream.scoring.mood.offset import calibrated_offset
from train.corpora.clips import CALM
from train.evaluation.alarms import OTHERS, AlarmCurvePoint, Heard, curve, outcome, point, promised
from train.evaluation.company import after_another, by_turns, heard_before
from train.evaluation.days import Day, DaysConfig, ScoredClip, days, reference_of, spoken_clips
from train.metrics.detection import Interval, auc, bootstrap, over_groups, true_positives_at
from train.metrics.markdown import markdown
from train.metrics.voices import VoicesConfig, fit_voices
from train.shipped.cross_validation import LeftOut
from train.shipped.scorecard import ScoredClips
from train.shipped.speaker_folds import grouped_folds

COVERAGE = 0.7
DRAWS = 5
THRESHOLDS = tuple(-1.0 + 0.125 * n for n in range(73))  # to 8
OTHER_THRESHOLDS = {
    "CUSUM": tuple(0.75 * n for n in range(1, 15)),
    "single segments": tuple(0.25 * n for n in range(16)),
}
RATES = (0.5, 1.0, 2.0, 4.0)
SEGMENT_DRAWS = 200
FOLDS = 9  # of speakers, whose voices the others' densities are tried on
OFFSETS: tuple[Offset, ...] = ("off", "running", "auto", "calibrated")
WHOSE: dict[Offset, str] = {
    "off": "as voices come",
    "auto": "voices learnt while they talk",
    "calibrated": "calibrated voices",
}
OTHER_DAYS: dict[str, dict[str, object]] = {
    "acted mix of emotions": {"calm_share": 0.3},
    "episodes in which all is sad": {"sad_share": 1.0},
    "sad from the first minute": {"sad_first": True},
}
COLUMNS = (
    "allowed/h", "false alarms/h", "in the first 3 min", "caught, 60 s and more", "n", "median delay",
)  # fmt: skip


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
    outside = calm.at(np.flatnonzero((calm.llrs <= low) | (calm.llrs >= high)))
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
        voices = {day.speaker: day for day in days(speakers, asked)}
        heard = {speaker: {one.clip for one in day.calibration} for speaker, day in voices.items()}
        shift = {speaker: _offset(day, reference) for speaker, day in voices.items()}
        rest = scored.only(lambda clip, h=heard: clip not in h[clip.speaker]).against_calm()  # type: ignore[misc]
        parts.append(rest)
        shifts.append(np.array([shift[clip.speaker] for clip in rest.clips]))
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


def days_report(
    scored: ScoredClips,
    seconds: NDArray[np.float64],
    model: str,
    config: DaysConfig,
    voices: VoicesConfig,
    strangers: Sequence[LeftOut] = (),
) -> DaysReport:
    """Simulated days of out-of-fold scores, every method and offset on them, and the card of the shipped filter."""
    speakers = spoken_clips(scored, seconds)
    reference = reference_of(speakers)
    known = _known(scored, voices)
    made = days(speakers, config)
    heard = {offset: _heard(made, offset, known, reference) for offset in OFFSETS}
    points = {offset: _curve(made, heard[offset]) for offset in OFFSETS}
    gain = offset_gain(scored, seconds, config)
    calm_h = _calm_h(made)
    protocol = _protocol(config, len(speakers), made)
    learnt = {offset: _segments(made, heard[offset]) for offset in WHOSE}
    bands = {offset: rejection_band(scored if offset == "off" else some) for offset, some in learnt.items()}
    card = Card(
        model=model,
        protocol=protocol,
        hours=calm_h,
        speakers=len(speakers),
        reference=reference,
        coverage=COVERAGE,
        uncertain_low=bands["off"].low,
        uncertain_high=bands["off"].high,
        auto_low=bands["auto"].low,
        auto_high=bands["auto"].high,
        calibrated_low=bands["calibrated"].low,
        calibrated_high=bands["calibrated"].high,
        voices=fit_voices(scored.clips, scored.uncapped, voices),
        off=_points(points["off"]),
        running=_points(points["running"]),
        auto=_points(points["auto"]),
        calibrated=_points(points["calibrated"]),
    )
    text = [
        f"Protocol: {protocol}; intervals: bootstrap over speakers.\n",
        _trade_table(made, points, heard, calm_h),
        _corpora_table(made, heard["auto"], calm_h),
        _segments_table(learnt),
        _strangers_table(strangers, config, voices, points["auto"], calm_h),
        _hard_table(speakers, known, reference, config, points["auto"], calm_h),
        *(_rejection_text(whose, bands[offset]) for offset, whose in WHOSE.items()),
        _gain_text(gain),
    ]
    return DaysReport(card, "\n".join(text), tuple(made))


def _known(scored: ScoredClips, config: VoicesConfig) -> dict[str, Voices]:
    """For each speaker, what the others' ratios say of voices: a ninth of the speakers at a time is left out."""
    known: dict[str, Voices] = {}
    for fold in grouped_folds(scored.clips, FOLDS, 0):
        others = scored.only(lambda clip, f=fold: clip.speaker not in f)  # type: ignore[misc]
        known |= dict.fromkeys(fold, fit_voices(others.clips, others.uncapped, config))
    return known


def _belief(day: Day, offset: Offset, known: dict[str, Voices]) -> Belief:
    """As the daemon begins to hear this speaker."""
    if offset not in ("auto", "calibrated"):
        return StretchBelief()
    voices = known[day.speaker]
    calibrated = offset == "calibrated"
    return VoiceBelief(voices, voice_prior(voices, day.typical, len(day.calibration)) if calibrated else None)


def _heard(made: Sequence[Day], offset: Offset, known: dict[str, Voices], reference: float) -> list[Heard]:
    """All days as the daemon's belief hears them with this offset."""
    learns = offset in ("auto", "calibrated")
    return [
        Heard.by(
            _belief(day, offset, known),
            day.learnt() if learns else day.running(reference) if offset == "running" else day.as_it_comes(),
        )
        for day in made
    ]


def _curve(made: Sequence[Day], heard: Sequence[Heard]) -> list[AlarmCurvePoint]:
    return curve(made, lambda number, threshold: heard[number].starts(threshold), THRESHOLDS)


def _segments(made: Sequence[Day], heard: Sequence[Heard]) -> ScoredClips:
    """Every segment of the days with the ratio that it has once the talk before it is known, or else by itself."""
    clips = tuple(one.clip for day in made for one in day.heard)
    ratios = [llr for day, one in zip(made, heard, strict=True) for llr in one.llrs or [h.llr for h in day.heard]]
    return ScoredClips(clips, np.array(ratios))


def _segments_table(learnt: Mapping[Offset, ScoredClips]) -> str:
    """Single segments of the days: as voices come, and with what the talk before them says of the voice."""
    rows = []
    for corpus in sorted({clip.corpus for clip in learnt["off"].clips}):
        for offset, scored in learnt.items():
            here = scored.only(lambda clip, c=corpus: clip.corpus == c)  # type: ignore[misc]
            calm = here.against_calm()
            figures = ((calm, auc), (here, auc), (calm, true_positives_at))
            found = [str(part.over_speakers(figure, SEGMENT_DRAWS)) for part, figure in figures]
            rows.append((corpus, offset, *found, f"{len(here.clips):,}"))
    columns = ("segments of", "offset", "AUC, neutral and calm", "AUC, everything", "true pos. at 5 %", "n")
    return markdown(columns, rows)


def _offset(day: Day, reference: float) -> float:
    """What `offset = "calibrated"` adds where a card knows nothing of voices."""
    return calibrated_offset([one.llr for one in day.calibration], reference) if day.calibration else 0.0


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


def _points(points: Sequence[AlarmCurvePoint]) -> tuple[OperatingPoint, ...]:
    return tuple(
        OperatingPoint(
            threshold=p.threshold,
            alarms=p.alarms,
            caught=round(p.caught.value, 4),
            delay_s=None if p.delay_s != p.delay_s else round(p.delay_s, 1),
        )
        for p in points
    )


def _trade_table(
    made: Sequence[Day],
    points: Mapping[Offset, Sequence[AlarmCurvePoint]],
    heard: Mapping[Offset, Sequence[Heard]],
    calm_h: float,
) -> str:
    """Every offset with the daemon's filter, and what other methods make of the same scores."""
    rows = [
        _row(offset, "hidden Markov model", rate, promised(points[offset], rate, calm_h))
        for offset in points
        for rate in RATES
    ]
    for method, starts in OTHERS.items():
        scores = [one.scores for one in heard["off"]]
        others = curve(made, lambda n, th, s=starts, x=scores: s(x[n], th), OTHER_THRESHOLDS[method])  # type: ignore[misc]
        rows += [_row("off", method, rate, promised(others, rate, calm_h)) for rate in (1.0, 4.0)]
    return markdown(("offset", "method", *COLUMNS), rows)


def _row(first: str, second: str, rate: float, found: AlarmCurvePoint | None) -> tuple[str, ...]:
    head = (first, second, f"{rate:g}")
    if found is None:
        return (*head, "cannot", "–", "–", "–", "–")
    delay = "–" if found.delay_s != found.delay_s else f"{found.delay_s:.0f} s"
    return (*head, str(found.false_alarms_h), str(found.early_h), str(found.caught), str(found.caught.n), delay)


def _corpora_table(made: Sequence[Day], heard: Sequence[Heard], calm_h: float) -> str:
    """The days of each corpus at the thresholds that all of them gave."""
    corpora = sorted({day.heard[0].clip.corpus for day in made if day.heard})
    everywhere = _curve(made, heard)
    rows = []
    for names in (*((name,) for name in corpora), ("nemo", "ravdess")):
        at = [n for n, day in enumerate(made) if day.heard and day.heard[0].clip.corpus in names]
        for rate in RATES[:2]:
            found = promised(everywhere, rate, calm_h)
            if found is None or not at:
                continue
            outcomes = [outcome(made[n], heard[n].starts(found.threshold)) for n in at]
            rows.append(_row(" and ".join(names), "auto", rate, point(outcomes, found.threshold)))
    return markdown(("days of", "offset", *COLUMNS), rows)


def _strangers_table(
    strangers: Sequence[LeftOut],
    config: DaysConfig,
    learning: VoicesConfig,
    points: Sequence[AlarmCurvePoint],
    calm_h: float,
) -> str:
    """Days of a corpus of which neither the weights nor the densities nor the prior know anything."""
    found = promised(points, 1.0, calm_h)
    if found is None or not strangers:
        return ""
    rows = []
    for one in strangers:
        voices = fit_voices(one.others.clips, one.others.uncapped, learning)
        made = days(spoken_clips(one.strangers, one.seconds), config)
        heard = [Heard.by(VoiceBelief(voices), day.learnt()) for day in made]
        outcomes = [outcome(day, some.starts(found.threshold)) for day, some in zip(made, heard, strict=True)]
        rows.append(_row(one.corpus, "auto", 1.0, point(outcomes, found.threshold)))
    return markdown(("days of a corpus left out", "offset", *COLUMNS), rows)


def _hard_table(
    speakers: dict[str, list[ScoredClip]],
    known: dict[str, Voices],
    reference: float,
    config: DaysConfig,
    points: Sequence[AlarmCurvePoint],
    calm_h: float,
) -> str:
    """Other days at the same threshold: easier ones, sad from the first minute, and more voices than one."""
    found = promised(points, 1.0, calm_h)
    if found is None:
        return "No threshold keeps one false alarm an hour: other days were not looked at.\n"
    rows = []
    for name, changes in OTHER_DAYS.items():
        made = days(speakers, config.model_copy(update=changes))
        heard = _heard(made, "auto", known, reference)
        outcomes = [outcome(day, one.starts(found.threshold)) for day, one in zip(made, heard, strict=True)]
        rows.append(_row(name, "auto", 1.0, point(outcomes, found.threshold)))
    made, threshold = days(speakers, config), found.threshold
    for name, outcomes in (
        ("another voice after the first", after_another(made, known, threshold)),
        ("two by turns, one voice to the daemon", by_turns(made, known, threshold, told_apart=False)),
        ("two by turns, told apart", by_turns(made, known, threshold, told_apart=True)),
        ("a voice kept over a restart", heard_before(made, known, threshold)),
    ):
        rows.append(_row(name, "auto", 1.0, point(outcomes, threshold)))
    return markdown(("other days", "offset", *COLUMNS), rows)


def _rejection_text(whose: str, found: RejectionBand) -> str:
    shares = ", ".join(f"{name} {share:.3f} (n = {n:,})" for name, share, n in found.rejected)
    return (
        f"`uncertain`, {whose}, between {found.low:.2f} and {found.high:.2f}, coverage {COVERAGE:.0%} of sad, neutral "
        f"and calm segments: 1 - AUC against neutral and calm {found.error_all} for all, {found.error_kept} for those "
        f"not marked; marked: {shares}.\n"
    )
