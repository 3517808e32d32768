"""A command in a fork of a process that has imported it and holds the default models: a second instead of ten.

What a command does in a process of its own, from the imports on, other tests hold (tests/scoring/test_golden.py, and
all that start a daemon or say more of the process than its folder).
"""

import atexit
import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

LOAD_S = 120.0
WITH_MODELS = ("score", "enroll")
READ = ("compute", "gate", "model", "text", "voice", "whisper")  # what the models are loaded by


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()
    ours.settimeout(LOAD_S)
    assert ours.recv(16) == b"ready"

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours


def run(arguments: Sequence[str], cwd: Path | None, timeout: float) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run([*SADSTREAM, *arguments], capture_output=True, text=True)`."""
    server = _server()
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
        server.settimeout(timeout)
        asked = {"arguments": [*map(str, arguments)], "cwd": str(cwd or Path.cwd()), "environment": dict(os.environ)}
        message = json.dumps(asked).encode("utf-8", "surrogateescape")
        socket.send_fds(server, [message], [out.fileno(), err.fileno()])
        try:
            code = int(server.recv(16))
        except (TimeoutError, ValueError):  # a late answer would be taken for the next command's
            _server.cache_clear()
            server.close()
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess(["sadstream", *arguments], code, *said)


@functools.cache
def _hold_models() -> None:
    from sadstream.config import Config
    from sadstream.scoring.analyzer import models
    from sadstream.scoring.analyzer.analyzer import Analyzer
    from sadstream.scoring.weights.catalogue import models_dir

    load, defaults, place = models.load_models, Config(), models_dir()
    loaded = load(defaults)
    Analyzer(loaded)  # which warms them up, once

    def held(config: Config) -> models.Models:
        same = models_dir() == place and all(getattr(config, table) == getattr(defaults, table) for table in READ)
        return replace(loaded, config=config) if same else load(config)

    models.load_models = held
    Analyzer._warm_up = lambda _: None  # type: ignore[method-assign]


def _serve(ours: socket.socket) -> None:
    import sadstream.cli.main  # noqa: F401
    from sadstream.base.errors import SadstreamError

    ours.send(b"ready")
    while True:
        message, fds, _, _ = socket.recv_fds(ours, 1 << 20, 2)
        if not message:
            return
        asked = json.loads(message.decode("utf-8", "surrogateescape"))
        if asked["arguments"][0] in WITH_MODELS:
            with contextlib.suppress(SadstreamError):  # which the command says itself
                _hold_models()
        pid = os.fork()
        if not pid:
            _command(asked, fds)
        for fd in fds:
            os.close(fd)
        _, status = os.waitpid(pid, 0)
        ours.send(str(os.waitstatus_to_exitcode(status)).encode())


def _command(asked: dict, fds: list[int]) -> None:
    from sadstream.cli.main import main

    code = 70
    try:
        for fd, place in zip(fds, (1, 2), strict=True):
            os.dup2(fd, place)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        main(asked["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
