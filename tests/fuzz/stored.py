"""Files that the daemon loads: checkpoints with their cards, journals, voices, speakers, models' folders."""

import contextlib
import io
import json
import random
import shutil
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
from wire import a_score

from fuzz import mutate
from fuzz.trial import Parts, Trial, each
from sadstream.config import parse
from sadstream.events import to_json
from sadstream.events.journal import Journal, read
from sadstream.scoring.analysis import audio_part, text_part
from sadstream.scoring.fusion import checkpoint, releases
from sadstream.scoring.fusion.card import read_card
from sadstream.scoring.fusion.header import (
    Calibration,
    FusionConfig,
    Header,
    LogMelConfig,
    TextEncoderConfig,
    WhisperStatesConfig,
)
from sadstream.scoring.mood.mood import Mood
from sadstream.scoring.mood.plan import read_plan
from sadstream.scoring.mood.voice import VoiceBaseline, read_voice
from sadstream.scoring.speakers.enrolled import EnrolledSpeaker, read_enrolled
from sadstream.scoring.weights import manifest
from sadstream.scoring.weights.fetch import fetch
from sadstream.scoring.weights.store import installed, load_tensors
from sadstream.views.dashboard.history.heat import heat, zone_of
from sadstream.views.dashboard.history.table import JournalReader
from sadstream.views.dashboard.history.zoom import zoom
from sadstream.views.dashboard.operating_point import trade_off
from sadstream.views.history import print_history

ENCODER = "e" * 64


def header(fusion: FusionConfig, audio: Any, text: bool) -> Header:
    """What a small checkpoint says of itself."""
    return Header(
        system="test", provisional=True, fusion=fusion, masked=True, audio=audio,
        text=TextEncoderConfig(name="minilm", identity="0" * 64, pooling="cls", dim=8) if text else None,
        calibration=Calibration(), prior=0.1, threshold=0.5, trained_on=("noise",), metrics=(), licence="CC0-1.0",
        commercial_use=True, created_with="test",
    )  # fmt: skip


def small_checkpoints(folder: Path) -> list[bytes]:
    """The thesis's kind, the seventh's kind and words alone, of a few hundred weights."""
    from sadstream.scoring.fusion.network import Fusion

    states = WhisperStatesConfig(model="tiny.en", identity="0" * 64, layers=(0, 2))
    kinds = [
        (FusionConfig(channels=(2, 2), hidden=4, text_dim=8, n_bands=16), LogMelConfig(n_mels=16), True),
        (FusionConfig(front_end="states", sequence="none", n_frames=50, n_bands=8, n_layers=2), states, False),
        (FusionConfig(front_end="none", sequence="none", pooling="mean", text_dim=8), None, True),
        (FusionConfig(channels=(1, 1), sequence="none", pooling="flatten", n_bands=16), LogMelConfig(n_mels=16), False),
    ]  # fmt: skip
    found = []
    for number, (fusion, audio, text) in enumerate(kinds):
        path = folder / f"seed{number}.safetensors"
        checkpoint.save(path, Fusion(fusion), header(fusion, audio, text))
        found.append(path.read_bytes())
    return found


def resealed(rng: random.Random, content: bytes) -> bytes:
    """A checkpoint that is sealed as it should be, with something odd in header, table or weights."""
    size = int.from_bytes(content[:8], "little")
    table, weights = json.loads(content[8 : 8 + size]), content[8 + size :]
    metadata = json.loads(table["__metadata__"]["sadstream-checkpoint"])
    match rng.randrange(4):
        case 0 | 1:
            metadata["header"] = mutate.value(rng, metadata["header"])
        case 2:
            kept = table.pop("__metadata__")
            table = mutate.value(rng, table)
            table = table if isinstance(table, dict) else {}
            table["__metadata__"] = kept
        case _:
            weights = mutate.binary(rng, weights)
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        blank = _packed(table, metadata, weights)
        metadata["sha256"] = checkpoint._seal(blank, json.loads(json.dumps(metadata["header"])))
    return _packed(table, metadata, weights)


def _packed(table: Any, metadata: Any, weights: bytes) -> bytes:
    table["__metadata__"] = {"sadstream-checkpoint": json.dumps(metadata)}
    said = json.dumps(table).encode("utf-8", "replace")
    return len(said).to_bytes(8, "little") + said + weights


@contextmanager
def checkpoints(folder: Path) -> Iterator[Trial]:
    """A checkpoint as the daemon loads it and as `service upgrade` does, up to one score."""
    seeds = small_checkpoints(folder)
    path, store = folder / "case.safetensors", folder / "store"

    def make(rng: random.Random) -> Parts:
        content = rng.choice(seeds)
        return [resealed(rng, content) if rng.random() < 0.75 else mutate.binary(rng, content, seeds, 2000)]

    def feed(parts: Parts) -> None:
        path.write_bytes(parts[0])
        checkpoint.read_header(path)
        loaded = checkpoint.load(path)
        _scored(loaded)
        assert releases.upgrade(store, path) == loaded.sha256[:12]
        shutil.rmtree(store)

    yield Trial([[seed] for seed in seeds], make, feed)


