"""How quick the wire is: sadstream's publisher and client beside a bare pyzmq PUB/SUB pair, in turns, in one run.

python bench/wire.py [--seconds 3] [--turns 3] [--json FILE]      some five minutes; each step says that it began

Latency: from `monotonic_s` in the event (before it becomes JSON) to the typed event in the app's hand; bare: from a
stamp in a frame of the same length to the frame in hand. Both ends in processes of their own, 200 messages a second.
Messages a second: bursts of BURST, below every high-water mark, the next when the last was acknowledged; none is lost.
Join: from making the subscription to the first message. Memory: what the publisher grows by for each of 10
subscribers that are frozen (SIGSTOP) while 10,000 events are sent, which are 8 hours at one per 3 s.
One of ten: ten client processes at 200 messages a second; the last is frozen for 12 s (2,400 scores are two hours of
them) or reads as the others do; latency and losses of the nine others, and what the publisher grew by meanwhile.
A step that gets nothing for STEP_S ends the run with one line.
"""

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import zmq
from circumstances import circumstances
from wire_ends import IDLERS, KINDS, RATE_HZ, resident_kib
from wire_table import markdown, table

BURST = 200
BURSTS = 40
JOINS = 60
STALLED_EVENTS = 10_000
NINE = 9
FROZEN_S = 12.0  # over tcp it is cut 10 s after its buffers are full
START_S = 8.0  # for ten processes to start on two cores
STEP_S = 20.0


