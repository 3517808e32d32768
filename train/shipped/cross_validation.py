"""The audio part from open corpora: models that did not hear who speaks, the one that ships, every figure of both."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sadstream.base.errors import DataError
from sadstream.base.progress import progress
from sadstream.scoring.fusion.header import WhisperStatesConfig
from sadstream.scoring.fusion.network import Fusion
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.recognizer import Whisper
from train.corpora.clips import CALM, read_clips
from train.features.cache import Array, Cache, key_of
from train.features.states import CLEAN, SegmentStates, StateCache, read_noises
from train.metrics.calibration import PlattScaling, fit_scaling, probability
from train.metrics.detection import threshold_at
from train.shipped.audio_part import fit_audio, probe, score_audio, shape
from train.shipped.config import OpenConfig
from train.shipped.export import AudioPart
from train.shipped.scorecard import (
    Figure,
    ScoredClips,
    calibration_figures,
    corpus_figure,
    ranking_figures,
    rates_table,
    talk_rates_table,
    voice_figures,
)
from train.shipped.speaker_folds import apart, balanced, grouped_folds
from train.training.launch import ProcessShare

TARGETS = {  # AUC against neutral and calm, true positives at 5 % false positives
    "cremad": (">= .91", ">= .65"),
    "nemo": (">= .91", ">= .65"),
    "ravdess": (">= .80", ">= .35"),
}

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class OpenSpeech:
    """The segments of all corpora with their states, and what models of them are made with."""

    heard: SegmentStates
    clean: Rows  # the segments without augmentation, on which everything is measured
    states: StateCache
    audio: WhisperStatesConfig
    config: OpenConfig
    cache: Cache

    @property
    def seconds(self) -> Floats:
        """(n,) lengths of the clean segments."""
        return self.heard.seconds[self.clean]

    def rows(self, wanted: Sequence[bool]) -> Rows:
        """The rows, augmented ones too, for which (segments,) it says so."""
        return np.flatnonzero(wanted)


@dataclass(frozen=True, slots=True, eq=False)
class AudioResult:
    """The audio part as shipped, its threshold, and everything measured of it."""

    part: AudioPart
    threshold: float
    figures: tuple[Figure, ...]
    tables: tuple[str, ...]


def hear_share(data: Path, config: OpenConfig, cache: Cache, share: ProcessShare) -> None:
    """This process's part of all that a checkpoint hears, by speaker, into the cache."""
    states, _ = _encoder(data, config, cache)
    clips = {name: read_clips(data / name) for name in ("speech", "english")}
    parts = [(name, speaker) for name, some in clips.items() for speaker in sorted({clip.speaker for clip in some})]
    for name, speaker in share.of(parts):
        theirs = [clip for clip in clips[name] if clip.speaker == speaker]
        for some, views in (
            ([clip for clip in theirs if name == "speech" and config.fits(clip)], config.views),
            ([clip for clip in theirs if name != "speech" or not config.fits(clip)], 1),
        ):
            if some:
                states(some, views)


def read_speech(data: Path, config: OpenConfig, cache: Cache) -> OpenSpeech:
    """The clips of DATA/speech through the encoder, in every view; what was heard before comes from the cache."""
    clips = [clip for clip in read_clips(data / "speech") if config.fits(clip)]
    missing = set(config.corpora) - {clip.corpus for clip in clips}
    if missing:
        raise DataError(
            f"{data / 'speech' / 'manifest.csv'}: no clips of {sorted(missing)[0]}, which the recipe asks for"
        )
    states, audio = _encoder(data, config, cache)
    heard = states(clips, config.views)
    if config.labels == "heard":
        heard = replace(heard, clips=tuple(clip.as_heard for clip in heard.clips))
    return OpenSpeech(heard, np.flatnonzero(heard.view == CLEAN), states, audio, config, cache)


def _encoder(data: Path, config: OpenConfig, cache: Cache) -> tuple[StateCache, WhisperStatesConfig]:
    front = config.front_end
    whisper = Whisper(locate(front.model, "whisper"), "cpu", "en")
    audio = WhisperStatesConfig(model=front.model, identity=whisper.identity, layers=front.layers, pool=front.pool)
    noises = read_noises(data / "noise", config.noise_licences) if config.views > 1 else []
    return StateCache(cache, whisper, audio, config.augment, noises), audio


def every_fit(speech: OpenSpeech) -> list[Rows]:
    """What each model of a checkpoint and its figures is fitted to, the one that ships first."""
    return [
        _train(speech),
        *(_not_spoken_by(speech, speakers) for speakers in _folds(speech)),
        *(_without(speech, corpus) for corpus in _left_out_corpora(speech)),
    ]


