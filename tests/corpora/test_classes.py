"""Which labels are which emotions."""

import pytest
from tiny_corpus import iemocap_rows, row

from sadstream.base.errors import UsageError
from train.corpora.classes import EIGHT, FOUR, classes_of


def own(*labels: str, each: int = 20) -> list:  # type: ignore[type-arg]
    return [row(f"Ses01F_impro01_F{i:03d}", label, corpus="own") for label in labels for i in range(each)]


def test_iemocaps_four_are_the_5531_utterances_of_published_tables() -> None:
    rows = iemocap_rows()
    labels = {label for one in classes_of(None, rows) for label in one.labels}

    assert classes_of(None, rows) == FOUR
    assert sum(row.label in labels for row in rows) == 5531
    assert classes_of("all", rows) == EIGHT


def test_of_another_corpus_every_label_with_enough_utterances_is_one() -> None:
    rows = [*own("Angry", "fear/disgust", "sad", "unknown"), *own("rare", each=19)]

    assert [(one.name, one.labels) for one in classes_of(None, rows)] == [
        ("angry", ("Angry",)),
        ("fear-disgust", ("fear/disgust",)),
        ("sad", ("sad",)),
    ]


def test_classes_are_what_was_asked_for() -> None:
    found = classes_of("upset=anger+rage,sad", own("anger", "rage", "sad"))

    assert [(one.name, one.labels) for one in found] == [("upset", ("anger", "rage")), ("sad", ("sad",))]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("angry=ang,sad=nobody", "no utterance is labelled 'nobody'"),
        ("angry=ang,sad=ang", "a label stands in two classes"),
        ("sad", "expected `all`"),
        ("Sad=sad,b=ang", "expected `all`"),
        ("sad=sad,sad=ang", "expected `all`"),
        ("", "expected `all`"),
    ],
)
def test_what_names_no_emotions_is_one_line(asked: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        classes_of(asked, own("ang", "sad"))


def test_one_label_alone_is_no_choice() -> None:
    with pytest.raises(UsageError, match="1 labels with at least 20"):
        classes_of(None, own("sad"))
