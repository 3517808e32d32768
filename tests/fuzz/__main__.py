"""`make fuzz`: mutations of valid inputs, fed to what reads them; ends with 1 where one broke the rules.

No traceback (an error of ours with its line, or a documented answer), no case over 10 s, no growth over 200 MB.
"""

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.targets import TARGETS, target
from fuzz.trial import Target, outcome, overhearing, rng_of
from fuzz.work import Piece, findings, save, tallies, watch, work

CASES = 100_000
PIECE = 2500
SHOWN = 400  # bytes of a part


def main() -> None:
    """Try everything, or one target, or one case of it."""
    asked = _arguments()
    if asked.work or asked.only_save:
        _in_worker(asked)
        return
    if asked.case is not None:
        sys.exit(_one(target(asked.target), asked.seed, asked.case, asked.out))
    chosen = {name: one for name, one in TARGETS.items() if not asked.target or name in asked.target.split(",")}
    if not chosen:
        sys.exit(f"target {asked.target}: expected some of {', '.join(TARGETS)}")
    sys.exit(run(chosen, asked.seed, asked.cases, asked.out, asked.jobs))


def run(chosen: dict[str, Target], seed: str, cases: int, out: Path, jobs: int) -> int:
    """Deal the cases out by share, have them tried, and say what came of it; 1 where something broke the rules."""
    begun = time.monotonic()
    print(f"fuzz: seed {seed}, findings under {out}", flush=True)
    pieces = [part for piece in dealt(chosen, cases) for part in _parts(piece)]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda piece: _say(watch([piece], seed, out), piece, out), pieces))
    return report(out, seed, time.monotonic() - begun)


def dealt(chosen: dict[str, Target], cases: int) -> list[Piece]:
    """So many cases in all, by the targets' shares."""
    shares = sum(one.share for one in chosen.values())
    return [Piece(name, 0, -(-cases * one.share // shares)) for name, one in chosen.items()]


def _parts(piece: Piece) -> list[Piece]:
    """The same in pieces of PIECE cases at most, for as many processes."""
    firsts = range(piece.first, piece.last, PIECE)
    return [Piece(piece.target, first, min(first + PIECE, piece.last)) for first in firsts]


def report(out: Path, seed: str, seconds: float) -> int:
    """One line a target, then what was found, each kind once."""
    rows = defaultdict(lambda: [0, 0, 0, 0.0, 0.0])
    for tally in tallies(out):
        row = rows[tally.target]
        row[0], row[1], row[2], row[3] = (
            row[0] + tally.cases, row[1] + tally.taken, row[2] + tally.refused, row[3] + tally.seconds
        )  # fmt: skip
        row[4] = max(row[4], tally.growth_mb)
    print(f"{'target':14} {'cases':>8} {'taken':>8} {'refused':>8} {'seconds':>8} {'growth, MB':>10}")
    for name, (count, taken, refused, spent, grown) in sorted(rows.items()):
        print(f"{name:14} {count:8} {taken:8} {refused:8} {spent:8.1f} {grown:10.1f}")
    found = findings(out)
    kinds = Counter((one.target, one.where) for one in found)
    for (name, where), count in kinds.most_common():
        first = next(one for one in found if (one.target, one.where) == (name, where))
        print(f"\n{name}: {where}: {count} times, first SEED={seed} TARGET={name} CASE={first.case}")
        print("  " + "\n  ".join(first.said.strip().splitlines()[-6:]))
    total, most = sum(row[0] for row in rows.values()), max((row[4] for row in rows.values()), default=0.0)
    print(
        f"\nfuzz: {total} cases of {len(rows)} targets in {seconds:.0f} s, seed {seed}: "
        f"{len(found)} findings of {len(kinds)} kinds, {most:.0f} MB of growth at most"
    )
    return int(bool(found))


def _say(_: None, piece: Piece, out: Path) -> None:
    broken = sum(one.target == piece.target for one in findings(out))
    print(f"  {piece.target}: {piece.first} to {piece.last}, {broken} findings", flush=True)


def _one(chosen: Target, seed: str, case: int, out: Path) -> int:
    """Make a case again, show it, and say what becomes of it."""
    with tempfile.TemporaryDirectory() as folder, overhearing() as overheard, chosen.open(Path(folder)) as trial:
        parts = trial.make(rng_of(seed, chosen.name, case))
        save(out, chosen.name, case, parts)
        for number, part in enumerate(parts):
            print(f"{out}/{chosen.name}-{case}.{number}, {len(part)} bytes: {part[:SHOWN]!r}")
        came = outcome(trial, parts, overheard)
    print(f"{came.kind} {came.where}\n{came.said}")
    return int(came.kind == "found")


def _in_worker(asked: argparse.Namespace) -> None:
    pieces = [Piece(name, int(first), int(last)) for name, first, last in (p.split(":") for p in asked.work or ())]
    if asked.work:
        work(pieces, asked.seed, asked.out, asked.progress)
        return
    name, first, _ = asked.only_save.split(":")
    with tempfile.TemporaryDirectory() as folder, target(name).open(Path(folder)) as trial:
        save(asked.out, name, int(first), trial.make(rng_of(asked.seed, name, int(first))))


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", default="", help="the same seed, the same cases; default drawn and said")
    parser.add_argument("--cases", type=int, default=CASES, help="in all, dealt out by the targets' shares")
    parser.add_argument("--target", default="", help=f"some of {', '.join(TARGETS)}")
    parser.add_argument("--case", type=int, help="one case of one target again, shown")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="folder for what breaks the rules; default a new one")
    parser.add_argument("--work", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--only-save", help=argparse.SUPPRESS)
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args(given)
    asked.seed = asked.seed or secrets.token_hex(4)
    asked.out = asked.out or Path(tempfile.mkdtemp(prefix="sadstream-fuzz-"))
    asked.out.mkdir(parents=True, exist_ok=True)
    return asked


if __name__ == "__main__":
    main()
