"""A model on the disk is what it claims to be, or it is refused in one line."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from tiny_models import SPEC, Bringing, text_payload, transformers_folder, whisper_payload

from sadstream.base.errors import UnavailableError, UsageError
from sadstream.scoring.weights import manifest
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.fetch import fetch
from sadstream.scoring.weights.locate import locate


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models' folder of the test's own."""
    folder = tmp_path / "models"
    monkeypatch.setenv("SADSTREAM_MODELS", str(folder))
    return folder


@pytest.fixture
def tiny(root: Path) -> Path:
    """A fetched text encoder of 36 numbers."""
    return fetch([SPEC.name], origins=[("test", Bringing(text_payload()))])[0].directory


def refused(folder: Path) -> str:
    with pytest.raises(UnavailableError) as caught:
        models.verify(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_folder_is_the_environments_or_the_users_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.models_dir() == root

    monkeypatch.delenv("SADSTREAM_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert models.models_dir() == Path("/somewhere/sadstream/models")


@pytest.mark.parametrize(
    ("name", "known", "kind"),
    [
        ("tiny.en", "tiny.en", "whisper"),
        ("turbo", "large-v3-turbo", "whisper"),
        ("all-MiniLM-L6-v2", "minilm", "text"),
        ("sentence-transformers/all-MiniLM-L6-v2", "minilm", "text"),
        ("bert-base-uncased", "bert", "text"),
        ("someone/encoder", "someone/encoder", "text"),
    ],
)
def test_a_model_is_known_by_its_names(name: str, known: str, kind: str) -> None:
    assert (models.spec(name).name, models.spec(name).kind) == (known, kind)


def test_names_and_folders_are_unambiguous() -> None:
    names = [name for known in models.KNOWN for name in (known.name, *known.aliases)]

    assert len(names) == len(set(names))
    assert len({known.folder for known in models.KNOWN}) == len(models.KNOWN)


@pytest.mark.parametrize("name", ["tinny.en", "", "../etc", "a/b/c", "/etc", "a b/c"])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"expected one of tiny\.en, base, .*minilm.* owner/name") as caught:
        models.spec(name)

    assert "\n" not in str(caught.value)


arrays = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.lists(st.floats(-6e4, 6e4, width=16), min_size=1, max_size=6).map(lambda v: np.array(v, "<f2")),
    min_size=1,
    max_size=4,
)


@given(arrays, st.randoms())
def test_identity_ignores_order_precision_and_integer_buffers(
    tensors: dict[str, np.ndarray[tuple[int], np.dtype[np.float16]]], shuffler: random.Random
) -> None:
    names = list(tensors)
    shuffler.shuffle(names)
    other = {name: tensors[name].astype(shuffler.choice(["<f4", ">f2", "<f8"])) for name in names}

    assert models.identity({**other, "position_ids": np.arange(3)}) == models.identity(tensors)


def test_identity_changes_with_any_name_shape_or_value() -> None:
    base = {"a": np.zeros((2, 3), "<f2"), "b": np.ones(3, "<f2")}
    nudged = base["a"].copy()
    nudged[1, 2] = np.nextafter(np.float16(0), np.float16(1))
    others = [
        {"a": base["a"].reshape(3, 2), "b": base["b"]},
        {"a": base["a"], "c": base["b"]},
        {"a": nudged, "b": base["b"]},
        {"a": base["a"]},
        {"b": base["a"], "a": base["b"]},
    ]

    assert len({models.identity(t) for t in (base, *others)}) == 6


def test_a_fetched_model_is_found_listed_and_loaded(tiny: Path) -> None:
    loaded = models.load_tensors(tiny)

    assert locate("test/tiny", "text") == tiny
    assert models.installed() == [loaded.installed]
    assert models.folders() == (tiny,)
    assert loaded.installed.identity == models.identity(text_payload().tensors)
    assert loaded.installed.bytes == sum(p.stat().st_size for p in tiny.iterdir() if p.name != models.MANIFEST)
    assert loaded.config == {"hidden_size": 4}
    assert all(array.dtype == np.float16 and array.flags.writeable for array in loaded.tensors.values())