def ship(speech: OpenSpeech, talk: SegmentStates) -> AudioResult:
    """The part that ships and its figures; nothing measured can reach what is fitted. In `talk` nobody is sad."""
    config, clips = speech.config, speech.heard.clips
    raw = out_of_fold(speech)
    scored = cross_validated(speech, raw)
    # Scaling and threshold, three numbers, come from every speaker's out-of-fold scores: those of 22 speakers alone
    # gave a threshold that 9 percent of all 27's neutral and calm segments reached. The weights are train's.
    scaling = _scaling(speech, speech.clean, raw)
    calm = [i for i in speech.clean if clips[i].emotion in CALM]
    threshold = threshold_at(probability(scaling(raw[calm]), config.prior), config.false_positives)
    part = AudioPart(fitted(speech, _train(speech)), speech.audio, scaling)
    speakers = len({clip.speaker for clip in clips})
    protocol = f"{config.folds}-fold cross-validation over {speakers} speakers, pooled, bootstrap over speakers"
    corpora = sorted({clip.corpus for clip in clips})
    targets = {corpus: TARGETS.get(corpus, ("", "")) for corpus in corpora}
    figures = voice_figures(scored, targets, protocol, config.resamples)
    if len(corpora) > 1:
        figures += [figure for one in left_out(speech, raw) for figure in _left_out_figures(speech, one)]
        figures += [corpus_figure(scored, corpus, protocol, config.resamples) for corpus in corpora]
    figures += calibration_figures(scored, protocol, config.resamples)
    return AudioResult(part, threshold, tuple(figures), tuple(_tables(speech, talk, scored, part, threshold)))


def out_of_fold(speech: OpenSpeech) -> Floats:
    """(segments,) raw scores of models that did not hear the speaker; NaN for augmented views."""
    clips = speech.heard.clips
    raw = np.full(len(clips), np.nan)
    with progress("cross-validation", speech.config.folds, "folds") as advance:
        for speakers in _folds(speech):
            test = _spoken_by(speech, speakers)
            train = _not_spoken_by(speech, speakers)
            apart([clips[i] for i in train], [clips[i] for i in test])
            raw[test] = score_audio(fitted(speech, train), speech.heard, test)
            advance()
    return raw


def cross_validated(speech: OpenSpeech, raw: Floats) -> ScoredClips:
    """Every clean segment with the ratio of a model and a calibration that did not hear its speaker.

    `raw`: the scores of `out_of_fold`.
    """
    llrs = np.full(raw.size, np.nan)
    for speakers in _folds(speech):
        test = _spoken_by(speech, speakers)
        rest = np.setdiff1d(speech.clean, test)
        llrs[test] = _scaling(speech, rest, raw).uncapped(raw[test])
    clips = tuple(speech.heard.clips[i] for i in speech.clean)
    return ScoredClips(clips, llrs[speech.clean], speech.config.audio_cap)


