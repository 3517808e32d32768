"""One small input of each kind that the world leaves, the real commands on each, and the table in docs/reliability.md.

python bench/inputs.py [--write] [NAME...]; ends with 1 where an exit code, scores or a line are others.
"""

import argparse
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
import zmq

from sadstream.scoring.weights.catalogue import models_dir

RATE = 16_000
ROOT = Path(__file__).parent.parent
SCENE = ROOT / "sadstream/cli/demo/scene/scene.flac"
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- inputs -->", "<!-- end of inputs -->"
LIMIT_S = 240
WITHIN = 0.02  # of the clean recording's scores
OTHER = re.compile("sadstream: INFO: |: these weights may not")  # what the daemon says of itself
PCM_GUID = struct.pack("<HHI", 22, 24, 4) + bytes.fromhex("0100000000001000800000aa00389b71")
# A root that may read no more than a user may.
BOUND = "setpriv --bounding-set=-dac_override,-dac_read_search "


@dataclass(frozen=True, slots=True)
class Case:
    """What is done with one input, and what is to come of it."""

    name: str
    command: str  # of bash, in the folder of the inputs; S is sadstream
    code: int = 0
    scores: int = 3
    says: str = ""  # a pattern of a line on standard error; empty: nothing is said
    same: int | None = None  # scores that equal the clean recording's; none: all of them