def test_one_flipped_bit_anywhere_is_refused(tiny: Path) -> None:
    rng = random.Random(0)
    files = sorted(tiny.iterdir())
    sizes = [path.stat().st_size for path in files]

    for path in rng.choices(files, sizes, k=200) + files:
        sound = path.read_bytes()
        damaged = bytearray(sound)
        damaged[rng.randrange(len(sound))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        assert str(path) in refused(tiny)
        path.write_bytes(sound)
    models.verify(tiny)


def test_every_byte_of_the_manifest_counts(tiny: Path) -> None:
    path = tiny / models.MANIFEST
    sound = path.read_bytes()

    for at in range(len(sound)):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        refused(tiny)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt", "manifest.json"])
def test_a_truncated_or_missing_file_is_refused_by_name(tiny: Path, name: str) -> None:
    path = tiny / name
    content = path.read_bytes()

    for size in (len(content) - 1, len(content) // 2, 0):
        path.write_bytes(content[:size])
        assert str(path) in refused(tiny)
    path.unlink()
    assert f"{path}: missing; fetch it again with: sadstream models fetch test/tiny" in refused(tiny)


def test_both_hashes_are_named(tiny: Path) -> None:
    listed = next(f for f in manifest.read(tiny).files if f.path == "vocab.txt")
    (tiny / "vocab.txt").write_bytes(b"")

    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert f"SHA-256 {empty}: expected {listed.sha256}" in refused(tiny)


def test_a_file_that_nobody_listed_is_refused(tiny: Path) -> None:
    (tiny / "adapter_config.json").write_text("{}")

    assert "adapter_config.json: not in manifest.json" in refused(tiny)


@pytest.mark.parametrize(
    "changes",
    [{"path": "../vocab.txt"}, {"path": "/dev/zero"}, {"path": ""}, {"path": "a\x1b[31m"}, {"sha256": "0" * 63}],
    ids=str,
)
def test_a_sealed_manifest_reaches_for_no_file_outside_its_folder(tiny: Path, changes: dict[str, str]) -> None:
    """/dev/zero would be read until there is no memory."""
    sound = manifest.read(tiny)
    forged = replace(sound, files=(replace(sound.files[0], **changes), *sound.files[1:]))
    (tiny / models.MANIFEST).write_bytes(manifest.render(forged))

    assert "not a model's manifest" in refused(tiny)


def test_a_known_name_over_other_weights_is_refused(root: Path) -> None:
    payload = whisper_payload()
    unpinned = replace(models.spec("small"), name="small")
    folder = fetch([unpinned.name], origins=[("test", Bringing(payload))])[0].directory
    forged = manifest.render(replace(manifest.read(folder), name="tiny.en"))
    (folder / models.MANIFEST).write_bytes(forged)

    message = refused(folder)
    assert models.identity(payload.tensors) in message
    assert str(models.spec("tiny.en").identity) in message


def test_a_user_s_own_folder_needs_no_manifest(tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path / "mine")

    loaded = models.load_tensors(locate(str(folder), "text"))

    assert (loaded.installed.kind, loaded.installed.source) == ("text", "own folder")
    assert list(loaded.tensors) == ["layer.0.weight"]
    assert loaded.installed.identity == models.identity(loaded.tensors)


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _bad_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _deep_config(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


def _list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def _cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _text_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("not weights at all")


@pytest.mark.parametrize(
    "damage", [_no_config, _bad_config, _deep_config, _list_config, _cut_weights, _no_weights, _text_weights]
)
def test_an_own_folder_that_is_no_model_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = transformers_folder(tmp_path / "mine")
    damage(folder)

    assert str(folder) in refused(folder)


@pytest.mark.parametrize(
    ("name", "kind", "complaint"),
    [
        ("tiny.en", "whisper", r"tiny\.en: not in .*models; fetch it with: sadstream models fetch tiny\.en"),
        ("all-mpnet-base-v2", "text", "fetch it with: sadstream models fetch mpnet"),
        ("someone/encoder", "text", "fetch it with: sadstream models fetch someone/encoder"),
        ("minilm", "whisper", "minilm is a text encoder: expected a Whisper model"),
        ("tinny", "whisper", "expected one of tiny.en"),
        ("/no/where", "text", "/no/where: no such folder"),
        ("./nowhere", "whisper", "nowhere: no such folder"),
    ],
)
def test_a_missing_model_is_answered_with_what_to_do(name: str, kind: models.Kind, complaint: str) -> None:
    with pytest.raises(UnavailableError, match=complaint) as caught:
        locate(name, kind)

    assert "\n" not in str(caught.value)


def test_a_checkpoint_file_is_answered_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(b"")

    with pytest.raises(UnavailableError, match=f"converted once by: sadstream models fetch {path}"):
        locate(str(path), "whisper")


def test_nothing_is_installed_where_there_is_no_folder() -> None:
    assert models.installed() == []
    assert models.folders() == ()


def test_verified_loading_of_a_whisper_model_is_cheap(root: Path) -> None:
    """The daemon does it at each start: 75 MB like tiny.en's in under half a second of a core, the best of five."""
    payload = whisper_payload()
    big = {**payload.tensors, "big": np.zeros((37_700, 1000), "<f2")}
    folder = root / "whisper-cheap"
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(payload.config)
    (folder / "model.safetensors").write_bytes(save(big))
    files = tuple(
        manifest.ListedFile(name, _sha256(folder / name), (folder / name).stat().st_size)
        for name in ("config.json", "model.safetensors")
    )
    claimed = manifest.ModelManifest("cheap", "whisper", models.identity(big), "MIT", "test", files)
    (folder / models.MANIFEST).write_bytes(manifest.render(claimed))

    times_s = []
    for _ in range(5):
        start_s = time.process_time()
        assert models.load_tensors(folder).installed.bytes > 75e6
        times_s.append(time.process_time() - start_s)
    assert min(times_s) < 0.5


def _sha256(path: Path) -> str:
    from sadstream.scoring.weights.origins.download import file_sha256

    return file_sha256(path)