def fitted(speech: OpenSpeech, rows: Rows) -> Fusion:
    """The model of these rows, from the cache if it was fitted before."""
    config, heard = speech.config, speech.heard

    def weights() -> dict[str, Array]:
        model = fit_audio(heard, rows, config.voice, config.seed)
        return {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    clips = "\n".join(f"{heard.clips[i].speaker} {heard.clips[i].path.name} {heard.clips[i].sad}" for i in rows)
    settings = (config.voice, speech.audio, config.augment)
    key = key_of(
        hashlib.sha256(rows.tobytes() + heard.frames[rows].tobytes() + clips.encode()).digest(),
        "\n".join(["fit", *(part.model_dump_json() for part in settings), f"{config.seed} {config.views}"]),
    )
    fusion = Fusion(shape(heard, config.voice).model_copy(update={"statistics": config.voice.statistics > 0.0}))
    fusion.load_state_dict({name: torch.tensor(array) for name, array in speech.cache.arrays(key, weights).items()})
    return fusion.eval()


def _folds(speech: OpenSpeech) -> list[frozenset[str]]:
    return grouped_folds(speech.heard.clips, speech.config.folds, speech.config.seed)


def _train(speech: OpenSpeech) -> Rows:
    return speech.rows([clip.split == "train" for clip in speech.heard.clips])


def _not_spoken_by(speech: OpenSpeech, speakers: frozenset[str]) -> Rows:
    return speech.rows([clip.speaker not in speakers for clip in speech.heard.clips])


def _without(speech: OpenSpeech, corpus: str) -> Rows:
    return speech.rows([clip.corpus != corpus for clip in speech.heard.clips])


def _left_out_corpora(speech: OpenSpeech) -> list[str]:
    """All in turn; none where there is one alone."""
    corpora = sorted({clip.corpus for clip in speech.heard.clips})
    return corpora if len(corpora) > 1 else []


def _spoken_by(speech: OpenSpeech, speakers: frozenset[str]) -> Rows:
    """Their clean segments."""
    return np.array([i for i in speech.clean if speech.heard.clips[i].speaker in speakers], dtype=np.int64)


def _scaling(speech: OpenSpeech, rows: Rows, raw: Floats) -> PlattScaling:
    clips = [speech.heard.clips[i] for i in rows]
    labels = np.array([clip.sad for clip in clips])
    weights = balanced(clips, speech.config.voice.calm_share)
    return fit_scaling(labels, raw[rows], weights, speech.config.audio_cap)


def never_heard(part: AudioPart, aside: SegmentStates, resamples: int) -> list[Figure]:
    """How the part ranks corpora of which nothing reached it, because the recipe leaves them aside."""
    figures = []
    for corpus in sorted({clip.corpus for clip in aside.clips}):
        scored = _scored(aside, [i for i, clip in enumerate(aside.clips) if clip.corpus == corpus], part)
        protocol = f"exported weights, all speakers of {corpus}, of which nothing reached them, bootstrap over speakers"
        figures += ranking_figures(scored, f"{corpus}, never heard", ("", "", ""), protocol, resamples)
    return figures


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """A corpus that nothing was fitted to: its segments by a model of the others, and the others' own out of fold."""

    corpus: str
    strangers: ScoredClips
    seconds: Floats  # of the strangers' segments
    others: ScoredClips


def left_out(speech: OpenSpeech, raw: Floats) -> list[LeftOut]:
    """Every corpus in turn; none where there is one alone. `raw`: the scores of `out_of_fold`."""
    clips, cap = speech.heard.clips, speech.config.audio_cap
    found = []
    for corpus in _left_out_corpora(speech):
        there = np.array([i for i in speech.clean if clips[i].corpus == corpus], dtype=np.int64)
        rest = np.setdiff1d(speech.clean, there)
        scaling = _scaling(speech, rest, raw)
        model = fitted(speech, _without(speech, corpus))
        theirs = scaling.uncapped(score_audio(model, speech.heard, there))
        strangers = ScoredClips(tuple(clips[i] for i in there), theirs, cap)
        others = ScoredClips(tuple(clips[i] for i in rest), scaling.uncapped(raw[rest]), cap)
        found.append(LeftOut(corpus, strangers, speech.heard.seconds[there], others))
    return found


def _left_out_figures(speech: OpenSpeech, one: LeftOut) -> list[Figure]:
    """How a model of the other corpora ranks this one, and the plain probe in the same way."""
    clips, config = speech.heard.clips, speech.config
    train = _without(speech, one.corpus)
    there = np.array([i for i in speech.clean if clips[i].corpus == one.corpus], dtype=np.int64)
    found = {
        "": one.strangers.uncapped,
        ", plain probe": score_audio(probe(speech.heard, train, config.voice), speech.heard, there),
    }
    figures = []
    for name, ratios in found.items():
        protocol = f"trained on the other corpora{name}, all speakers of {one.corpus}, bootstrap over speakers"
        target = "" if name else "the plain probe's"
        scored = ScoredClips(one.strangers.clips, ratios)
        figures += ranking_figures(scored, f"{one.corpus} left out{name}", (target, target), protocol, config.resamples)
    return figures


def _tables(
    speech: OpenSpeech, talk: SegmentStates, scored: ScoredClips, part: AudioPart, threshold: float
) -> list[str]:
    """Per speaker, corpus and gender out of fold; dev speakers with the exported weights; ordinary talk."""
    prior = speech.config.prior
    dev = _scored(speech.heard, [i for i in speech.clean if speech.heard.clips[i].split == "dev"], part)
    return [
        f"Threshold {threshold:.4f} at a prior of {prior}. Out of fold:\n",
        rates_table(scored, threshold, prior, lambda clip: clip.corpus, "corpus"),
        rates_table(scored, threshold, prior, lambda clip: f"{clip.corpus} {clip.gender}", "gender"),
        rates_table(scored, threshold, prior, lambda clip: clip.speaker, "speaker"),
        "Dev speakers, exported weights, which never heard them (line and threshold know their scores):\n",
        rates_table(dev, threshold, prior, lambda clip: clip.speaker, "speaker"),
        "Ordinary talk, exported checkpoint, false positives:\n",
        talk_rates_table(_scored(talk, range(len(talk.clips)), part), threshold, prior),
    ]


def _scored(heard: SegmentStates, rows: Sequence[int], part: AudioPart) -> ScoredClips:
    picked = np.asarray(rows, dtype=np.int64)
    llrs = part.scaling.uncapped(score_audio(part.fusion, heard, picked))
    return ScoredClips(tuple(heard.clips[i] for i in picked), llrs, part.scaling.cap)