def _scored(loaded: checkpoint.Checkpoint) -> None:
    """One segment of noise and eight numbers of words, shaped as the analyser shapes them."""
    import torch

    from sadstream.audio.filters.level import at_level
    from sadstream.scoring.fusion.features import heard_frames, log_mel

    said = loaded.header
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * np.float32(0.01)
    audio = heard = None
    if isinstance(said.audio, WhisperStatesConfig):
        audio = torch.zeros(1, len(said.audio.layers), said.audio.n_frames, said.fusion.n_bands)
    elif said.audio is not None:
        audio = log_mel(torch.from_numpy(at_level(noise, said.audio.level_dbfs)).unsqueeze(0), said.audio)
    if said.audio is not None and said.masked:
        heard = torch.tensor([heard_frames(noise.size, said.audio.n_frames)])
    words = None if said.text is None else torch.zeros(1, said.text.dim)
    with torch.inference_mode():
        parts = loaded.fusion.parts(audio, words, heard)
    ratio = audio_part(said.calibration, float(parts.audio)) + text_part(said.calibration, float(parts.text))
    assert 0.0 <= 1.0 / (1.0 + np.exp(-(said.bias_logit + ratio))) <= 1.0


@contextmanager
def cards(folder: Path) -> Iterator[Trial]:
    """A checkpoint's card and a calibrated voice: what every stream's mood goes by."""
    from fakes import analysis

    from sadstream.audio.segmenter import Segment

    path = folder / "model.safetensors"
    shutil.copy(checkpoint.default_path(), path)
    card = json.loads(checkpoint.default_path().with_suffix(".card.json").read_text())
    voice = json.loads(
        VoiceBaseline(model=card["model"], segments=9, speech_s=20.0, typical=0.1, offset_logit=-0.4).model_dump_json()
    )
    segment = Segment(0, np.zeros(48_000, np.float32), 0.0, 3.0, 0.9, 0.0)
    config = parse({"model": {"checkpoint": str(path)}, "voice": {"path": str(folder / "voice.json")}}, "fuzz")

    def make(rng: random.Random) -> Parts:
        one, other = (json.dumps(card).encode(), json.dumps(voice).encode())
        return [mutate.as_json(rng, card), other] if rng.random() < 0.5 else [one, mutate.as_json(rng, voice)]

    def feed(parts: Parts) -> None:
        path.with_suffix(".card.json").write_bytes(parts[0])
        (folder / "voice.json").write_bytes(parts[1])
        trade_off(config)
        made = read_plan(config)
        mood = Mood(made)
        for _ in range(5):
            mood.feed(analysis(segment), 0.0, 3.0)
        mood.flush()
        read_card(path, card["model"])
        read_voice(folder / "voice.json")

    yield Trial([[json.dumps(card).encode(), json.dumps(voice).encode()]], make, feed)


@contextmanager
def speakers(folder: Path) -> Iterator[Trial]:
    """Enrolled people, and how alike a voice is."""
    embedding = np.random.default_rng(0).standard_normal(256).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    whole = json.loads(
        EnrolledSpeaker(
            name="anna", encoder=ENCODER, segments=3, speech_s=9.0, voice=tuple(map(float, embedding))
        ).model_dump_json()
    )

    def make(rng: random.Random) -> Parts:
        return [mutate.as_json(rng, whole)]

    def feed(parts: Parts) -> None:
        (folder / "anna.json").write_bytes(parts[0])
        person = read_enrolled(folder, "anna", ENCODER)
        assert -1.01 <= person.cosine(embedding) <= 1.01, "no cosine"

    yield Trial([[json.dumps(whole).encode()]], make, feed)


@contextmanager
def journals(folder: Path) -> Iterator[Trial]:
    """SQLite files as `history` and the dashboard read them and the daemon writes on."""
    now = time.time()
    good = folder / "good.sqlite"
    writer = Journal(good, keep_days=10_000)
    when = [datetime.fromtimestamp(now - 40 * n, UTC).isoformat(timespec="milliseconds")[:-6] + "Z" for n in range(60)]
    scores = [replace(a_score(n, mood=0.5, stream=("mic", "hall")[n % 2]), time=at) for n, at in enumerate(when)]
    writer.write(scores)
    writer.close()
    content = good.read_bytes()
    said = [json.loads(to_json(score)) for score in scores[:3]]
    path = folder / "case.sqlite"

    def make(rng: random.Random) -> Parts:
        if rng.random() < 0.5:
            return [mutate.binary(rng, content, (), 4096), rng.choice((b"", b"", rng.randbytes(100)))]
        return [_with_rows(folder, content, rng, said, now), b""]

    def feed(parts: Parts) -> None:
        for old in folder.glob("case.sqlite*"):
            old.unlink()
        path.write_bytes(parts[0])
        if parts[1]:
            path.with_name("case.sqlite-wal").write_bytes(parts[1])
        each(
            lambda: list(read(path, 0.0, now)),
            *(partial(_printed, path, output) for output in ("text", "json", "csv")),
            lambda: _looked_at(path, now),
            lambda: _appended(path, scores[0]),
        )

    yield Trial([[content, b""]], make, feed)


