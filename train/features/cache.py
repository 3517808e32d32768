"""Computed arrays kept by the content that they were computed from; a damaged entry is computed again."""

import hashlib
import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from sadstream.base.files import save_whole

Array: TypeAlias = NDArray[np.generic]

DIGEST_BYTES = 32


def default_folder() -> Path:
    """The user's cache."""
    return user_cache_path("sadstream") / "features"


def key_of(content: bytes, settings: str) -> str:
    """The key of what is computed from these bytes with these settings."""
    return hashlib.sha256(hashlib.sha256(content).digest() + settings.encode()).hexdigest()


class Cache:
    """A folder of arrays; each file ends with the SHA-256 of what stands before."""

    __slots__ = ("damaged", "folder")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Path] = []  # entries that were found damaged and left to be computed again

    def path(self, key: str) -> Path:
        """Where the entry of a key lies."""
        return self.folder / key[:2] / f"{key}.npy"

    def has(self, key: str) -> bool:
        """Whether there is an entry, sound or not."""
        return self.path(key).is_file()

    def get(self, key: str) -> Array | None:
        """The array of a key, or None when there is none or it is damaged."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            self.damaged.append(path)
            return None
        array: NDArray[Any] = np.load(io.BytesIO(body), allow_pickle=False)
        return array

    def put(self, key: str, array: Array) -> None:
        """Keep an array, whole or not at all."""
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        body = file.getvalue()
        save_whole(self.path(key), body + hashlib.sha256(body).digest())
