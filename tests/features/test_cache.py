"""Computed arrays are kept by what they come from; whatever is damaged is computed again."""

from pathlib import Path

import numpy as np
import pytest

from train.features.cache import Array, Cache, key_of

KEY = key_of(b"heard", "settings")


def parts() -> dict[str, Array]:
    return {"mix.norm.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7), "none": np.zeros(0)}


def never() -> dict[str, Array]:
    raise AssertionError("computed although it is there")


def test_other_content_or_other_settings_are_another_key() -> None:
    assert len({KEY, key_of(b"heard", "other"), key_of(b"herd", "settings"), key_of(b"heards", "ettings")}) == 4


def test_arrays_by_name_are_computed_once_and_come_back_as_they_were(tmp_path: Path) -> None:
    first = Cache(tmp_path).arrays(KEY, parts)
    again = Cache(tmp_path).arrays(KEY, never)

    for found in (first, again):
        assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
            name: (a.dtype, a.shape, a.tobytes()) for name, a in parts().items()
        }


def test_one_array_is_computed_once(tmp_path: Path) -> None:
    computed = [Cache(tmp_path).array(KEY, lambda value=value: np.full(3, value)) for value in (1.0, 2.0)]  # type: ignore[misc]

    assert [array.tolist() for array in computed] == [[1.0] * 3] * 2


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:50] + b"?" + c[51:]])
def test_a_damaged_entry_is_named_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    Cache(tmp_path).arrays(KEY, parts)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]

    assert Cache(tmp_path).arrays(KEY, parts)["steps"] == 7
    assert caplog.messages == [f"sadstream-train: {path}: damaged; computed again"]
    assert Cache(tmp_path).arrays(KEY, never)["steps"] == 7