def _printed(path: Path, output: Any) -> None:
    said = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(said):
        print_history(path, "2d", None, None, output)
        said.flush()


def _looked_at(path: Path, now: float) -> None:
    past = JournalReader(path)
    for table in (past.table(), past.table(), past.table().of("mic")):
        json.dumps([getattr(zoom(table, now - 3600, now, 10), name) for name in ("p_mean", "mood")], allow_nan=False)
        heat(table, "week", date.fromtimestamp(now), zone_of("UTC"))  # noqa: DTZ012


def _appended(path: Path, score: Any) -> None:
    writer = Journal(path, keep_days=1.0)
    writer.write([score])
    writer.close()


def _with_rows(folder: Path, content: bytes, rng: random.Random, said: list[Any], now: float) -> bytes:
    """A sound file whose rows hold what no daemon wrote."""
    path = folder / "rows.sqlite"
    path.write_bytes(content)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        for number in range(rng.choice((1, 3))):
            event: Any = mutate.as_json(rng, rng.choice(said))
            event = event if rng.random() < 0.1 else event.decode("utf-8", "replace")
            time_s = rng.choice((now, now, now, None, "x", b"\xff", float("inf"), -1e308, 10**18, 1e18, str(now)))
            stream = rng.choice(("mic", "mic", "", "\ud83d".encode("utf-8", "surrogatepass"), "x" * 3000, 5, b"\0"))
            with contextlib.suppress(sqlite3.Error):
                connection.execute(
                    "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?)", (time_s, stream, "s", 1000 + number, event)
                )
        connection.execute("PRAGMA user_version = " + str(rng.choice((1, 1, 1, 0, 2, -1))))
        connection.commit()
    return path.read_bytes()


@contextmanager
def bundles(folder: Path) -> Iterator[Trial]:
    """A model's folder with its manifest, as `models list`, `verify`, `fetch --from` and the daemon read it."""
    sound = folder / "sound" / "whisper-own"
    sound.mkdir(parents=True)
    from safetensors.numpy import save

    weights = save(tiny_models.whisper_state())
    config = json.dumps(
        {name: getattr(tiny_models.DIMS, name) for name in tiny_models.DIMS.__dataclass_fields__}
    ).encode()
    contents = {"config.json": config, "model.safetensors": weights}
    listed = tuple(manifest.ListedFile(n, _sha(c), len(c)) for n, c in sorted(contents.items()))
    from sadstream.scoring.weights.store import identity

    described = manifest.ModelManifest("own", "whisper", identity(tiny_models.whisper_state()), "MIT", "test", listed)
    whole = json.loads(manifest.render(described))
    target = folder / "models" / "whisper-own"

    def make(rng: random.Random) -> Parts:
        parts = [manifest.render(described), config, weights]
        match rng.randrange(5):
            case 0:
                parts[0] = mutate.as_json(rng, whole)
            case 1:
                parts[0] = _sealed(mutate.value(rng, whole))
            case 2:
                parts[1] = mutate.as_json(rng, json.loads(config))
            case 3:
                parts[2] = mutate.binary(rng, weights, (), 3000)
            case _:
                parts[2] = _table_mutated(rng, weights)
        return [struct.pack("<B", rng.randrange(3)), *parts]

    def feed(parts: Parts) -> None:
        shutil.rmtree(target.parent, ignore_errors=True)
        target.mkdir(parents=True)
        (target / "config.json").write_bytes(parts[2])
        (target / "model.safetensors").write_bytes(parts[3])
        if parts[0][0] != 1:  # a user's own folder needs no manifest
            (target / "manifest.json").write_bytes(parts[1])
            installed(target.parent)
        load_tensors(target)
        if parts[0][0] == 2:
            fetch(["own"], to=folder / "fetched", from_dir=target.parent)

    seed = [manifest.render(described), config, weights]
    yield Trial([[bytes([kind]), *seed] for kind in range(2)], make, feed)


def _sha(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _sealed(body: Any) -> bytes:
    """A manifest's seal made good again."""
    if isinstance(body, dict):
        body.pop("seal", None)
        body = {**body, "seal": _sha(json.dumps(body, sort_keys=True).encode("utf-8", "replace"))}
    return (json.dumps(body, indent=2) + "\n").encode("utf-8", "replace")


def _table_mutated(rng: random.Random, content: bytes) -> bytes:
    size = int.from_bytes(content[:8], "little")
    said = json.dumps(mutate.value(rng, json.loads(content[8 : 8 + size]))).encode("utf-8", "replace")
    return len(said).to_bytes(8, "little") + said + content[8 + size :]
