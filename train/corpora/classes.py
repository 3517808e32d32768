"""Which labels of a corpus are which emotions: IEMOCAP's four of the literature, or what somebody asks for."""

import re
from collections import Counter
from collections.abc import Sequence

from sadstream.base.errors import UsageError
from sadstream.scoring.fusion.header import MOST_EMOTIONS, EmotionName, Record
from train.corpora.manifest import Utterance

ALL = "all"
NONE = -1  # the number of an utterance whose label is none of the emotions
LEAST = 20  # utterances to train with; of fewer nothing is learnt
NOT_AGREED = frozenset({"xxx", "oth", "other", "unknown", ""})  # where no emotion is said
NAME = re.compile(r"[a-z-]{1,32}")
HOW = "expected `all`, or such as angry=ang,happy=hap+exc,neutral=neu,sad=sad"


class EmotionClass(Record):
    """An emotion and the labels that are counted as it."""

    name: EmotionName
    labels: tuple[str, ...]


def _classes(written: str) -> tuple[EmotionClass, ...]:
    parts = [one.partition("=") for one in written.split(",")]
    return tuple(EmotionClass(name=name, labels=tuple((labels or name).split("+"))) for name, _, labels in parts)


# 5,531 utterances: excitement counts as happiness, the rest is left out, as in most published tables.
FOUR = _classes("angry=ang,happy=hap+exc,neutral=neu,sad=sad")
EIGHT = _classes("angry=ang,excited=exc,fearful=fea,frustrated=fru,happy=hap,neutral=neu,sad=sad,surprised=sur")


def classes_of(asked: str | None, rows: Sequence[Utterance]) -> tuple[EmotionClass, ...]:
    """The emotions to be learned: as asked, else IEMOCAP's four, else every label with enough utterances to train.

    UsageError for what names no emotions, or labels that the corpus does not have.
    """
    if rows[0].corpus == "iemocap":
        if asked in (None, ALL):
            return FOUR if asked is None else EIGHT
    elif asked in (None, ALL):
        return _found(rows)
    assert asked is not None
    return _asked(asked, {row.label for row in rows})


def _found(rows: Sequence[Utterance]) -> tuple[EmotionClass, ...]:
    counted = Counter(row.label for row in rows if row.split == "train" and row.label.lower() not in NOT_AGREED)
    labels: dict[str, list[str]] = {}
    for label in sorted(label for label, count in counted.items() if count >= LEAST):
        labels.setdefault(re.sub(r"[^a-z]+", "-", label.lower()).strip("-")[:32] or "label", []).append(label)
    if not 2 <= len(labels) <= MOST_EMOTIONS:
        raise UsageError(
            f"--target emotions: {len(labels)} labels with at least {LEAST} utterances to train with: expected 2 to "
            f"{MOST_EMOTIONS}; name them with --classes, such as angry=anger+rage,sad=sadness"
        )
    return tuple(EmotionClass(name=name, labels=tuple(found)) for name, found in labels.items())


def _asked(asked: str, labels: set[str]) -> tuple[EmotionClass, ...]:
    names = [one.partition("=")[0] for one in asked.split(",")]
    bad = next((name for name in names if not NAME.fullmatch(name)), None)
    if bad is not None or len(set(names)) < len(names) or not 2 <= len(names) <= MOST_EMOTIONS:
        raise UsageError(f"--classes {asked}: {HOW}; each name once, of small letters and dashes")
    classes = _classes(asked)
    wanted = [label for one in classes for label in one.labels]
    missing = next((label for label in wanted if label not in labels), None)
    if missing is not None or len(set(wanted)) < len(wanted):
        why = f"no utterance is labelled {missing!r}" if missing is not None else "a label stands in two classes"
        raise UsageError(f"--classes {asked}: {why}; labels here: {', '.join(sorted(labels)[:30])}")
    return classes
