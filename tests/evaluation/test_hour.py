"""An hour of one voice that no weights were fitted to, with a sad stretch in it, as a file through the daemon."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sadstream.client import subscribe
from sadstream.events import EVENT_TYPES, Episode, Score, Status
from train.corpora.clips import CALM, Clip, read_audio, read_clips

DATA = os.environ.get("SADSTREAM_DATA", "")
RATE = 16_000
HOUR_S = 3600.0
SAD_FROM_S, SAD_TO_S = 1800.0, 1890.0
SAD_SHARE = 0.6


def an_hour(clips: list[Clip], path: Path, seed: int = 0) -> None:
    """Readings in random order, each as often as an hour needs, some 6 s between two; sad ones in the stretch alone."""
    rng = np.random.default_rng(seed)
    floor = (10 ** (-70 / 20) * rng.standard_normal(int((HOUR_S + 10) * RATE))).astype(np.float32)
    calm = [read_audio(clip.path) for clip in clips if clip.emotion in CALM]
    sad = [read_audio(clip.path) for clip in clips if clip.sad]
    t, order = 5.0, rng.permutation(len(calm))
    said = 0
    while t < HOUR_S:
        inside = SAD_FROM_S <= t < SAD_TO_S
        if inside and rng.random() < SAD_SHARE:
            heard = sad[int(rng.integers(len(sad)))]
        else:
            heard = calm[order[said % len(calm)]]
            said += 1
        at = int(t * RATE)
        piece = heard[: floor.size - at]
        floor[at : at + piece.size] += piece
        t += heard.size / RATE + (0.8 if inside else rng.lognormal(0.0, 0.5) * 6.0)
    soundfile.write(path, np.clip(floor, -1, 1), RATE)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="SADSTREAM_DATA names no folder with the open corpora")
@pytest.mark.parametrize("speaker", ["nemo_WR0"])
def test_the_sad_stretch_is_the_only_episode_of_the_hour(speaker: str, tmp_path: Path) -> None:
    clips = [clip for clip in read_clips(Path(DATA) / "speech") if clip.speaker == speaker]
    assert {clip.split for clip in clips} == {"dev"}
    an_hour(clips, tmp_path / "hour.flac")
    endpoint = f"ipc://{tmp_path}/pub"
    command = [sys.executable, "-m", "sadstream", "run", "--source", str(tmp_path / "hour.flac"), "--pace", "fast"]
    daemon = subprocess.Popen([*command, "--publish", endpoint, "--wait-subscriber", "60"])
    scores, starts = 0, []
    for event in subscribe(endpoint, types=EVENT_TYPES, timeout_s=1800.0):
        scores += isinstance(event, Score)
        if isinstance(event, Episode) and event.phase == "start":
            starts.append(event.t_end)
        if isinstance(event, Status) and event.state == "stopping":
            break

    assert daemon.wait(30.0) == 0
    assert scores > 300
    assert [SAD_FROM_S <= t <= SAD_TO_S + 30.0 for t in starts] == [True], starts
