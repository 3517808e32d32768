"""`sadstream demo`: the bundled scene through the daemon into a subscriber in another process."""

import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from sadstream.cli.setup.inventory import NOT_COMMERCIAL, needed
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.locate import locate

SAYS = (
    "Eight utterances by three actors (RAVDESS, CC BY-NC-SA 4.0), a fan in between. The voices are acted:\n"
    "what a score is worth on real sadness is not measured here."
)
START_S = 120  # models load within seconds; a slow disk may need more
SCENE_S = 60  # the scene is half as long
STOP_S = 5


def scene_path() -> Path:
    """The recording that ships with the package."""
    return Path(str(files("sadstream.cli.demo") / "scene" / "scene.flac"))


def play(pace: str) -> int:
    """Print every score as it comes; the daemon's exit code."""
    header = checkpoint.read_header(checkpoint.default_path())
    kinds = {spec.name: spec.kind for spec in models.KNOWN}
    for name in needed(header):
        locate(name, kinds[name])
    print(SAYS)
    if not header.commercial_use:
        print(NOT_COMMERCIAL.format(licence=header.licence))
    with tempfile.TemporaryDirectory(prefix="sadstream-") as folder:
        return _play(f"ipc://{folder}/pub", pace)


def _play(endpoint: str, pace: str) -> int:
    from sadstream.client import subscribe
    from sadstream.client.lines import line
    from sadstream.events import EVENT_TYPES, Event, Status

    command = [sys.executable, "-m", "sadstream", "run", "--source", str(scene_path()), "--pace", pace]
    daemon = subprocess.Popen([*command, "--publish", endpoint, "--wait-subscriber", str(START_S)])
    try:
        state = ""
        for event in subscribe(endpoint, types=EVENT_TYPES, timeout_s=START_S + SCENE_S):
            if not isinstance(event, Event) or (isinstance(event, Status) and event.state == state):
                continue  # a heartbeat
            print(line(event), flush=True)
            state = event.state if isinstance(event, Status) else state
            if state == "stopping":
                break
        return daemon.wait(STOP_S)
    finally:
        daemon.terminate()
        with suppress(subprocess.TimeoutExpired):
            daemon.wait(STOP_S)
        daemon.kill()