CASES = (
    Case("9 s of the scene", "S score base.wav"),
    Case("WAV, size of a pipe's writer (7ffff000)", "S score placeholder.wav"),
    Case("WAV, size never patched (0)", "S score unpatched.wav"),
    Case("WAV of a killed recorder: its first block", "S score killed.wav", says="its header says 0.06 s"),
    Case("WAV that promises a hundred times more", "S score more.wav", 65, says="truncated"),
    Case("WAV cut in the middle", "S score cut.wav", 65, 2, "truncated", 1),
    Case("24-bit extensible WAV cut in the middle", "S score cut24.wav", 65, 2, "truncated", 1),
    Case("RF64", "S score a.rf64"),
    Case("W64", "S score a.w64"),
    Case("W64 cut in the middle", "S score cut.w64", 65, 2, "truncated", 1),
    Case("AIFF", "S score a.aiff"),
    Case("AIFF of unknown length", "S score unknown.aiff"),
    Case("AU of unknown length", "S score unknown.au"),
    Case("CAF", "S score a.caf"),
    Case("CAF of unknown length", "S score unknown.caf"),
    Case("FLAC of unknown length", "S score unknown.flac"),
    Case("FLAC whose header says 1 s", "S score less.flac", says="its header says 1.00 s"),
    Case("FLAC cut in the middle", "S score cut.flac", 65, 2, "copy it again", 1),
    Case("two FLAC files as one", "S score twice.flac", scores=6),
    Case("Ogg Opus", "S score a.opus", same=1),
    Case("Ogg Opus cut in the middle", "S score cut.opus", 65, 1, "truncated", 0),
    Case("MP3", "S score a.mp3", same=1),
    Case("MP3 cut in the middle", "S score cut.mp3", 65, 2, "truncated|copy it again", 0),
    Case("AAC", "S score a.aac", same=1),
    Case("m4a of a phone", "S score a.m4a", same=1),
    Case("m4a cut in the middle", "S score cut.m4a", 65, 0, "m4a"),
    Case("webm of a browser", "S score a.webm", same=1),
    Case("constant offset of 1 percent", "S score offset1.wav", says="offset"),
    Case("constant offset of 10 percent", "S score offset10.wav", says="offset"),
    Case("stereo, one channel inverted", "S score inverted.wav", says="left out"),
    Case("six channels, two of noise", "S score noisy.wav", says="left out of the mix"),
    Case("the same, the first channel", "S score noisy.wav --channel 1"),
    Case("the same, a seventh channel", "S score noisy.wav --channel 7", 65, 0, "mix or 1 to 6"),
    Case("float in the scale of integers", "S score integers.wav", says="scale of 16-bit integers"),
    Case("NaN at 2.5 s", "S score nan.wav", 65, 1, "NaN", 0),
    Case("silence", "S score silence.wav", 0, 0, "no speech found"),
    Case("1 Hz", "S score hertz.wav", 65, 0, "1 Hz: expected"),
    Case("AMR without a frame", "S score a.amr", 65, 0, "no samples"),
    Case("text called WAV", "S score text.wav", 65, 0, "not a recording"),
    Case("nothing in it", "S score empty.wav", 65, 0, "0 bytes"),
    Case("a header alone", "S score header.wav", 65, 0, "no samples"),
    Case("a folder", "S score folder", 66, 0, "is not a file"),
    Case("a device without an end", "S score /dev/zero", 66, 0, "is not a file"),
    Case("no such file", "S score nowhere.wav", 66, 0, "no such file"),
    Case("a file that may not be read", "S score secret.wav", 66, 0, "Permission denied"),
    Case("a name of 300 bytes", "S score $(printf 'x%.0s' {1..300})", 66, 0, "too long"),
    Case("a bad file before a good one", "S score text.wav base.wav", 65, 3, "text.wav: not a recording"),
    Case("a name that is not UTF-8", "cp base.wav $'b\\xff.wav'; S score $'b\\xff.wav'"),
    Case("a name with `~`", "HOME=$PWD S score '~/base.wav'"),
    Case("44.1 kHz stereo WAV through a pipe", "cat stereo.wav | S score -"),
    Case("FLAC of unknown length through a pipe", "S score <(cat unknown.flac)"),
    Case("CAF through a pipe", "cat a.caf | S score -"),
    Case("raw PCM through a pipe", "tail -c +45 base.wav | S score -"),
    Case("cut WAV through a pipe", "cat cut.wav | S score -", 65, 2, "truncated", 1),
    Case("nothing through a pipe", "S score - < /dev/null", 65, 0, "nothing came"),
    Case("1 Hz WAV into the daemon", "cat hertz.wav | S run --source - --publish ipc://a", 65, 0, "1 Hz"),
    Case("CAF into the daemon", "cat a.caf | S run --source - --publish ipc://b", 65, 0, "CAF"),
    Case("sound of 1e30 into it", "cat loud.wav | S run --source - --publish ipc://c", 65, 0, "expected -1 to 1"),
    Case("a socket's path that is a file", "S run --source base.wav --publish ipc://text.wav", 73, 0, "text.wav"),
    Case("a socket's path in no folder", "S fake --publish ipc://none/pub", 69, 0, "none"),
    Case("a page over the recording", "S score base.wav --report base.wav", 2, 0, "is read from"),
    Case("a page over a letter", "S score base.wav --report text.wav", 73, 0, "--force"),
    Case("a page in a folder that is not there", "S score base.wav --report none/a.html", 69, 0, "none/a.html"),
    Case("a key in a folder that is not there", "S keys new none/key", 69, 0, "none/key"),
    Case("a key over a letter", "S keys new text.wav", 73, 0, "not replaced"),
    Case("scores on a full disk", "S score base.wav > /dev/full", 69, 0, "No space"),
    Case("a reader that went away", "S score base.wav | true; exit ${PIPESTATUS[0]}", 0, 0),
    Case("TOML with a byte-order mark", "S score base.wav --config bom.toml"),
    Case("TOML in UTF-16", "S score base.wav --config utf16.toml", 78, 0, "UTF-16"),
    Case("`[stream]` for `[[stream]]`", "S score base.wav --config table.toml", 78, 0, r"\[\[stream\]\]"),
    Case("a configuration without an end", "S score base.wav --config /dev/zero", 78, 0, "/dev/zero"),
    Case("a voice without an end", "S score base.wav --config voice.toml", 69, 0, "/dev/zero"),
    Case("a key without an end", "S keys show /dev/zero", 78, 0, "/dev/zero"),
    Case("a list of keys without an end", "S keys allow $(S keys show key) --to /dev/zero", 78, 0, "/dev/zero"),
    Case("a journal without an end", "S history --journal /dev/zero", 65, 0, "/dev/zero"),
)  # fmt: skip


def wav(data: bytes, size: int | None = None, rate: int = RATE, bits: int = 16, more: bytes = b"") -> bytes:
    """A mono WAV whose header says so many bytes of sound."""
    block = bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if more else 1, 1, rate, rate * block, block, bits) + more
    said = len(data) if size is None else size
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", said)
    return b"RIFF" + struct.pack("<I", (len(head) + said) & 0xFFFF_FFFF) + head + data


