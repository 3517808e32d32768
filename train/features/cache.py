"""Computed arrays kept by the content that they were computed from; a damaged entry is computed again."""

import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from sadstream.base.files import save_atomic

log = logging.getLogger("train")  # nobody sets it up: a warning is a line on standard error

Array: TypeAlias = NDArray[np.generic]
Scalar = TypeVar("Scalar", bound=np.generic)

DIGEST_BYTES = 32


def default_folder() -> Path:
    """The user's cache."""
    return user_cache_path("sadstream") / "features"


def key_of(content: bytes, settings: str) -> str:
    """The key of what is computed from these bytes with these settings."""
    return hashlib.sha256(hashlib.sha256(content).digest() + settings.encode()).hexdigest()


class Cache:
    """A folder of arrays; each file ends with the SHA-256 of what stands before."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the entry of a key lies."""
        return self.folder / key[:2] / f"{key}.npy"

    def has(self, key: str) -> bool:
        """Whether there is an entry, sound or not."""
        return self.path(key).is_file()

    def get(self, key: str) -> Array | None:
        """The array of a key, or None when there is none or it is damaged."""
        body = self._body(self.path(key))
        if body is None:
            return None
        array: NDArray[Any] = np.load(io.BytesIO(body), allow_pickle=False)
        return array

    def put(self, key: str, array: Array) -> None:
        """Keep an array, whole or not at all."""
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        self._keep(self.path(key), file.getvalue())

    def array(self, key: str, compute: Callable[[], NDArray[Scalar]]) -> NDArray[Scalar]:
        """The array of a key; computed and kept where there is none."""
        found: NDArray[Any] | None = self.get(key)
        if found is not None:
            return found
        computed = compute()
        self.put(key, computed)
        return computed

    def arrays(self, key: str, compute: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """Arrays by name that belong together, in one entry; computed and kept where there are none."""
        path = self.path(key).with_suffix(".npz")
        body = self._body(path)
        if body is not None:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                return dict(stored)
        computed: dict[str, Any] = compute()
        file = io.BytesIO()
        np.savez(file, **computed)
        self._keep(path, file.getvalue())
        return computed

    def _body(self, path: Path) -> bytes | None:
        try:
            content = path.read_bytes()
        except OSError:
            return None
        body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            log.warning("sadstream-train: %s: damaged; computed again", path)
            return None
        return body

    @staticmethod
    def _keep(path: Path, body: bytes) -> None:
        save_atomic(path, body + hashlib.sha256(body).digest())
