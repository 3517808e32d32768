"""Folds and weights: no speaker on both sides, no corpus or class counting more."""

from collections import Counter
from pathlib import Path

import pytest

from sadstream.base.errors import DataError
from train.corpora.clips import Clip
from train.shipped.speaker_folds import apart, balanced, grouped_folds


def clip(corpus: str, speaker: str, emotion: str) -> Clip:
    return Clip(Path(f"{speaker}-{emotion}"), corpus, speaker, "", emotion, int(emotion == "sad"), "train")


CLIPS = [clip("one", f"a{i}", e) for i in range(7) for e in ("sad", "calm", "neutral", "angry", "happy", "fear")]
CLIPS += [clip("two", f"b{i}", e) for i in range(3) for e in ("sad", "neutral", "angry", "angry")]


def test_every_speaker_is_tested_once_and_every_fold_hears_both_corpora() -> None:
    folds = grouped_folds(CLIPS, 3, seed=0)
    tested = Counter(speaker for fold in folds for speaker in fold)

    assert tested == {clip.speaker: 1 for clip in CLIPS}
    assert all(any(s.startswith("a") for s in fold) and any(s.startswith("b") for s in fold) for fold in folds)
    assert folds == grouped_folds(CLIPS, 3, seed=0)


def test_too_few_speakers_for_the_folds_are_refused() -> None:
    with pytest.raises(DataError, match="two: 3 speakers"):
        grouped_folds(CLIPS, 4, seed=0)


def test_a_speaker_on_both_sides_stops_the_run() -> None:
    with pytest.raises(DataError, match="a0 in training and test"):
        apart(CLIPS[:10], CLIPS[5:])
    apart([c for c in CLIPS if c.corpus == "one"], [c for c in CLIPS if c.corpus == "two"])


def test_corpora_count_the_same_and_half_of_each_is_sad() -> None:
    weights = balanced(CLIPS, calm_share=0.4)

    def share(wanted: object) -> float:
        return float(sum(w for w, c in zip(weights, CLIPS, strict=True) if wanted(c)))  # type: ignore[operator]

    assert share(lambda c: True) == pytest.approx(1.0)
    assert share(lambda c: c.corpus == "two") == pytest.approx(0.5)
    assert share(lambda c: c.corpus == "one" and c.sad) == pytest.approx(0.25)
    assert share(lambda c: c.emotion in {"calm", "neutral"}) == pytest.approx(0.2)
