"""Recordings turned into what the audio branch reads: log-Mel matrices or encoder states, computed once."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sadstream.audio.filters.highpass import IDENTITY
from sadstream.audio.filters.level import at_level
from sadstream.base.cores import own_cores
from sadstream.base.errors import ConfigError, DataError, SadstreamError, UnavailableError
from sadstream.base.progress import Advance, progress
from sadstream.base.samples import SAMPLE_RATE, SEGMENT_SAMPLES
from sadstream.scoring.fusion.features import log_mel
from sadstream.scoring.fusion.header import LogMelConfig
from train.corpora.clips import audio_rate, read_speech
from train.corpora.manifest import Utterance
from train.features.cache import Array, Cache, key_of
from train.presets import AudioSource

MIN_PIECE_SAMPLES = SAMPLE_RATE // 2  # a shorter rest is no piece of its own
ALONE = 64  # recordings that are quicker done than a second process is started
CHUNK = 16


@dataclass(frozen=True, slots=True)
class LogMelJob:
    """One recording to be turned into log-Mel matrices, if that was not done before."""

    path: str
    features: LogMelConfig
    audio: AudioSource
    cache: Path


@dataclass(frozen=True, slots=True)
class LogMelResult:
    """The hash of a recording's file, the key of what was computed, and what was wrong, if anything."""

    digest: str
    key: str
    trouble: str = ""


def pieces(samples: NDArray[np.float32], audio: AudioSource) -> NDArray[np.float32]:
    """(k, n) float32 of what is heard: the first 3 s, every 3 s, or the first `whole_s`; filled up with zeros."""
    length = audio.whole_s * SAMPLE_RATE if audio.view == "whole" else SEGMENT_SAMPLES
    if audio.view != "pieces":
        samples = samples[:length]
    count = max(1, -(-samples.size // length))
    if count > 1 and samples.size - (count - 1) * length < MIN_PIECE_SAMPLES:
        count -= 1
    cut = np.zeros(count * length, dtype=np.float32)
    cut[: min(samples.size, cut.size)] = samples[: cut.size]
    return cut.reshape(count, length)


def heard_samples(total: int, audio: AudioSource) -> list[int]:
    """How many samples of each piece hold audio, of a recording of `total` samples."""
    length = audio.whole_s * SAMPLE_RATE if audio.view == "whole" else SEGMENT_SAMPLES
    if audio.view != "pieces":
        return [min(total, length)]
    count = max(1, -(-total // length))
    if count > 1 and total - (count - 1) * length < MIN_PIECE_SAMPLES:
        count -= 1
    return [min(length, total - i * length) for i in range(count)]


def total_samples(path: str) -> int:
    """Samples of a recording at 16 kHz, from its header."""
    frames, rate = audio_rate(Path(path))
    return round(frames * SAMPLE_RATE / rate)


def _all_kept(jobs: Sequence[LogMelJob]) -> list[LogMelResult]:
    """The results of jobs that were all done before; nothing where one was not."""
    done = []
    for job in jobs:
        try:
            digest, key = _keys(job)
        except OSError:
            return []
        if Cache(job.cache).get(key) is None:
            return []
        done.append(LogMelResult(digest, key))
    return done


def _keys(job: LogMelJob) -> tuple[str, str]:
    content = Path(job.path).read_bytes()
    settings = f"log-mel {job.features.model_dump_json()} {job.audio.view} {job.audio.whole_s} {IDENTITY}"
    return hashlib.sha256(content).hexdigest(), key_of(content, settings)


def compute_log_mel(job: LogMelJob) -> LogMelResult:
    """Do one job, in whatever process; trouble is said, not raised, so that the rest is not lost."""
    try:
        (digest, key), cache = _keys(job), Cache(job.cache)
        if cache.get(key) is None:
            cut = pieces(read_speech(Path(job.path)), job.audio)
            if job.features.level_dbfs is not None and job.audio.view == "whole":
                raise ConfigError("features: level_dbfs: expected none where whole utterances are heard")
            levelled = torch.stack([torch.from_numpy(at_level(piece, job.features.level_dbfs)) for piece in cut])
            matrices = log_mel(levelled, job.features).numpy()
            # Twelve seconds of float32 for 10,039 utterances are 1.9 GB; half precision is 0.004 off at most.
            cache.put(key, matrices if job.audio.view == "first" else matrices.astype("float16"))
    except OSError as error:
        return LogMelResult("", "", f"{job.path}: cannot be read: {error.strerror}")
    except UnavailableError:  # the cache cannot be written: no fault of the recording
        raise
    except SadstreamError as error:
        return LogMelResult("", "", str(error))
    return LogMelResult(digest, key)


def one_thread() -> None:
    """Each process of a pool computes with one thread."""
    torch.set_num_threads(1)


def log_mels(rows: Sequence[Utterance], features: LogMelConfig, audio: AudioSource, cache: Cache) -> list[LogMelResult]:
    """The log-Mel matrices of all rows in the cache, computed in parallel; DataError after the rest was done."""
    jobs = [LogMelJob(row.path, features, audio, cache.folder) for row in rows]
    with progress("log-Mel", len(jobs)) as advance:
        done = _all_kept(jobs)  # a pool takes longer to start than to read
        if done:
            return done
        if len(jobs) <= ALONE:
            done = [_advancing(compute_log_mel(job), advance) for job in jobs]
        else:
            workers = own_cores()
            # Not "forkserver": its socket lies under TMPDIR, whose name may be too long for one.
            with ProcessPoolExecutor(workers, get_context("spawn"), initializer=one_thread) as pool:
                results = pool.map(compute_log_mel, jobs, chunksize=CHUNK)
                try:
                    done = [_advancing(result, advance) for result in results]
                except BrokenProcessPool:
                    raise UnavailableError(
                        "a process that computes features was ended from outside, as the system does when memory is "
                        "short; make room and run the same command again, it goes on"
                    ) from None
    complain([found.trouble for found in done if found.trouble])
    return done


def _advancing(done: LogMelResult, advance: Advance) -> LogMelResult:
    advance()
    return done


def complain(troubles: Sequence[str]) -> None:
    """DataError with one line for the recordings that could not be used; nothing if there are none."""
    if troubles:
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        raise DataError(f"{troubles[0]}{more}; restore what is named, or take its line out of the manifest")


def stored(keys: Sequence[LogMelResult], cache: Cache) -> list[Array]:
    """The arrays of these keys; DataError when one vanished, was damaged since, or holds what is no number."""
    arrays = []
    for done in keys:
        array = cache.get(done.key)
        if array is None:
            raise DataError(f"{cache.path(done.key)}: damaged while in use; run the same command again")
        if not np.isfinite(np.asarray(array, dtype=np.float32)).all():
            raise DataError(f"{cache.path(done.key)}: NaN in features; delete it and run the same command again")
        arrays.append(array)
    return arrays
