"""Which utterances train, validate and test: the manifest's own split, or a fold that tests other speakers."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from sadstream.base.errors import DataError
from train.corpora.manifest import SPLITS, Utterance

FIXED = "fixed"
SESSIONS = 5
SHARE = 0.15  # of speakers to validate, and as many to test, where no split is given
BY_SPEAKER = re.compile(r"(\d{1,3})of(\d{1,3})")
LEAST_FOLDS = 3  # one tests, one validates, one trains
EXPECTED = f"{FIXED}, s1 to s{SESSIONS} (iemocap's sessions), or KofN such as 1of5 (the first of five parts by speaker)"


def fold_names(loso: bool) -> tuple[str, ...]:
    """`fixed`, or `s1` to `s5` by the session that is tested."""
    return tuple(f"s{session}" for session in range(1, SESSIONS + 1)) if loso else (FIXED,)


def crossing(rows: Sequence[Utterance], loso: bool, count: int) -> tuple[str, ...]:
    """The folds of a cross-validation: a session left out at a time, or a speaker where there are none; `count` parts.

    DataError where this corpus cannot have so many.
    """
    alone = len(units(rows))
    names = list(fold_names(loso=True)) if loso and _has_sessions(rows) else parts(alone) if loso else []
    names += [name for name in parts(count) if name not in names] if count else []
    if names:
        assign(rows, names[0])
    return tuple(names)


def parts(count: int) -> list[str]:
    """`1ofN` to `NofN`."""
    return [f"{number}of{count}" for number in range(1, count + 1)]


def _has_sessions(rows: Sequence[Utterance]) -> bool:
    return {row.session for row in rows} == set(range(1, SESSIONS + 1))


def assign(rows: Sequence[Utterance], fold: str) -> tuple[Utterance, ...]:
    """The rows with the split of this fold.

    `s3` tests session 3, validates on the session before it (5 before 1) and trains on the other three; `3of5` does
    the same with the third of five parts of the speakers. No speaker stands in two splits. DataError for a fold that
    this corpus cannot have.
    """
    if fold == FIXED:
        return tuple(rows)
    if found := BY_SPEAKER.fullmatch(fold):
        return _part(rows, int(found[1]), int(found[2]))
    if fold not in fold_names(loso=True):
        raise DataError(f"fold {fold!r}: expected {EXPECTED}")
    test = int(fold[1:])
    validation = test - 1 or SESSIONS
    if any(row.session == 0 for row in rows):
        raise DataError(
            f"fold {fold}: expected a corpus with sessions 1 to {SESSIONS}, such as iemocap; this one has none: "
            f"use KofN by speaker, such as 1of{min(SESSIONS, max(LEAST_FOLDS, len({r.speaker for r in rows})))}"
        )
    names = {test: "test", validation: "validation"}
    return tuple(replace(row, split=names.get(row.session, "train")) for row in rows)


def advice(rows: Sequence[Utterance]) -> str:
    """How more speakers of this corpus can be tested than its own split does; nothing where they cannot."""
    if rows[0].corpus == "iemocap":
        return "`--loso` tests all ten"
    count = min(SESSIONS, len(units(rows)))
    if count < LEAST_FOLDS:
        return ""
    return f"`fit --folds {count}` (or `reproduce` with it) tests all {len({row.speaker for row in rows})} speakers"


def fold_count(fold: str) -> int:
    """Of how many a fold is one; 0 for `fixed` and a session."""
    found = BY_SPEAKER.fullmatch(fold)
    return int(found[2]) if found else 0


def _part(rows: Sequence[Utterance], number: int, count: int) -> tuple[Utterance, ...]:
    if not 1 <= number <= count or count < LEAST_FOLDS:
        raise DataError(f"fold {number}of{count}: expected K from 1 to N, and N of at least {LEAST_FOLDS}")
    groups = units(rows)
    if len(groups) < count:
        raise DataError(
            f"fold {number}of{count}: {_found(rows)}: expected at least {count} speakers (or groups of them) with both "
            f"sad and other utterances; at most {len(groups)} folds are possible"
        )
    part_of = {
        speaker: at % count
        for some in (groups, _rest(rows, groups))
        for at, unit in enumerate(some)
        for speaker in unit
    }
    names = {number - 1: "test", (number - 2) % count: "validation"}
    return tuple(replace(row, split=names.get(part_of[row.speaker], "train")) for row in rows)


def units(rows: Sequence[Utterance]) -> list[tuple[str, ...]]:
    """The least groups of speakers that hold both classes, in the order of a hash of their names.

    Who speaks in one dialogue stays together. Such a company (mostly a speaker alone) with sad and other utterances is
    a group; of the rest a sad one and another make a pair, and those that find no partner are in none.
    """
    said: dict[tuple[str, ...], set[int]] = {}
    company_of = {speaker: company for company in _companies(rows) for speaker in company}
    for row in rows:
        said.setdefault(company_of[row.speaker], set()).add(row.sad)
    names = sorted(said, key=_first)
    mixed = [name for name in names if len(said[name]) == 2]
    sad, other = ([name for name in names if said[name] == {kind}] for kind in (1, 0))
    return sorted([*mixed, *(one + two for one, two in zip(sad, other, strict=False))], key=_first)


def _companies(rows: Sequence[Utterance]) -> list[tuple[str, ...]]:
    """Speakers who share a dialogue, or who share one with somebody who does; in the order of a hash."""
    leader: dict[str, str] = {row.speaker: row.speaker for row in rows}

    def led(speaker: str) -> str:
        while leader[speaker] != speaker:
            speaker = leader[speaker]
        return speaker

    first_in: dict[str, str] = {}
    for row in rows:
        if row.dialogue:
            leader[led(row.speaker)] = led(first_in.setdefault(row.dialogue, row.speaker))
    company: dict[str, list[str]] = {}
    for speaker in sorted(leader):
        company.setdefault(led(speaker), []).append(speaker)
    return sorted(map(tuple, company.values()), key=_first)


def _rest(rows: Sequence[Utterance], groups: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The companies that are in none of these groups."""
    there = {speaker for group in groups for speaker in group}
    return [company for company in _companies(rows) if company[0] not in there]


