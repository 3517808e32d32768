"""Training corpora in every layout that `prepare` reads, and the manifests that it writes."""

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import numpy as np
import soundfile

from fuzz import mutate
from fuzz.trial import Parts, Trial
from train.corpora.manifest import Utterance, as_bytes, read
from train.corpora.prepare import prepare

NAME = "Ses01F_impro01_F000"
LAYOUTS: dict[str, dict[str, str]] = {
    "csv": {
        "manifest.csv": "path,speaker,sad,transcript,split,gender\na.wav,anna,1,I miss her,train,F\n"
        "b.wav,ben,0,the bus,train,M\nc.wav,carl,1,no,validation,\n,dora,0,\"so, be it\",validation,F\n"
        "d.wav,eve,1,yes,test,F\n,fred,0,it is,test,M\n",
        **{f"{name}.wav": "" for name in "abcd"},
    },
    "iemocap": {
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        f"[6.2901 - 8.2357]\t{NAME}\tsad\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()\n",
        "Session1/dialog/transcriptions/Ses01F_impro01.txt": f"{NAME} [006.2901-008.2357]: Excuse me.\n",
        f"Session1/sentences/wav/Ses01F_impro01/{NAME}.wav": "",
    },
    "meld-text": {
        f"{name}_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
        '1,"Oh, I\'m so sorry",Joey,sadness,negative,0,0\n2,Fine,Chandler,neutral,neutral,0,1\n'
        for name in ("train", "dev", "test")
    },
    "goemotions": {
        f"{name}.tsv": f"I miss him\t25,16\t{name}0\nNice\t0\t{name}1\n\"quoted\t27\t{name}2\n"
        for name in ("train", "dev", "test")
    },
    "nemo": {
        "data.tsv": "file_id\temotion\traw_text\tspeaker_id\tgender\na\tsadness\tno\t1\tF\nb.wav\tanger\ttak\t2\tM\n",
        "samples/a.wav": "",
        "samples/b.wav": "",
    },
    "cremad": {
        "VideoDemographics.csv": "ActorID,Age,Sex,Race\n1001,51,Male,Caucasian\n",
        "AudioWAV/1001_DFA_SAD_XX.wav": "",
    },
    "ravdess": {"Actor_01/03-01-04-01-01-01-01.wav": "", "Actor_02/03-01-01-01-02-01-02.wav": ""},
}  # fmt: skip


def tone() -> bytes:
    """A tenth of a second."""
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(1600) / 5) * 0.1, 16_000, format="WAV")
    return file.getvalue()


@contextmanager
def corpora(folder: Path) -> Iterator[Trial]:
    """`sadstream-train prepare` on folders whose tables, names or recordings are not quite as they should be."""
    wav, names = tone(), sorted(LAYOUTS)

    def files(layout: str) -> Parts:
        return [layout.encode(), wav, *(text.encode() for text in LAYOUTS[layout].values())]

    def make(rng: random.Random) -> Parts:
        parts = files(rng.choice(names))
        texts = [at for at in range(2, len(parts)) if parts[at]]
        if texts and rng.random() < 0.85:
            at = rng.choice(texts)
            parts[at] = mutate.text(rng, parts[at].decode())
        else:
            parts[1] = mutate.binary(rng, wav, (), 60)
        return parts

    def feed(parts: Parts) -> None:
        layout, root = parts[0].decode(), folder / "corpus"
        rmtree(root, ignore_errors=True)
        for (name, text), content in zip(LAYOUTS[layout].items(), parts[2:], strict=True):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content if text else parts[1])  # no text: a recording
        said: list[str] = []
        written = prepare(layout, root, folder / "out", allow_partial=True, say=said.append)
        assert read(folder / "out") == written.manifest

    yield Trial([files(layout) for layout in names], make, feed)


@contextmanager
def manifests(folder: Path) -> Iterator[Trial]:
    """manifest.csv as `fit` reads it."""
    rows = [
        Utterance(f"u{n}", "own", n % 3, f"s{n}", "F", "d", f"/tmp/{n}.wav", 0.0, 1.5, "sad", n % 2, "I, too", split)
        for n, split in enumerate(("train", "validation", "test"))
    ]
    whole = as_bytes(rows).decode()
    path = folder / "manifest.csv"

    def make(rng: random.Random) -> Parts:
        return [mutate.text(rng, whole)]

    def feed(parts: Parts) -> None:
        path.write_bytes(parts[0])
        found = read(path)
        assert found.corpus is not None
        assert all(row.duration_s >= 0.0 for row in found.rows)

    yield Trial([[whole.encode()]], make, feed)
