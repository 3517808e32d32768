"""The wire's figures as tables: for a terminal, and the one of docs/wire.md (`python bench/wire_table.py FILE`)."""

import json
import sys
from pathlib import Path
from typing import Any

PAIRS = {
    "latency p50, ms": ("latency_ms", "p50"),
    "latency p99, ms": ("latency_ms", "p99"),
    "messages a second": ("messages_s",),
    "join to first message p50, ms": ("join_ms", "p50"),
    "join to first message p99, ms": ("join_ms", "p99"),
    "KiB of the publisher's memory per frozen subscriber": ("kib_per_stalled",),
}
TEN = {
    "latency p50 of the nine, ms": ("latency_ms", "p50"),
    "latency p99 of the nine, ms": ("latency_ms", "p99"),
    "lost by the nine": ("lost",),
    "publisher's memory then, MiB": ("publisher_mib",),
    "grown in these 12 s, KiB": ("grown_kib",),
}


def dug(values: Any, path: tuple[str, ...]) -> Any:
    """What lies at the end of the path."""
    for key in path:
        values = values[key]
    return values


def shown(value: Any) -> str:
    """A figure, or a median of turns with the lowest and the highest."""
    if not isinstance(value, dict):
        return f"{value:,}"
    digits = 0 if value["highest"] >= 100 else 1 if value["highest"] >= 20 else 2
    low, middle, high = (f"{value[key]:,.{digits}f}" for key in ("lowest", "median", "highest"))
    return f"{middle} ({low} to {high})"


def rows(report: dict[str, Any]) -> list[list[str]]:
    """Name, tcp ours, tcp bare, ipc ours, ipc bare."""
    sides = [report[transport][kind] for transport in ("tcp", "ipc") for kind in ("ours", "bare")]
    return [[name, *(shown(dug(side, path)) for side in sides)] for name, path in PAIRS.items()]


def ten_rows(report: dict[str, Any]) -> list[list[str]]:
    """Name, tcp with a reading tenth, with a frozen one, ipc with a reading tenth, with a frozen one."""
    sides = [report[transport]["one_of_ten"][tenth] for transport in ("tcp", "ipc") for tenth in ("reads", "frozen")]
    return [[name, *(shown(dug(side, path)) for side in sides)] for name, path in TEN.items()]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    heads = ["", "tcp ours", "tcp bare", "ipc ours", "ipc bare"]
    ten_heads = ["one of ten", "tcp reads", "tcp frozen", "ipc reads", "ipc frozen"]
    lines = [heads, *rows(report), [""] * 5, ten_heads, *ten_rows(report)]
    return "\n".join(f"{name:53}" + "".join(f"{cell:>30}" for cell in cells) for name, *cells in lines)


def markdown(report: dict[str, Any]) -> str:
    """What docs/wire.md shows: where it was measured, both tables, how many values."""
    m, turns = report["machine"], report["turns"]
    first = ["", "tcp, sadstream", "tcp, bare", "ipc, sadstream", "ipc, bare"]
    second = ["", "tcp, the tenth reads", "tcp, the tenth is frozen", "ipc, it reads", "ipc, it is frozen"]
    counts = ", ".join(
        f"{report['tcp']['ours'][key]['n']:,} {what}"
        for key, what in (("latency_ms", "latencies"), ("messages_s", "messages in bursts"), ("join_ms", "joins"))
    )
    ten = report["tcp"]["one_of_ten"]["frozen"]["latency_ms"]["n"]
    parts = [
        f"Median of {turns} turns (lowest to highest); {m['cores']} cores, load {m['load_1min']} at the start, "
        f"Python {m['python']},\nlibzmq {m['libzmq']}, pyzmq {m['pyzmq']}, commit {m['commit']}.",
        _grid(first, rows(report)),
        _grid(second, ten_rows(report)),
        f"In each cell of all turns: {counts}; below, {ten:,} latencies of the nine.",
    ]
    return "\n\n".join(parts)


def _grid(heads: list[str], lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *lines])


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())))