def dealt(rows: Sequence[Utterance], where: str) -> tuple[list[Utterance], str]:
    """The rows with speakers dealt out to the three splits, each with both classes, and who went where.

    Always the same for the same speakers. DataError says how many there are and how many it takes.
    """
    groups = units(rows)
    if len(groups) < len(SPLITS):
        raise DataError(
            f"{where}: no column split, and {_found(rows)}: expected at least {len(SPLITS)} speakers with both sad and "
            "other utterances, one each to train, validate and test; record more of them"
        )
    split_of = _shares(groups, least=1) | _shares(_rest(rows, groups), least=0)
    made = [replace(row, split=split_of[row.speaker]) for row in rows]
    return made, f"no column split: {len(split_of)} speakers dealt by a hash of their names: {_who(made)}"


def _shares(groups: Sequence[tuple[str, ...]], least: int) -> dict[str, str]:
    held = max(least, round(SHARE * len(groups)))
    splits = ["validation"] * held + ["test"] * held
    return {name: splits[at] if at < len(splits) else "train" for at, group in enumerate(groups) for name in group}


def _who(rows: Sequence[Utterance], most: int = 10) -> str:
    parts = []
    for split in SPLITS:
        names = sorted({row.speaker for row in rows if row.split == split})
        more = f" and {len(names) - most} more" if len(names) > most else ""
        parts.append(f"{split} {', '.join(names[:most])}{more}")
    return "; ".join(parts)


def _found(rows: Sequence[Utterance]) -> str:
    speakers = {row.speaker for row in rows}
    both = {row.speaker for row in rows if row.sad} & {row.speaker for row in rows if not row.sad}
    return f"{len(speakers)} speaker{'s' if len(speakers) != 1 else ''}, {len(both)} of them with both"


def _first(company: tuple[str, ...]) -> bytes:
    return hashlib.sha256(company[0].encode()).digest()
