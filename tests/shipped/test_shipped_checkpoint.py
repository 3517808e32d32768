"""The shipped checkpoints' recipes: read strictly, and run whole on real speech where the corpora are at hand."""

import csv
import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sadstream.base.errors import ConfigError, DataError, MissingFileError
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.card import read_card
from train.corpora.clips import read_clips
from train.shipped.checkpoint import make_checkpoint
from train.shipped.config import OpenConfig, read_config
from train.shipped.export import licensed

DATA = os.environ.get("SADSTREAM_DATA", "")
RECIPE = Path("configs/open.toml")


def test_the_shipped_recipe_is_what_happens_without_one() -> None:
    assert read_config(RECIPE) == OpenConfig() == read_config(None)


def test_the_open_recipe_differs_in_its_data_alone_and_asks_only_for_what_a_business_may_use() -> None:
    commercial = read_config(Path("configs/commercial.toml"))

    data = {"corpora": (), "noise_licences": (), "text": OpenConfig().text}
    assert commercial.model_copy(update=data) == OpenConfig()
    assert licensed((*commercial.corpora, *commercial.text.corpora))[1]
    assert commercial.noise_licences
    assert not [name for name in commercial.noise_licences if "NC" in name or "SA" in name or "GPL" in name]


@pytest.mark.parametrize("name", checkpoint.SHIPPED)
def test_what_ships_says_whose_recordings_it_is_from_and_has_a_card_that_learns_voices(name: str) -> None:
    loaded = checkpoint.load(checkpoint.named(name))
    card = read_card(checkpoint.named(name), loaded.sha256[:12])

    assert loaded.header.commercial_use is (name == "open")
    assert loaded.header.fusion.statistics
    assert not loaded.header.provisional
    assert any("CREMA-D" in source for source in loaded.header.trained_on)
    assert card is not None
    assert card.voices is not None
    assert card.operating_point(1.0, "auto").caught >= card.operating_point(1.0, "off").caught
    assert checkpoint.named(name).stat().st_size < 10_000_000


def test_what_words_may_say_is_bounded() -> None:
    config = read_config(RECIPE)

    assert config.text.weight <= 1.0
    assert config.text.cap < config.audio_cap


@pytest.mark.parametrize(
    ("line", "named"),
    [("seeds = 3", "seeds"), ("folds = 1", "folds"), ("prior = nan", "prior"), ("[text]\nweight = 1.5", "text.weight")],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, line: str, named: str) -> None:
    (tmp_path / "bad.toml").write_text(line)

    with pytest.raises(ConfigError, match=named):
        read_config(tmp_path / "bad.toml")


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.toml"):
        read_config(tmp_path / "none.toml")


@pytest.mark.parametrize("row", ["a.wav,one,,,sad,1,train", "a.wav,one,s1,,sad,2,train", "a.wav,one,s1,,sad,x,train"])
def test_a_row_that_is_no_clip_is_named_with_its_line(tmp_path: Path, row: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"path,corpus,speaker,gender,emotion,sad,split\n{row}\n")

    with pytest.raises(DataError, match=r"manifest\.csv: line 2"):
        read_clips(tmp_path)


def test_a_folder_without_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"manifest\.csv"):
        read_clips(tmp_path)


@pytest.mark.skipif(not DATA, reason="SADSTREAM_DATA names no folder with the open corpora")
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("real_models")
def test_a_small_run_makes_a_checkpoint_and_a_second_one_the_same_bytes(tmp_path: Path) -> None:
    """Four clips of each speaker, a few steps: the figures mean nothing, the plumbing is the real one."""
    data = tmp_path / "data"
    _small(Path(DATA), data)
    config = OpenConfig.model_validate(
        {"folds": 2, "views": 2, "resamples": 20, "voice": {"steps": 8, "hidden": 4}, "text": {"other_lines": 100}}
    )
    made = [tmp_path / name / "made.safetensors" for name in ("first", "second")]
    for path in made:
        make_checkpoint(data, path, config, tmp_path / path.parent.name / "cache")

    assert made[0].read_bytes() == made[1].read_bytes()
    header = checkpoint.read_header(made[0])
    assert header.system == "whisper-attention"
    assert any("neutral meld" in metric.name for metric in header.metrics)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="SADSTREAM_DATA names no folder with the open corpora")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install '.[cluster]'")
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("real_models")
def test_shares_and_a_cluster_make_the_bytes_of_the_command_alone(tmp_path: Path) -> None:
    """A third of what the small run hears, as commands: alone, by two shares, on a cluster of this machine."""
    _small(Path(DATA), tmp_path / "data", every=3)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "folds = 2\nviews = 2\nresamples = 20\n[voice]\nsteps = 8\nhidden = 4\n[text]\nother_lines = 100\n"
    )
    made = {}
    for name, parts in (("alone", []), ("shares", ["0/2", "1/2"]), ("cluster", [])):
        out, cache = tmp_path / f"{name}.safetensors", tmp_path / name
        words = ["open", "--data", tmp_path / "data", "--config", recipe, "--cache", cache, "--out", out]
        command = [sys.executable, "-m", "train", *map(str, words)]
        shares = [subprocess.Popen([*command, "--share", part], stderr=subprocess.PIPE, text=True) for part in parts]
        said = [share.communicate()[1] for share in shares]
        assert all(share.returncode == 0 for share in shares), said
        before = set(cache.rglob("*.npz"))
        more = ["--cluster"] if name == "cluster" else []
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made[name] = out.read_bytes(), done.stdout
        assert not shares or before == set(cache.rglob("*.npz")), "what shares did is not done again"

    assert made["shares"] == made["alone"]
    assert made["cluster"] == made["alone"]


def _small(source: Path, folder: Path, every: int = 1) -> None:
    """A few clips of each emotion and every speaker (or every n-th), one noise, a little talk, few lines."""
    wanted = (("speech", ("speaker", "sad", "emotion")), ("noise", ("corpus",)), ("english", ("corpus",)))
    for name, key in wanted:
        kept: dict[tuple[str, ...], list[dict[str, str]]] = {}
        with (source / name / "manifest.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                group = kept.setdefault(tuple(row[k] for k in key), [])
                if not group:
                    group.append(row)
        speakers = {row["speaker"] for group in kept.values() for row in group} if name == "speech" else set()
        some = set(sorted(speakers)[::every])
        rows = [row for group in kept.values() for row in group if name != "speech" or row["speaker"] in some]
        (folder / name).mkdir(parents=True)
        with (folder / name / "manifest.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0].keys())
            table.writeheader()
            table.writerows(rows)
        for row in rows:
            target = folder / name / row["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source / name / row["path"])
    (folder / "text").mkdir()
    for path in (source / "text").glob("*.csv.gz"):
        head, *lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        (folder / "text" / path.name).write_bytes(gzip.compress(head + b"".join(lines[:: every**3])))
