"""Planted leaks and count errors: every one stops the run, with its reason."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tiny_corpus import iemocap_rows, row

from sadstream.base.errors import DataError
from train.corpora.counts import differences, require_whole
from train.corpora.folds import assign, fold_names
from train.corpora.guards import (
    LeakError,
    by_split,
    check_contents,
    check_drawn,
    check_fitted,
    check_manifest,
    check_predictions,
    check_splits,
    fitted,
)
from train.corpora.manifest import Utterance

Rows = list[Utterance]


@pytest.fixture(scope="module")
def corpus() -> Rows:
    return iemocap_rows()


def small() -> Rows:
    """Two speakers and four utterances a session, one of them sad."""
    names = [f"Ses0{s}F_impro0{d}_{g}00{d}" for s in range(1, 6) for d in (1, 2) for g in "FM"]
    return [row(name, "sad" if name.endswith("F001") else "neu") for name in names]


def guard(rows: Sequence[Utterance]) -> None:
    """What every fit, evaluation and report does first."""
    require_whole("iemocap", rows, allow_partial=False)
    check_splits(rows)


def test_the_whole_corpus_passes_every_guard(corpus: Rows) -> None:
    guard(corpus)
    for fold in fold_names(loso=True):
        check_splits(assign(corpus, fold))


def first(rows: Rows, **wanted: object) -> int:
    return next(i for i, r in enumerate(rows) if all(getattr(r, key) == value for key, value in wanted.items()))


def changed(rows: Rows, at: int, **changes: object) -> Rows:
    return [*rows[:at], replace(rows[at], **changes), *rows[at + 1 :]]  # type: ignore[arg-type]


def whole_session_renamed(rows: Rows) -> Rows:
    return [replace(r, session=4) if r.session == 3 else r for r in rows]


def thesis_table_1(rows: Rows) -> Rows:
    """762 other utterances of session 4 in train, as the printed table has it."""
    moved = [i for i, r in enumerate(rows) if r.session == 4 and not r.sad][:762]
    return [replace(r, split="train") if i in set(moved) else r for i, r in enumerate(rows)]


def side_taken_for_speaker(rows: Rows) -> Rows:
    """The letter after the session is the side with the markers; a classic loader bug."""
    return [replace(r, speaker=r.utterance[:6], gender=r.utterance[5]) for r in rows]


PLANTED: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "an utterance lost": (lambda r: r[:-1], "utterances +10,039 +10,038"),
    "an utterance twice": (lambda r: [*r, r[0]], "utterances +10,039 +10,040"),
    "a recorder's file taken for an utterance": (
        lambda r: [*r, row("Ses01F_impro01_F99999", "neu")], "label neu +1,708 +1,709",
    ),
    "sad called neutral": (lambda r: changed(r, first(r, sad=1), label="neu", sad=0), "label sad +1,084 +1,083"),
    "excited merged with happy": (
        lambda r: [replace(x, label="hap") if x.label == "exc" else x for x in r], "label hap +595 +1,636",
    ),
    "no agreement left out": (lambda r: [x for x in r if x.label != "xxx"], "label xxx +2,507 +0"),
    "a label that the corpus does not have": (
        lambda r: changed(r, first(r, label="oth"), label="bored"), "label bored .unknown. +0 +1",
    ),
    "improvised only": (lambda r: [x for x in r if "impro" in x.dialogue], "scripted +5,255 +0"),
    "half the corpus": (lambda r: r[::2], "utterances +10,039 +5,020"),
    "a session under another's number": (whole_session_renamed, "session 3 +2,136 +0"),
    "women called men": (lambda r: changed(r, first(r, gender="F"), gender="M"), "spoken by M +5,098 +5,099"),
    "the marked side taken for the speaker": (side_taken_for_speaker, "speakers +10 +5"),
    "sad without the label": (lambda r: changed(r, first(r, label="neu"), sad=1), "sad +1,084 +1,085"),
    "label and flag swapped between two": (
        lambda r: changed(changed(r, first(r, label="xxx"), sad=1), first(r, label="sad"), sad=0),
        "'Ses01F', 'F', 1, 0.: expected .'Ses01F', 'F', 1, 1.",
    ),
    "the split that Table 1 prints": (thesis_table_1, "speaker Ses04. stands in train and in validation"),
    "one test utterance in train": (
        lambda r: changed(r, first(r, session=5), split="train"), "stands in train and in test",
    ),
    "one train utterance in validation": (
        lambda r: changed(r, first(r, session=1), split="validation"), "stands in train and in validation",
    ),
    "an empty test set": (
        lambda r: [replace(x, split="train") if x.split == "test" else x for x in r], "test: no utterance",
    ),
    "a random split": (
        lambda r: [replace(x, split=("train", "validation", "test")[i % 3]) for i, x in enumerate(r)], "stands in",
    ),
    "a path used twice": (
        lambda r: changed(r, first(r, session=5), path=r[0].path), "path .* stands in train and in test",
    ),
    "a dialogue in two splits": (
        lambda r: changed(r, first(r, dialogue="Ses05F_script01"), dialogue="Ses01F_script01"),
        "dialogue .* stands in train and in test",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_in_the_manifest_is_caught(corpus: Rows, name: str) -> None:
    plant, reason = PLANTED[name]

    with pytest.raises(DataError, match=f"(?s){reason}"):
        guard(plant(list(corpus)))


def test_a_validation_set_without_a_sad_utterance_is_refused() -> None:
    rows = [replace(r, label="neu", sad=0) if r.split == "validation" else r for r in small()]

    with pytest.raises(DataError, match="validation: 0 of 4 utterances are sad"):
        check_splits(rows)


def test_the_same_recording_under_two_names_is_a_leak() -> None:
    rows = small()
    digests = [r.utterance for r in rows]
    check_contents(rows, digests)
    digests[-1] = digests[0]

    with pytest.raises(LeakError, match="is the same recording as"):
        check_contents(rows, digests)


def test_oversampling_from_validation_is_a_leak() -> None:
    rows = small()
    check_drawn(rows, [i for i, r in enumerate(rows) if r.split == "train"])

    with pytest.raises(LeakError, match="is drawn for training but stands in validation"):
        check_drawn(rows, [0, first(rows, split="validation")])


def honest(rows: Rows) -> list[object]:
    parts = by_split(rows)
    return [
        fitted("weights", "train", parts["train"]),
        fitted("epoch", "validation", parts["validation"]),
        fitted("threshold", "validation", parts["validation"]),
        fitted("calibration", "validation", parts["validation"]),
        fitted("text_mean", "train", parts["train"]),
    ]


@pytest.mark.parametrize("what", ["weights", "epoch", "threshold", "calibration", "text_mean", "stopping"])
def test_nothing_may_be_fitted_on_test_under_strict(what: str) -> None:
    rows = small()
    check_fitted("strict", honest(rows), rows)  # type: ignore[arg-type]
    records = [r for r in honest(rows) if r.what != what]  # type: ignore[attr-defined]
    records.append(fitted(what, "test", by_split(rows)["test"]))

    with pytest.raises(LeakError, match=f"{what}: fitted on test"):
        check_fitted("strict", records, rows)  # type: ignore[arg-type]


def test_the_thesis_protocol_may_choose_on_test_but_not_learn() -> None:
    rows = small()
    test = by_split(rows)["test"]
    records = [r for r in honest(rows) if r.what not in ("epoch", "threshold")]  # type: ignore[attr-defined]
    chosen = [*records, fitted("epoch", "test", test), fitted("threshold", "test", test)]
    check_fitted("thesis", chosen, rows)  # type: ignore[arg-type]

    with pytest.raises(LeakError, match="weights: fitted on test"):
        check_fitted("thesis", [fitted("weights", "test", test), *chosen], rows)  # type: ignore[list-item]


@pytest.mark.parametrize("what", ["threshold", "calibration", "weights"])
def test_a_false_word_about_what_was_seen_is_caught(what: str) -> None:
    """Said: validation (or train). Seen: some of the test set too."""
    rows = small()
    parts = by_split(rows)
    split = "train" if what == "weights" else "validation"
    records = [r for r in honest(rows) if r.what != what]  # type: ignore[attr-defined]
    records.append(fitted(what, split, [*parts[split], parts["test"][0]]))  # type: ignore[arg-type]

    with pytest.raises(LeakError, match=f"{what}: says that it saw {split}, but saw other utterances"):
        check_fitted("strict", records, rows)  # type: ignore[arg-type]


def test_a_choice_that_nobody_accounts_for_is_refused() -> None:
    rows = small()

    with pytest.raises(LeakError, match="threshold: nothing says on what it was fitted"):
        check_fitted("strict", [r for r in honest(rows) if r.what != "threshold"], rows)  # type: ignore[attr-defined,misc]


def test_a_run_is_not_read_against_another_manifest() -> None:
    with pytest.raises(LeakError, match="choose another --out, and fit again"):
        check_manifest("a" * 64, "b" * 64, "runs/x")


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (lambda n, y: (n[1:], y[1:]), "1 utterances missing or foreign"),
        (lambda n, y: ([*n, n[0]], [*y, y[0]]), "predicted twice"),
        (lambda n, y: (["Ses01F_impro01_F001", *n[1:]], y), "2 utterances missing or foreign"),
        (lambda n, y: (n, [1 - y[0], *y[1:]]), "is labelled"),
    ],
    ids=["one missing", "one twice", "one of train", "a label changed"],
)
def test_predictions_are_exactly_the_test_utterances(plant: Callable, reason: str) -> None:  # type: ignore[type-arg]
    rows = by_split(small())["test"]
    names, labels = [r.utterance for r in rows], [r.sad for r in rows]
    check_predictions(rows, names, labels, "predictions.csv")

    with pytest.raises(LeakError, match=reason):
        check_predictions(rows, *plant(names, labels), "predictions.csv")


def test_the_differences_name_count_expectation_and_find(corpus: Rows) -> None:
    assert differences("iemocap", corpus) == ()
    assert next(map(str, differences("iemocap", corpus[:-1]))) == "utterances: expected 10,039, found 10,038"
