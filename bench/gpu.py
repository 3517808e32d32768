"""What a GPU makes of all this: each line measured by itself, or said why not.

    python bench/gpu.py [--parts parity,latency] [--seconds 450] [--json FILE] [--write]
    python bench/gpu.py --device cpu --scale small        a rehearsal of the same on a CPU, within a minute

No network: models lie where `sadstream models fetch` put them. The CUDA build of torch must be there already. Without
`--data` the segments are those of the bundled scene and of espeak-ng. Nothing else should use the GPU: one part fills
it for a moment. Ends with 1 where a part failed, with 69 where there is no GPU; what missed its target fails nothing.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

# The same bytes twice need a workspace of cuBLAS's own, asked for before it starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import sadstream  # noqa: F401, I001  sets the environment that torch reads when it is imported
import torch
from gpu_kernels import KERNELS
from gpu_memory import CONSTANT, FULL_CARD
from gpu_speech import BATCHES, LATENCY, PARITY, STREAMS, spoken
from gpu_table import SCALES, Bench, Report, machine, measured, unmeasured
from gpu_training import TRAINING
from page import put

# What may leave a card in disorder comes late, and last what compiles for a minute.
PARTS = (PARITY, LATENCY, STREAMS, BATCHES, CONSTANT, TRAINING, FULL_CARD, KERNELS)
PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- gpu -->", "<!-- end of gpu -->"
NO_GPU = "no GPU was at hand"
UNAVAILABLE = 69


def run(options: argparse.Namespace) -> Report:
    """All parts, those that were asked for measured."""
    until_s = time.monotonic() + options.seconds
    scale, rows = SCALES[options.scale], []
    absent = options.device == "cuda" and not torch.cuda.is_available()
    bench = Bench(options.device, scale, () if absent else spoken(scale.segments, options.data), until_s)
    for part in PARTS:
        begun_s = time.monotonic()
        if absent:
            rows += unmeasured(part, NO_GPU)
        elif part.name not in options.parts:
            rows += unmeasured(part, "not asked for")
        elif bench.over:
            rows += unmeasured(part, "the time was up")
        else:
            rows += measured(part, bench)
            print(f"{part.name}: {time.monotonic() - begun_s:.1f} s", file=sys.stderr, flush=True)
    return Report(machine("cpu" if absent else options.device, options.scale), tuple(rows))


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", type=lambda text: text.split(","), default=names, help=", ".join(names))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scale", choices=tuple(SCALES), default="full")
    parser.add_argument("--seconds", type=float, default=450.0, help="no new figure is begun after them")
    parser.add_argument("--data", type=Path, help="a folder of speech, WAV or FLAC")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(names):
        parser.error(f"--parts: {', '.join(sorted(unknown))}: expected some of {', '.join(names)}")
    report = run(options)
    print(report.markdown())
    if options.json:
        options.json.write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    if options.write:
        put(PAGE, BEGIN, END, report.markdown())
    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu: this torch finds no GPU; rehearse with --device cpu --scale small", file=sys.stderr)
        return UNAVAILABLE
    return int(report.failed)


if __name__ == "__main__":
    sys.exit(main())
