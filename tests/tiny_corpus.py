"""A corpus in IEMOCAP's layout made of tones, a text encoder of random numbers, and presets that train in a second."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray

from sadstream.scoring.fusion import torchaudio_library
from train.corpora.counts import EXPECTED
from train.corpora.manifest import CorpusManifest, Utterance, write
from train.corpora.synthetic import ScriptLine, script, write_corpus
from train.features.cache import Cache
from train.features.inputs import Loader
from train.presets import Preset, RunConfig, load_preset, run_config
from train.training.loop import ComputeTarget
from train.training.run import Run, open_run
from train.training.session import Session

LABELS = ("xxx", "fru", "neu", "ang", "sad", "exc", "hap", "sur", "fea", "oth", "dis")
SAD = (194, 197, 305, 143, 245)
SIZES = (1819, 1811, 2136, 2103, 2170)


def tone(line: ScriptLine) -> NDArray[np.float32]:
    """A falling tone for sad, a rising one for the rest, of 0.4 to 4 s, never twice the same."""
    rng = np.random.default_rng(list(line.name.encode()))
    time_s = np.arange(int(rng.uniform(0.4, 4.0) * 16_000)) / 16_000
    slope = -40.0 if line.label == "sad" else 40.0
    phase = 2 * np.pi * (300 * time_s + slope * time_s**2)
    sound = 0.2 * np.sin(phase) + 0.02 * rng.standard_normal(time_s.size)
    return sound.astype(np.float32)


def corpus(folder: Path, utterances: int = 50) -> Path:
    """A tiny corpus on the disk; returns the release's folder."""
    return write_corpus(folder, script(utterances, seed=0), tone, workers=1)


def text_encoder(folder: Path) -> Path:
    """A BERT of two thousand random numbers as transformers saves it."""
    torchaudio_library.usable()  # which transformers imports
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "miss", "her", "so", "the", "bus", "is", "gone", "it"]
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    model = BertModel(config)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder


def preset(encoder: Path, epochs: int = 3) -> Preset:
    """The thesis's ladder at a tenth of its width."""
    table = load_preset("thesis").model_dump()
    table |= {"name": "tiny", "model": {"channels": (2, 4), "hidden": 4}}
    table["training"] |= {"epochs": epochs}
    table["text"] |= {"encoder": str(encoder)}
    table["features"] |= {"n_mels": 16}
    for system in table["systems"].values():
        system |= {"learning_rate": 1e-2, "batch_size": 16}
    return Preset.model_validate(table)


def session(folder: Path) -> Session:
    """A session with its own cache."""
    cache = Cache(folder)
    return Session(cache, ComputeTarget(), Loader(cache, "cpu"))


def begun(folder: Path, chosen: Preset, system: str, manifest: Path, **changes: object) -> tuple[Run, RunConfig]:
    """A run that was asked for."""
    config = run_config(chosen, system, str(manifest), allow_partial=True, **changes)
    return open_run(folder / config.name, config), config


def iemocap_rows() -> list[Utterance]:
    """10,039 utterances whose every count is the corpus's; of sound and words there is nothing."""
    # Dialogues, letters and labels are dealt out so that all the published counts hold at once.
    counts = {label: EXPECTED["iemocap"][f"label {label}"] for label in LABELS}
    others = iter([label for label in LABELS if label != "sad" for _ in range(counts[label])])
    improvised, women = EXPECTED["iemocap"]["improvised"], EXPECTED["iemocap"]["spoken by F"]
    rows = []
    for session_number, (size, sad) in enumerate(zip(SIZES, SAD, strict=True), start=1):
        for i in range(size):
            number = len(rows)
            letter = "F" if number % 2 == 0 and number // 2 < women else "M"
            scene = "impro01" if number * improvised // 10_039 != (number + 1) * improvised // 10_039 else "script01"
            dialogue = f"Ses0{session_number}F_{scene}"
            label = "sad" if i < sad else next(others)
            rows.append(row(f"{dialogue}_{letter}{i:05d}", label))
    surplus = sum(r.gender == "F" for r in rows) - women
    return list(_as_men(rows, surplus))


def _as_men(rows: list[Utterance], surplus: int) -> Iterator[Utterance]:
    for one in rows:
        if one.gender == "F" and surplus > 0:
            surplus -= 1
            yield row(one.utterance.replace("_F", "_M"), one.label)
        else:
            yield one


def row(name: str, label: str, **changes: object) -> Utterance:
    """The manifest's row of an utterance with this name."""
    number, letter = int(name[4]), name.rpartition("_")[2][0]
    made = Utterance(
        utterance=name,
        corpus="iemocap",
        session=number,
        speaker=f"Ses0{number}{letter}",
        gender=letter,
        dialogue=name.rpartition("_")[0],
        path=f"/corpus/{name}.wav",
        start_s=1.0,
        end_s=3.0,
        label=label,
        sad=int(label == "sad"),
        transcript="words",
        split=("train", "train", "train", "validation", "test")[number - 1],
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def prepared(folder: Path) -> SimpleNamespace:
    """A tiny corpus with its manifest, a text encoder, a preset, a session: all that a run needs."""
    from train.corpora.readers.iemocap import read

    release = corpus(folder / "corpus")
    manifest: CorpusManifest = write(folder / "manifest.csv", read(release).rows)
    encoder = text_encoder(folder / "encoder")
    return SimpleNamespace(
        folder=folder,
        release=release,
        manifest=manifest,
        path=folder / "manifest.csv",
        preset=preset(encoder),
        session=session(folder / "cache"),
    )
