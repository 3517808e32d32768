"""Folds by speaker: everybody is tested once, and whoever talks with somebody goes with them."""

from collections import Counter

import pytest
from tiny_corpus import row

from sadstream.base.errors import DataError
from train.corpora.folds import assign, crossing, parts, units
from train.corpora.guards import check_splits
from train.corpora.manifest import Utterance


def rows(speakers: int, together: int = 1, session: int = 0) -> list[Utterance]:
    """A sad and another utterance of each speaker, whose dialogues hold `together` of them."""
    found = []
    for n in range(speakers):
        for sad in (0, 1):
            name = f"Ses01F_{n}_F{sad}"
            changes = {"corpus": "own", "speaker": f"p{n}", "session": session, "sad": sad, "path": ""}
            found.append(row(name, "x", dialogue=f"d{n // together}", **changes))
    return found


@pytest.mark.parametrize("together", [1, 2])
def test_every_speaker_is_tested_once_and_never_learned_from(together: int) -> None:
    everybody = rows(8, together)
    tested: Counter[str] = Counter()
    for fold in parts(4):
        assigned = assign(everybody, fold)
        check_splits(assigned)
        tested.update({one.speaker for one in assigned if one.split == "test"})

    assert tested == Counter({f"p{n}": 1 for n in range(8)})


def test_who_shares_a_dialogue_with_somebody_who_shares_one_stays_together() -> None:
    chain = [*rows(4), *(row(f"Ses01F_x{n}_F", "x", speaker=f"p{n}", dialogue=f"d{n + 1}", sad=0) for n in range(2))]

    assert {frozenset(unit) for unit in units(chain)} == {frozenset({"p0", "p1", "p2"}), frozenset({"p3"})}


def test_without_sessions_a_speaker_is_left_out_at_a_time() -> None:
    assert crossing(rows(5), loso=True, count=0) == ("1of5", "2of5", "3of5", "4of5", "5of5")


def test_with_sessions_a_session_is_and_folds_by_speaker_come_beside() -> None:
    five = [one for number in range(1, 6) for one in rows(3, session=number)]

    assert crossing(five, loso=True, count=3) == ("s1", "s2", "s3", "s4", "s5", "1of3", "2of3", "3of3")


def test_more_folds_than_groups_are_refused_with_the_number() -> None:
    with pytest.raises(DataError, match="at most 4 folds are possible"):
        crossing(rows(8, together=2), loso=False, count=5)
