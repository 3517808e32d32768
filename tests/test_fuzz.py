"""The short form of `make fuzz`: the same cases each time; and the harness itself finds what it should."""

from pathlib import Path

import pytest
from fuzz import work
from fuzz.__main__ import dealt, report
from fuzz.targets import TARGETS, target
from fuzz.trial import rng_of
from fuzz.work import Piece, findings, tallies, watch

SEED = "the same for ever"
CASES = 1000


def test_nearly_valid_inputs_break_no_rule(tmp_path: Path) -> None:
    watch(dealt(TARGETS, CASES), SEED, tmp_path)

    assert report(tmp_path, SEED, 0.0) == 0, findings(tmp_path)
    assert sum(tally.cases for tally in tallies(tmp_path)) >= CASES
    assert {tally.target for tally in tallies(tmp_path)} == set(TARGETS)


@pytest.mark.parametrize("name", ["configurations", "events", "control"])
def test_a_case_is_the_same_again(name: str, tmp_path: Path) -> None:
    with TARGETS[name].open(tmp_path) as trial:
        one, same, other = (trial.make(rng_of(SEED, name, case)) for case in (7, 7, 8))

    assert one == same != other


def test_what_breaks_a_rule_is_named_and_kept_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "HANG_S", 4.0)
    seed = "86"  # whose first seven cases are one of each kind, and what is fine
    with target("naughty").open(tmp_path) as trial:
        words = [trial.make(rng_of(seed, "naughty", case))[0] for case in range(7)]
    bytearray(b"x") * 400_000_000  # how large we once were is nothing to the processes that we start
    watch([Piece("naughty", 0, 7)], seed, tmp_path)
    found = {one.case: one.where for one in findings(tmp_path)}

    says = {
        b"raise": "KeyError at naughty.py:feed",
        b"hang": "hang over",
        b"grow": "memory",
        b"die": "crash (signal 6)",
    }
    assert set(says) <= set(words)
    assert {case: says[word] for case, word in enumerate(words) if word in says} == {
        case: next((known for known in says.values() if known in where), where) for case, where in found.items()
    }
    assert all((tmp_path / f"naughty-{case}.0").read_bytes() == words[case] for case in found)
    assert sum(tally.cases for tally in tallies(tmp_path)) == 7
    assert report(tmp_path, seed, 0.0) == 1