def encoded(samples: np.ndarray, form: str, subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    """A whole file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()


def flac(samples: np.ndarray, said: int) -> bytes:
    """A FLAC file whose header says so many samples (0: unknown)."""
    content = bytearray(encoded(samples, "FLAC"))
    content[21] &= 0xF0
    content[22:26] = said.to_bytes(4, "big")
    return bytes(content)


def patched(content: bytes, at: int, field: bytes) -> bytes:
    """The same file with another field."""
    return content[:at] + field + content[at + len(field) :]


def by_ffmpeg(path: Path, form: str, codec: str, samples: np.ndarray) -> None:
    """What phones and browsers write."""
    import av

    rate = 48_000 if codec == "libopus" else RATE
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        context = stream.codec_context
        size = context.frame_size or 1024
        resampler = av.AudioResampler(format=context.format, layout="mono", rate=rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(np.rint(samples * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        for one in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(one):
                out.mux(packet)


def recordings(x: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Names and contents, of 9 s of speech."""
    pcm = np.clip(np.rint(x * 32768), -32768, 32767).astype("<i2").tobytes()
    wide = np.rint(x * 8_388_607).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    noise = np.random.default_rng(0).standard_normal(x.size).astype(np.float32) / 4
    hole = x.copy()
    hole[40_000] = np.nan
    whole = {"flac": "FLAC", "w64": "W64", "aiff": "AIFF", "caf": "CAF", "rf64": "RF64", "au": "AU"}
    files = {f"a.{end}": encoded(x, form) for end, form in whole.items()}
    files |= {"a.opus": encoded(x, "OGG", "OPUS"), "a.mp3": encoded(x, "MP3", "MPEG_LAYER_III")}
    yield from files.items()
    for end in ("flac", "w64", "opus", "mp3"):
        yield f"cut.{end}", files[f"a.{end}"][: len(files[f"a.{end}"]) // 2]
    yield "base.wav", wav(pcm)
    yield "placeholder.wav", wav(pcm, 0x7FFF_F000)
    yield "unpatched.wav", wav(pcm, 0)
    yield "killed.wav", wav(pcm, 2048)
    yield "more.wav", wav(pcm, 100 * len(pcm))
    yield "cut.wav", wav(pcm)[: len(pcm) // 2]
    yield "cut24.wav", wav(wide, bits=24, more=PCM_GUID)[: len(wide) // 2]
    yield "unknown.flac", flac(x, 0)
    yield "less.flac", flac(x, RATE)
    yield "twice.flac", files["a.flac"] * 2
    yield "unknown.aiff", patched(files["a.aiff"], files["a.aiff"].index(b"SSND") + 4, bytes(4))
    yield "unknown.au", patched(files["a.au"], 8, b"\xff" * 4)
    yield "unknown.caf", patched(files["a.caf"], files["a.caf"].index(b"data") + 4, b"\xff" * 8)
    yield "offset1.wav", encoded(np.clip(x * 0.9 + 0.01, -1, 1), "WAV")
    yield "offset10.wav", encoded(np.clip(x * 0.9 + 0.1, -1, 1), "WAV")
    yield "inverted.wav", encoded(np.stack([x, -x], 1), "WAV")
    yield "noisy.wav", encoded(np.stack([x, x / 2, x / 2, x / 2, noise, noise[::-1]], 1), "WAV")
    yield "integers.wav", encoded(x * 32768, "WAV", "FLOAT")
    yield "loud.wav", encoded(x * 1e30, "WAV", "FLOAT")
    yield "nan.wav", encoded(hole, "WAV", "FLOAT")
    yield "silence.wav", encoded(x * 0, "WAV")
    yield "hertz.wav", wav(pcm, rate=1)
    stereo = np.repeat(soxr.resample(x, RATE, 44_100)[:, None], 2, 1)
    yield "stereo.wav", encoded(stereo, "WAV", "PCM_16", 44_100)
    yield "a.amr", b"#!AMR\n"
    yield "header.wav", wav(b"")
    yield "secret.wav", wav(pcm)


def make(folder: Path) -> None:
    """All inputs."""
    x, _ = soundfile.read(SCENE, dtype="float32", frames=9 * RATE)
    for name, content in recordings(x):
        (folder / name).write_bytes(content)
    (folder / "text.wav").write_text("A letter, no recording.\n" * 50)
    (folder / "empty.wav").touch()
    (folder / "secret.wav").chmod(0)
    (folder / "folder").mkdir()
    (folder / "key").write_bytes(zmq.curve_keypair()[1])
    (folder / "key").chmod(0o600)
    (folder / "bom.toml").write_bytes(b"\xef\xbb\xbf[vad]\naggressiveness = 2\n")
    (folder / "utf16.toml").write_text("[vad]\naggressiveness = 2\n", encoding="utf-16")
    (folder / "table.toml").write_text('[stream]\nname = "room"\n')
    (folder / "voice.toml").write_text('[voice]\npath = "/dev/zero"\n')
    for end, form, codec in (("m4a", "ipod", "aac"), ("webm", "webm", "libopus"), ("aac", "adts", "aac")):
        by_ffmpeg(folder / f"a.{end}", form, codec, x)
    (folder / "cut.m4a").write_bytes((folder / "a.m4a").read_bytes()[:20_000])


def shown(case: Case) -> str:
    """The row's beginning, which is known before the command runs."""
    command = case.command.replace("|", "\\|")
    return f"| {case.name} | `{command}` | {case.code} | {case.scores} |"


def table_of(rows: Sequence[str]) -> str:
    """The table, as docs/reliability.md has it."""
    head = "| input | command (`S`: `sadstream`) | exit code | scores | of these as the clean one's | standard error |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a command."""

    code: int
    scores: tuple[float, ...]
    lines: tuple[str, ...]  # on standard error, but for a daemon's news


def seen(case: Case, folder: Path) -> Seen:
    """The real command on its input."""
    bound = BOUND if os.getuid() == 0 and "secret" in case.command else ""
    command = re.sub(r"\bS (?=[a-z])", f"{bound}{sys.executable} -m sadstream ", case.command)
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, check=False, timeout=LIMIT_S,
        stdin=subprocess.DEVNULL, env=os.environ | {"SADSTREAM_MODELS": str(models_dir())},
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if not OTHER.search(line)]
    return Seen(done.returncode, tuple(event["p_sad"] for event in events), tuple(lines))


def judged(case: Case, found: Seen, clean: Sequence[float], folder: Path) -> tuple[str, bool]:
    """The table's row, and whether it is as expected."""
    same = sum(abs(p - clean[n % len(clean)]) <= WITHIN for n, p in enumerate(found.scores))
    good = (found.code, len(found.scores)) == (case.code, case.scores)
    good &= same >= (case.scores if case.same is None else case.same)
    good &= any(re.search(case.says, line) for line in found.lines) if case.says else not found.lines
    said = " / ".join(found.lines).replace(f"{folder}/", "").replace("|", "\\|").replace("<", "&lt;")
    said = re.sub("x{200,}", "xxx…", said)
    counted = f"{same} of {len(found.scores)}" if found.scores else ""
    row = shown(replace(case, code=found.code, scores=len(found.scores)))
    return f"{row} {counted} | {said or 'nothing'} |", good


def write(rows: dict[str, str]) -> None:
    """Put these rows into the page; the others stay, those of inputs that are no more go."""
    before, rest = PAGE.read_text().split(BEGIN)
    old, after = rest.split(END)
    known = {line.split(" | ")[0].removeprefix("| "): line for line in old.splitlines() if line.startswith("| ")}
    table = [row for case in CASES if (row := rows.get(case.name) or known.get(case.name))]
    PAGE.write_text(f"{before}{BEGIN}\n{table_of(table)}\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    parser.add_argument("--at-once", type=int, default=2, help="commands that run beside each other")
    parser.add_argument("names", nargs="*", help="parts of names of inputs; all without")
    asked = parser.parse_args()
    chosen = [case for case in CASES if not asked.names or any(name in case.name for name in asked.names)]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(asked.at_once) as pool:
        folder = Path(name)
        make(folder)
        clean = seen(CASES[0], folder).scores
        rows = []
        for case, found in zip(chosen, pool.map(seen, chosen, [folder] * len(chosen)), strict=True):
            row, good = judged(case, found, clean, folder)
            print(row if good else f"NOT AS EXPECTED {row}", flush=True)
            rows.append((row, good))
            if asked.write:
                write(dict(zip((case.name for case in chosen), (row for row, _ in rows), strict=False)))
    return 0 if all(good for _, good in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
