"""The wire for tests: made-up scores, every event checked, and programs of their own at both ends.

Run as a program it publishes (`python wire.py publish ENDPOINT ...`) or listens (`python wire.py listen ENDPOINT ...`).
"""

import argparse
import json
import math
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sadstream.base import logs
from sadstream.client import subscribe
from sadstream.client.follower import Gap, Restart
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.publishing.uplink import Uplink
from sadstream.events import Episode, Latency, Reason, Score, State, Status, from_json, parts_agree
from sadstream.events.keys import ServerKeys, client_curve, read_secret

START_S = 20.0
MODEL = "0123456789ab"


def score_fields(number: int = 0, audio_logit: float | None = 0.5, **changes: Any) -> dict[str, Any]:
    """What a score says beside its opening."""
    p_sad = 1.0 / (1.0 + math.exp(1.0 - (audio_logit or 0.0)))
    return {
        "segment": number, "t_start": 2.0 * number, "t_end": 2.0 * number + 1.5, "p_sad": p_sad, "threshold": 0.5,
        "sad": p_sad >= 0.5, "bias_logit": -1.0, "audio_logit": audio_logit, "text_logit": 0.0, "offset_logit": 0.0,
        "text_used": False, "text_reason": "off", "voiced": 0.8, "dropped": 0, "model": MODEL,
        "latency_ms": Latency(queue=0.1, vad=0.2, whisper=3.0, text=0.0, fusion=1.0, publish=0.1, total=4.4),
    } | changes  # fmt: skip


def opening(seq: int = 0, session: str = "a" * 16, stream: str = "mic") -> dict[str, Any]:
    """An envelope that needs no publisher."""
    return {
        "stream": stream, "session": session, "seq": seq, "time": "2030-01-31T12:00:00.000Z", "monotonic_s": 1.5
    }  # fmt: skip


def a_score(seq: int = 0, session: str = "a" * 16, stream: str = "mic", **changes: Any) -> Score:
    """A score event."""
    return Score(**opening(seq, session, stream), **score_fields(seq, **changes))


def a_status(seq: int = 0, session: str = "a" * 16, stream: str = "mic", **changes: Any) -> Status:
    """A status event."""
    fields = {"state": "listening", "reason": "none", "last_score_seq": None, "dropped": 0, "rtf": 0.1}
    return Status(**opening(seq, session, stream), **(fields | changes))


def an_episode(seq: int = 0, **changes: Any) -> Episode:
    """An episode event."""
    fields = {
        "episode": 0, "phase": "start", "t_start": 3.0, "t_end": 6.0, "segments": 1, "sad_segments": 1,
        "evidence": 3.2, "mood": 0.7, "first_score_seq": 2, "last_score_seq": 2, "false_alarms_h": 1.0, "model": MODEL,
    }  # fmt: skip
    return Episode(**opening(seq), **(fields | changes))


def say_score(publisher: Publisher, number: int, lost: bool = False, stream: str = "mic") -> Score:
    """Send a score."""
    event = Score(**publisher.opening(stream, "score"), **score_fields(number, audio_logit=(number % 9 - 4) / 2))
    return publisher.send(event, lost=lost)


def say_status(
    publisher: Publisher, stream: str = "mic", state: State = "listening", reason: Reason = "none"
) -> Status:
    """Send a status."""
    opening = publisher.opening(stream, "status")
    return publisher.send(Status(**opening, state=state, reason=reason, dropped=0, rtf=0.1))


@cache
def validator() -> Any:
    """The JSON Schema that `sadstream schema` prints, ready to judge."""
    import jsonschema

    from sadstream.events.schema import event_schema

    return jsonschema.Draft202012Validator(event_schema())


def assert_true_to_contract(line: str | bytes) -> dict[str, Any]:
    """One event as JSON: valid by the schema, readable, its logit parts sum to its logit."""
    body: dict[str, Any] = json.loads(line)
    validator().validate({name: value for name, value in body.items() if name != "file"})
    event = from_json(line)
    assert event is not None
    if isinstance(event, Score):
        assert parts_agree(event)
    return body


@contextmanager
def program(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """One end of the wire as a process of its own, killed at the end; it says a line when it is ready."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def free_tcp() -> str:
    """A tcp endpoint of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def ready(process: subprocess.Popen[str]) -> None:
    """Wait for the line that it says when it has bound its socket or heard the first event."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def publish(arguments: argparse.Namespace) -> None:
    """Publish scores at a steady pace until so many are out, then wait for the end of standard input."""
    keys = None
    if arguments.secret:
        keys = ServerKeys(read_secret(Path(arguments.secret)), Path(arguments.allow))
    uplink = None
    if arguments.to:
        logs.set_up()
        uplink = Uplink(arguments.to, client_curve(arguments.to_server_key, arguments.key))
    with Publisher(arguments.endpoint, keys, uplink=uplink) as publisher:
        say_status(publisher, arguments.stream)
        print("ready", flush=True)
        due = said = time.monotonic()
        number = 0
        rss = None
        while arguments.total is None or number < arguments.total:
            due += arguments.every_ms / 1000
            while (left := due - time.monotonic()) > 0:
                publisher.wait(math.ceil(1000 * left))
            publisher.answer_joins()
            say_score(publisher, number, stream=arguments.stream)
            number += 1
            if rss is None and time.monotonic() - said > 1.0:
                rss = resident_kib()
            if number % 200 == 0:
                say_status(publisher, arguments.stream)
        say_status(publisher, arguments.stream, state="stopping")
        print(json.dumps({"sent": number, "grown_kib": resident_kib() - (rss or resident_kib())}), flush=True)
        until = time.monotonic() + START_S
        while time.monotonic() < until and not readable(sys.stdin):
            publisher.wait(50)


def listen(arguments: argparse.Namespace) -> None:
    """Count what comes until the daemon stops; how many scores, how many lost, the slowest in the middle 98 %."""
    scores, missed, restarts, delays = 0, 0, 0, []
    for item in subscribe(arguments.endpoint, timeout_s=60.0):
        if isinstance(item, Score):
            scores += 1
            delays.append(time.monotonic() - item.monotonic_s)
            if scores == 1:
                print("ready", flush=True)
        elif isinstance(item, Gap) and item.event_type == "score":
            missed += item.missed
        elif isinstance(item, Restart):
            restarts += 1
        elif isinstance(item, Status) and item.state == "stopping":
            break
    delays.sort()
    p99_ms = 1000 * delays[int(0.99 * len(delays))] if delays else None
    print(json.dumps({"scores": scores, "missed": missed, "restarts": restarts, "p99_ms": p99_ms}), flush=True)


def readable(file: Any) -> bool:
    """Something, or the end, waits to be read."""
    import select

    return bool(select.select([file], [], [], 0)[0])


def resident_kib(pid: int | None = None) -> int:
    """Resident memory of this process now, or of another."""
    pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def main() -> None:
    """Either end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("end", choices=["publish", "listen"])
    parser.add_argument("endpoint")
    parser.add_argument("--every-ms", type=float, default=5.0)
    parser.add_argument("--total", type=int)
    parser.add_argument("--secret")
    parser.add_argument("--allow")
    parser.add_argument("--stream", default="mic")
    parser.add_argument("--to")
    parser.add_argument("--to-server-key")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    (publish if arguments.end == "publish" else listen)(arguments)


if __name__ == "__main__":
    main()
