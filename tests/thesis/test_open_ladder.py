"""The ladder on open recordings: split by speaker, tested once, the same table again."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_corpus import preset, session, text_encoder

from sadstream.base.errors import DataError
from train.corpora.manifest import read
from train.thesis.open_ladder import climb


def open_data(folder: Path, speakers: int = 4) -> Path:
    """Two corpora of falling (sad) and rising tones; the last speaker of each is dev."""
    speech = folder / "speech"
    speech.mkdir(parents=True)
    rows = []
    for corpus in ("ravdess", "nemo"):
        for speaker in range(speakers):
            for n, emotion in enumerate(("sad", "calm", "neutral", "angry", "sad", "happy")):
                rng = np.random.default_rng([speaker, n, len(corpus)])
                t = np.arange(16_000) / 16_000
                tone = 0.2 * np.sin(2 * np.pi * (300 * t + (-40 if emotion == "sad" else 40) * t**2))
                name = f"{corpus}_{speaker}_{n}.wav"
                soundfile.write(speech / name, tone + 0.02 * rng.standard_normal(t.size), 16_000)
                split = "dev" if speaker == speakers - 1 else "train"
                sad = int(emotion == "sad")
                rows.append([name, corpus, f"{corpus}_{speaker}", "male", emotion, sad, "The bus is gone.", split])
    with (speech / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "corpus", "speaker", "gender", "emotion", "sad", "transcript", "split"])
        writer.writerows(rows)
    return folder


def test_every_system_is_tested_on_speakers_that_neither_trained_nor_chose(tmp_path: Path) -> None:
    data, said = open_data(tmp_path / "data"), []
    systems = preset(text_encoder(tmp_path / "encoder"))
    kept = {name: spec for name, spec in systems.systems.items() if name in ("text", "cnn", "attention")}
    chosen = systems.model_copy(update={"systems": kept})

    table = climb(data, tmp_path / "out", chosen, session(tmp_path), said.append)

    assert table == climb(data, tmp_path / "out", chosen, session(tmp_path), said.append)
    lines = table.splitlines()
    assert len(lines) == 2 + len(kept)
    assert "| 0.500 [" in lines[2], "the words are the same in every clip"
    splits = {row.speaker: row.split for row in read(tmp_path / "out").rows}
    assert splits["ravdess_3"] == splits["nemo_3"] == "test"
    assert splits["ravdess_2"] == splits["nemo_2"] == "validation"
    assert splits["ravdess_0"] == splits["nemo_1"] == "train"


def test_one_train_speaker_cannot_validate_too(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected at least two"):
        climb(
            open_data(tmp_path / "data", speakers=2),
            tmp_path / "out",
            preset(text_encoder(tmp_path / "encoder")),
            session(tmp_path),
            print,
        )
