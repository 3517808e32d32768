"""Configurations and presets as people write them, in TOML."""

import random
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzz import mutate
from fuzz.trial import Parts, Trial
from sadstream.config import Config, load, parse
from sadstream.config.loading import to_toml
from sadstream.scoring.mood.plan import checkpoint_path
from train.presets import load_preset, presets_folder, run_config

WRITTEN = (
    '[[stream]]\nname = "kitchen"\nsource = "mic"\ndevice = "USB"\n\n[[stream]]\nname = "hall"\nsource = "-"\n',
    '[publish]\nendpoint = "ipc:///run/sadstream/pub"\ntext = true\nreplay = "off"\n[journal]\npath = "/tmp/j.db"\n',
    '[publish]\nendpoint = "tcp://0.0.0.0:5556"\nsecret_key = "/etc/k"\nallow = "/etc/a"\n',
    "[vad]\naggressiveness = 3\nsilence_dbfs = -60.0\n[segment]\nopen_voiced = 5\nopen_window = 9\nhold_ms = 400\n",
    '[voice]\noffset = "calibrated"\nonly = ["anna", "ben"]\nmatch = 0.7\n[episode]\nfalse_alarms_h = 0.5\n',
    '[metrics]\nlisten = "127.0.0.1:9100"\n[service]\nheartbeat_s = 2.5\nlog_level = "debug"\n# a comment\n',
    "[model]\nprior = 0.2\nthreshold = 0.6\n",
    'stream = [{name = "a", source = "talk.wav"}, {name = "b"}]\n',
    "",
)
PRESET = """base = "thesis-small"
name = "own"
[text]
encoder = "minilm"
[systems.attention]
title = "Own"
front_end = "cnn"
sequence = "bilstm"
pooling = "attention"
text = true
batch_size = 8
learning_rate = 0.001
loss = "focal"
"""


@contextmanager
def configurations(folder: Path) -> Iterator[Trial]:
    """`--config FILE`."""
    seeds = [to_toml(Config()), *WRITTEN]
    path = folder / "sadstream.toml"

    def make(rng: random.Random) -> Parts:
        return [mutate.as_toml(rng, rng.choice(seeds), seeds)]

    def feed(parts: Parts) -> None:
        path.write_bytes(parts[0])
        config = load(path)
        assert parse(tomllib.loads(to_toml(config)), "again") == config
        checkpoint_path(config)

    yield Trial([[seed.encode()] for seed in seeds], make, feed)


@contextmanager
def presets(folder: Path) -> Iterator[Trial]:
    """`--preset FILE`, which may start from another."""
    known = [path.read_text() for path in sorted(presets_folder().glob("thesis*.toml"))]
    base = PRESET.replace('"thesis-small"', f'"{presets_folder() / "thesis-small.toml"}"')
    seeds = [*known, base]
    path = folder / "own.toml"

    def make(rng: random.Random) -> Parts:
        return [mutate.as_toml(rng, rng.choice(seeds), seeds)]

    def feed(parts: Parts) -> None:
        path.write_bytes(parts[0])
        preset = load_preset(str(path))
        for system in preset.systems:
            config = run_config(preset, system, "manifest.csv")
            assert config.name
            assert config.title is not None

    yield Trial([[base.encode()]], make, feed)
