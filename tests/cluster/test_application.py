"""The application for clusters that deploy by themselves: the same door, the same scorers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doors import Knocker, keyed, noise, request

from sadstream.base.errors import ConfigError
from sadstream.cluster import nodes, tokens
from sadstream.cluster.serve import application
from sadstream.daemon.remote.request import UnscoredAnswer

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

READY_S = 120.0
SERVE = [sys.executable, "-c", "from ray.serve.scripts import cli; cli()"]  # as `serve` of the installed Ray


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ConfigError, match="expected compute, replicas as well"):
        application({"listen": "tcp://0.0.0.0:5560"})


@pytest.mark.slow
@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_it_is_deployed_by_serve_run_on_a_cluster_that_was_there_before(tmp_path: Path) -> None:
    """The line of deploy/cluster.md, with other addresses."""
    _, known, _ = keyed(tmp_path)
    token = tokens.make_token(tmp_path / "token")
    base_port = nodes.free_base_port()
    endpoint = f"ipc://{tmp_path}/door"
    words = ["run", "--name", "sadstream", "--address", f"127.0.0.1:{base_port}", "sadstream.cluster.serve:application"]
    words += [f"listen={endpoint}", "replicas=1", "compute=cpu"]
    words += [f"secret_key={tmp_path}/serve.key", f"allow={tmp_path}/rooms.keys"]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    head = nodes.start_head(nodes.NodeSettings(token, base_port, resources='{"door": 1}'))
    try:
        with (tmp_path / "said").open("w+") as said, Knocker(endpoint, known) as room:
            serving = subprocess.Popen([*SERVE, *words], stdout=said, stderr=said, env=environment)
            until_s = time.monotonic() + READY_S
            found = None
            while not isinstance(found, UnscoredAnswer) and time.monotonic() < until_s and serving.poll() is None:
                room.send(request(1.0, wait_ms=6000.0), noise(1.0) * 0.01)
                found = (room.answer(7.0) or (b"", None))[1]
            serving.send_signal(signal.SIGINT)
            serving.wait(30)
    finally:
        head.end()

    assert isinstance(found, UnscoredAnswer), Path(said.name).read_text()