@contextmanager
def process(*arguments: str, waits: bool = True) -> Iterator[subprocess.Popen[str]]:
    """One end in a process of its own, ready if `waits`, and killed at the end."""
    command = [sys.executable, str(Path(__file__).with_name("wire_ends.py")), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as running:
        try:
            if waits:
                said(running, " ".join(arguments))
            yield running
        finally:
            running.kill()


def said(running: "subprocess.Popen[str]", what: str) -> str:
    """The next line that a process says; ends the run if it says none in STEP_S."""
    assert running.stdout is not None
    line = running.stdout.readline() if zmq.select([running.stdout], [], [], STEP_S)[0] else ""
    if not line:
        sys.exit(f"bench/wire.py: {what}: nothing was said in {STEP_S:g} s")
    return line


def told(running: "subprocess.Popen[str]", count: int) -> tuple[int, int]:
    """Have so many messages sent; the publisher's memory after them, in KiB, and the last one's number."""
    assert running.stdin is not None
    running.stdin.write(f"{count} ")
    running.stdin.flush()
    kib, number = said(running, f"{count} messages").split()
    return int(kib), int(number)


def following(delays: Iterator[tuple[float, int]]) -> tuple[float, int]:
    """The next message; ends the run if none came in time, so that a lost one is told and not waited for."""
    found = next(delays, None)
    if found is None:
        sys.exit(f"bench/wire.py: a message did not come in {STEP_S:g} s")
    return found


def latency(kind: str, endpoint: str, seconds: float) -> list[float]:
    """Delays in ms, without the first quarter of a second."""
    with process(kind, endpoint, "steady"):
        delays = KINDS[kind].received(endpoint, seconds + 0.25)
        found = [1000 * delay_s for delay_s, _ in delays]
        delays.close()
    return found[RATE_HZ // 4 :]


def rate(kind: str, endpoint: str) -> float:
    """Messages a second from end to end, none lost."""
    with process(kind, endpoint, "bursts") as running:
        delays = KINDS[kind].received(endpoint, STEP_S)
        following(delays)  # now the subscription has arrived
        _, last = told(running, 1)
        while following(delays)[1] < last:
            pass
        began = time.monotonic()
        for _ in range(BURSTS):
            assert running.stdin is not None
            running.stdin.write(f"{BURST} ")
            running.stdin.flush()
            for _ in range(BURST):
                following(delays)
        spent = time.monotonic() - began
        delays.close()
    return BURSTS * BURST / spent


def joins(kind: str, endpoint: str) -> list[float]:
    """Milliseconds from subscribing to the first message: ours of an idle daemon, bare of one that always talks."""
    found = []
    with process(kind, endpoint, "idle" if kind == "ours" else "steady"):
        for _ in range(JOINS):
            began = time.monotonic()
            if KINDS[kind].joined(endpoint, STEP_S) is None:
                sys.exit(f"bench/wire.py: {kind}: no answer to a join in {STEP_S:g} s")
            found.append(1000 * (time.monotonic() - began))
    return found


def memory(kind: str, endpoint: str) -> float:
    """KiB that the publisher grows by for a frozen subscriber."""
    grown = []
    for stalled in (False, True):
        with process(kind, endpoint, "flood") as running, process("idlers", endpoint, waits=False) as others:
            if stalled:
                said(others, "ten subscribers")  # the publisher says something until it is told how much
                others.send_signal(signal.SIGSTOP)
            else:
                others.kill()
                others.wait()
                time.sleep(0.2)
            before, _ = told(running, 1000)
            after, _ = told(running, STALLED_EVENTS)
            grown.append(after - before)
    return max(0.0, (grown[1] - grown[0]) / IDLERS)


def one_of_ten(endpoint: str, freezes: bool) -> dict[str, Any]:
    """Delays in ms and losses of nine listeners, and what the publisher grew by, while the tenth reads or is frozen."""
    with ExitStack() as stack:
        publisher = stack.enter_context(process("ours", endpoint, "steady"))
        begin_s = time.monotonic() + START_S
        until_s = begin_s + FROZEN_S
        listen = ("listen", "ours", endpoint, str(until_s))
        ten = [stack.enter_context(process(*listen, waits=False)) for _ in range(NINE + 1)]
        for number, one in enumerate(ten):
            said(one, f"listener {number}")
        if time.monotonic() > begin_s:
            sys.exit(f"bench/wire.py: ten listeners were not ready in {START_S:g} s")
        time.sleep(begin_s - time.monotonic())
        before_kib = resident_kib(publisher.pid)
        if freezes:
            ten[-1].send_signal(signal.SIGSTOP)
        time.sleep(max(0.0, until_s - 0.2 - time.monotonic()))
        after_kib = resident_kib(publisher.pid)
        logs = [[m for m in json.loads(said(one, "a listener's log")) if m[0] >= begin_s] for one in ten[:NINE]]
    lost = sum(log[-1][2] - log[0][2] + 1 - len(log) for log in logs)
    return {
        "delays_ms": [m[1] for log in logs for m in log],
        "lost": lost,
        "kib": after_kib,
        "grown": after_kib - before_kib,
    }


def spread(values: list[float], digits: int = 3) -> dict[str, Any]:
    """The median of the turns, the lowest and the highest."""
    low, high = round(min(values), digits), round(max(values), digits)
    return {"median": round(statistics.median(values), digits), "lowest": low, "highest": high}


def quantiles(turns: list[list[float]]) -> dict[str, Any]:
    """p50 and p99 of each turn as a spread, and how many values in all."""
    cuts = [statistics.quantiles(values, n=100, method="inclusive") for values in turns]
    return {"p50": spread([c[49] for c in cuts]), "p99": spread([c[98] for c in cuts]), "n": sum(map(len, turns))}


def measure_pairs(place: Callable[[], str], seconds: float, turns: int) -> dict[str, Any]:
    """Both kinds over one transport; they take turns, so that noise meets both."""
    found: dict[str, dict[str, list[Any]]] = {k: {"latency": [], "rate": [], "join": [], "memory": []} for k in KINDS}
    for turn in range(turns):
        for kind in KINDS:
            say(f"turn {turn + 1} of {turns}, {kind}: latency, rate, joins, memory")
            found[kind]["latency"].append(latency(kind, place(), seconds))
            found[kind]["rate"].append(rate(kind, place()))
            found[kind]["join"].append(joins(kind, place()))
            found[kind]["memory"].append(memory(kind, place()))
    return {
        kind: {
            "latency_ms": quantiles(values["latency"]),
            "messages_s": spread(values["rate"], 0) | {"n": turns * BURST * BURSTS},
            "join_ms": quantiles(values["join"]),
            "kib_per_stalled": spread(values["memory"], 1) | {"n": turns * IDLERS},
        }
        for kind, values in found.items()
    }


def measure_ten(place: Callable[[], str], turns: int) -> dict[str, Any]:
    """Nine readers beside one that reads and beside one that is frozen, in turns."""
    found: dict[str, list[dict[str, Any]]] = {"reads": [], "frozen": []}
    for turn in range(turns):
        for tenth, rows in found.items():
            say(f"turn {turn + 1} of {turns}, the tenth {tenth}")
            rows.append(one_of_ten(place(), tenth == "frozen"))
    return {
        tenth: {
            "latency_ms": quantiles([row["delays_ms"] for row in rows]),
            "lost": sum(row["lost"] for row in rows),
            "publisher_mib": spread([row["kib"] / 1024 for row in rows], 1),
            "grown_kib": spread([row["grown"] for row in rows], 0),
        }
        for tenth, rows in found.items()
    }


def measure(seconds: float, turns: int) -> dict[str, Any]:
    """Every figure of both transports."""
    report: dict[str, Any] = {"machine": machine(), "rate_hz": RATE_HZ, "turns": turns, "seconds": seconds}
    with tempfile.TemporaryDirectory(prefix="bench-wire-") as folder:
        numbers = iter(range(1000))
        places: dict[str, Callable[[], str]] = {"tcp": free_tcp, "ipc": lambda: f"ipc://{folder}/{next(numbers)}"}
        for transport, place in places.items():
            say(transport)
            report[transport] = measure_pairs(place, seconds, turns) | {"one_of_ten": measure_ten(place, turns)}
    return report


def say(what: str) -> None:
    """Where the run is, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def free_tcp() -> str:
    """An endpoint of this machine that nobody uses."""
    context = zmq.Context()
    with context.socket(zmq.PUB) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")
    context.term()
    return f"tcp://127.0.0.1:{port}"


def machine() -> dict[str, Any]:
    """Where and of what the figures are."""
    here = circumstances()
    return {
        "cores": here.cores,
        "load_1min": here.load_average,
        "python": platform.python_version(),
        "libzmq": zmq.zmq_version(),
        "pyzmq": zmq.pyzmq_version(),
        "commit": here.commit,
    }


def main() -> None:
    """The whole run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn of latency")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    report = measure(arguments.seconds, arguments.turns)
    print(table(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
        print("\n" + markdown(report))


if __name__ == "__main__":
    main()
