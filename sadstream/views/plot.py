"""Pictures of a recording: waveform, segments and scores in one PNG."""

import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sadstream.audio.sources.recording import Recording
from sadstream.base.boundary import one_line
from sadstream.base.errors import UnavailableError
from sadstream.base.files import write_atomic
from sadstream.base.samples import SAMPLE_RATE, to_float
from sadstream.events import Score
from sadstream.scoring.recording import RecordedSegment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MARK = b"tEXtSoftware\0sadstream"  # in the pictures that are made here
SAD, OTHER, WAVE = "#2f6db5", "#b9c2cc", "#6b7680"
PEAK_HZ = 100  # points a second of the drawn waveform


def require_matplotlib() -> None:
    """Fail early, before models load."""
    try:
        import matplotlib
    except ImportError:
        raise UnavailableError("--plot: needs matplotlib; in the checkout: pip install '.[plot]'") from None
    matplotlib.use("Agg")


def plot_recording(recording: Recording, found: Sequence[RecordedSegment], path: Path) -> None:
    """Write the picture of a scored recording."""
    require_matplotlib()
    import matplotlib.pyplot as plt

    peaks = _peaks(recording)
    width = min(24.0, max(8.0, peaks.size / PEAK_HZ / 3))
    figure, (wave, score) = plt.subplots(
        2, 1, sharex=True, figsize=(width, 5), layout="constrained", gridspec_kw={"height_ratios": [1, 1.4]}
    )
    _draw_wave(wave, peaks, found)
    _draw_scores(score, found)
    sad = sum(s.score.sad for s in found)
    figure.suptitle(f"{one_line(recording.path.name)}: {len(found)} segments, {sad} sad", parse_math=False)
    try:
        _write(figure, path)
    finally:
        plt.close(figure)


def _write(figure: Any, path: Path) -> None:
    """The picture whole or not at all."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, format="png", metadata={"Software": "sadstream"})
    try:
        write_atomic(path, picture.getvalue())
    except OSError as error:
        raise UnavailableError(f"--plot {path}: cannot be written: {error.strerror}; choose another file") from None


def _peaks(recording: Recording) -> "NDArray[np.float32]":
    """The largest absolute sample of each 10 ms."""
    import numpy as np

    block = SAMPLE_RATE // PEAK_HZ
    frames = [to_float(frame.pcm) for frame in recording.frames()]
    samples = np.concatenate(frames) if frames else np.zeros(block, dtype=np.float32)
    peaks: NDArray[np.float32] = np.abs(samples[: samples.size // block * block]).reshape(-1, block).max(axis=1)
    return peaks


def _draw_wave(axes: Any, peaks: "NDArray[np.float32]", found: Sequence[RecordedSegment]) -> None:
    import numpy as np

    t = np.arange(peaks.size) / PEAK_HZ
    axes.fill_between(t, -peaks, peaks, color=WAVE, linewidth=0)
    for scored in found:
        color = SAD if scored.score.sad else OTHER
        axes.axvspan(scored.score.t_start, scored.score.t_end, color=color, alpha=0.35, linewidth=0)
    axes.set_ylabel("amplitude")
    axes.set_ylim(-1.05 * max(peaks.max(), 0.01), 1.05 * max(peaks.max(), 0.01))


def _draw_scores(axes: Any, found: Sequence[RecordedSegment]) -> None:
    for scored in found:
        event = scored.score
        color = SAD if event.sad else OTHER
        axes.bar(event.t_start, event.p_sad, width=event.t_end - event.t_start, align="edge", color=color)
        middle = (event.t_start + event.t_end) / 2
        axes.text(middle, min(event.p_sad + 0.02, 0.95), f"{event.p_sad:.2f}", ha="center", va="bottom", fontsize=8)
    if found:
        axes.axhline(found[0].score.threshold, color="black", linestyle="--", linewidth=1)
        axes.text(0.0, found[0].score.threshold, " threshold", va="bottom", fontsize=8)
    axes.set_ylim(0.0, 1.0)
    axes.set_ylabel("p_sad")
    axes.set_xlabel("seconds")


def plot_history(scores: Sequence[Score], path: Path) -> None:
    """Write the picture of a journal's scores over time, a row a stream."""
    require_matplotlib()
    import matplotlib.pyplot as plt

    streams = sorted({score.stream for score in scores})
    figure, rows = plt.subplots(
        len(streams), 1, sharex=True, squeeze=False, figsize=(12, 1 + 2.5 * len(streams)), layout="constrained"
    )
    for (axes,), stream in zip(rows, streams, strict=True):
        own = [score for score in scores if score.stream == stream]
        times = [datetime.fromisoformat(score.time).astimezone().replace(tzinfo=None) for score in own]
        axes.scatter(times, [s.p_sad for s in own], s=10, c=[SAD if s.sad else OTHER for s in own])
        axes.step(times, [s.threshold for s in own], where="post", color="black", linestyle="--", linewidth=1)
        axes.set_ylim(0.0, 1.0)
        axes.set_ylabel(f"{stream}\np_sad")
    figure.suptitle(f"{len(scores)} scores, {sum(score.sad for score in scores)} sad (local time)")
    try:
        _write(figure, path)
    finally:
        plt.close(figure)
