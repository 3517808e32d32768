"""How far to trust a transcript: the weights of `scoring.whisper.trust`, fitted to segments whose truth is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from sadstream.audio.filters.level import at_level
from sadstream.audio.segmenter import Segment
from sadstream.audio.silero import SpeechGate
from sadstream.scoring.fusion.header import WHISPER_DBFS
from sadstream.scoring.whisper.recognizer import Whisper
from sadstream.scoring.whisper.trust import ALONE, ASKED, Evidence, TrustModel, judge
from train.corpora.clips import Clip, daemon_segments, read_audio
from train.evaluation.gates import NOISE_DBFS, SPOKEN, share
from train.features.noises import Noise, at_mean_level
from train.metrics.markdown import markdown

LOST_ASKED, LOST_ALONE = 0.02, 0.05  # of English segments
# A group counts by its share, not by its size; sounds without a voice count four times, because rooms are full of them.
COUNTS = {"sound": 4.0, "voice": 2.0}
EVEN = 300
SECOND = "English, second language"


@dataclass(frozen=True, slots=True)
class LabelledEvidence:
    """A segment that the speech gate lets through, what speaks for its words, and whether anybody said them."""

    group: str
    name: str  # of its recording: the halves of the cross-fit share none
    said: bool | None  # None: judged, but nothing is fitted to it
    evidence: Evidence


class EvidenceReader:
    """Segments in, evidence out, with the language asked of everything that has words."""

    def __init__(self, whisper: Whisper, language_identifier: Whisper, least_speech: float) -> None:
        self._gate = SpeechGate()
        self._whisper = whisper
        self._language_identifier = language_identifier
        self._least = least_speech

    def __call__(self, segment: Segment) -> Evidence | None:
        """None where the speech gate lets nothing through."""
        chance = self._gate(segment.samples)
        if chance < self._least:
            return None
        with torch.inference_mode():
            samples = torch.from_numpy(at_level(segment.samples, WHISPER_DBFS)).unsqueeze(0)
            (evidence,) = self._whisper.evidence(samples, [chance], [segment.t_end - segment.t_start])
            (languages,) = self._language_identifier.languages(samples)
        return replace(evidence, languages=languages)


def known_of_clips(
    group: str, clips: Sequence[Clip], said: bool | None, evidence_reader: EvidenceReader, tick: Callable[[], None]
) -> list[LabelledEvidence]:
    """What is known of every segment of these recordings, as they are."""
    known = []
    for number, clip in enumerate(clips):
        found = [evidence_reader(segment) for segment in daemon_segments(read_audio(clip.path), number)]
        known += [LabelledEvidence(group, clip.path.name, said, evidence) for evidence in found if evidence is not None]
        tick()
    return known


def known_of_noises(
    noises: Sequence[Noise], seed: int, evidence_reader: EvidenceReader, tick: Callable[[], None]
) -> list[LabelledEvidence]:
    """What is known of every segment of these sounds, each at two levels drawn at random."""
    rng = np.random.default_rng(seed)
    known = []
    for number, noise in enumerate(noises):
        if noise.kind in SPOKEN:
            continue
        group = "babble" if noise.kind == "reversed babble" else "voice" if noise.human_voice else "sound"
        for level in rng.choice(NOISE_DBFS, 2):
            found = [
                evidence_reader(segment)
                for segment in daemon_segments(at_mean_level(noise.samples, float(level)), number)
            ]
            known += [
                LabelledEvidence(group, str(number), False, evidence) for evidence in found if evidence is not None
            ]
        tick()
    return known


def fitted(known: Sequence[LabelledEvidence], shape: TrustModel, lost: float) -> TrustModel:
    """Weights of the same shape, with the bias at which so much of what was said in English is lost."""
    names = _names(shape)
    rows = [one for one in known if one.said is not None and not _hopeless(one.evidence)]
    matrix = np.array([_row(one.evidence, names) for one in rows])
    sizes = {group: sum(one.group == group for one in rows) for group in {one.group for one in rows}}
    weight = np.array([COUNTS.get(one.group, 1.0) * EVEN / max(sizes[one.group], EVEN // 2) for one in rows])
    model = LogisticRegression(C=3.0, max_iter=5000)
    model.fit(matrix, [one.said for one in rows], sample_weight=weight)
    weights = TrustModel(0.0, **dict(zip(names, model.coef_[0].tolist(), strict=True)))
    english = [one.evidence for one in known if one.group == "English"]
    sums = sorted(_sum(evidence, weights) for evidence in english)
    return replace(weights, bias=-sums[int(lost * len(sums))])


def trust_table(known: Sequence[LabelledEvidence]) -> str:
    """Words kept of each group, both halves of the recordings judged by weights of the other; and the weights."""
    two = {"asked which language": (ASKED, LOST_ASKED), "confidence alone": (ALONE, LOST_ALONE)}
    rows, lines = [], []
    for name, (shape, lost) in two.items():
        seen = known if shape is ASKED else [_alone(one) for one in known]
        halves = [[one for one in seen if _half(one) == half] for half in (0, 1)]
        kept = {
            one: _sum(one.evidence, weights) >= 0.0
            for half in (0, 1)
            for weights in [fitted(halves[1 - half], shape, lost)]
            for one in halves[half]
        }
        for group in sorted({one.group for one in seen}):
            answers = [kept[one] for one in seen if one.group == group]
            shipped = [judge(one.evidence) == "none" for one in seen if one.group == group]
            rows.append(
                (
                    name,
                    group,
                    str(share(sum(answers), len(answers))),
                    str(share(sum(shipped), len(shipped))),
                    str(len(answers)),
                )
            )
        whole = fitted(seen, shape, lost)
        lines.append(
            f"{name}: " + ", ".join(f"{field} {getattr(whole, field):.2f}" for field in ("bias", *_names(shape)))
        )
    table = markdown(("evidence", "segments of", "words kept, cross-fitted", "with the shipped weights", "n"), rows)
    return "\n".join([table, *lines]) + "\n"


def _alone(one: LabelledEvidence) -> LabelledEvidence:
    return replace(one, evidence=replace(one.evidence, languages=None))


def _half(one: LabelledEvidence) -> int:
    return sha256(f"{one.group}/{one.name}".encode()).digest()[0] % 2


def _names(shape: TrustModel) -> list[str]:
    """The evidence that these weights weigh."""
    return [field.name for field in fields(shape) if field.name != "bias" and getattr(shape, field.name) != 0.0]


def _row(evidence: Evidence, names: Sequence[str]) -> list[float]:
    """Each piece of evidence as the weights see it."""
    nothing = dict.fromkeys((field.name for field in fields(TrustModel)), 0.0)
    return [TrustModel(**(nothing | {name: 1.0}))(evidence) for name in names]


def _hopeless(evidence: Evidence) -> bool:
    """No weights can make these words count."""
    certain = replace(evidence, avg_logprob=0.0, speech=1.0)
    return judge(certain) != "none"


def _sum(evidence: Evidence, weights: TrustModel) -> float:
    """What decides: the weights' sum, but for words that are sure or cannot count."""
    if _hopeless(evidence):
        return float("-inf")
    return float("inf") if evidence.sure else weights(evidence)


def groups_of(
    clips: Mapping[str, Sequence[Clip]],
    noises: Sequence[Noise],
    evidence_reader: EvidenceReader,
    seed: int,
    tick: Callable[[], None],
) -> list[LabelledEvidence]:
    """All that is known; whoever speaks English as a second language is judged alone: whether it is English is open."""
    known = known_of_noises(noises, seed, evidence_reader, tick)
    for group, some in clips.items():
        said = None if group == SECOND else group != "Polish"
        known += known_of_clips(group, some, said, evidence_reader, tick)
    return known
