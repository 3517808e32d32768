"""What goes over sockets: events, replay requests, pauses, ZMTP itself, keys and who may listen."""

import itertools
import json
import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import zmq
from wire import a_score, a_status, an_episode, free_tcp

from fuzz import mutate
from fuzz.trial import Parts, Trial, each
from sadstream.client import ALL_TYPES
from sadstream.client.follower import Gap
from sadstream.client.lines import finding_line, line
from sadstream.client.reader import Reader, SubscriptionRequest
from sadstream.client.subscription import _answer, _event
from sadstream.daemon.publishing.authenticator import ZAP_DOMAIN, ZapAuthenticator
from sadstream.daemon.publishing.publisher import Publisher
from sadstream.daemon.supervision.control import ControlSocket
from sadstream.events import Event, from_json, to_json, to_wire
from sadstream.events.control import DaemonReport, StreamReport, Word, ask, control_path
from sadstream.events.control import from_json as report_of
from sadstream.events.keys import AllowList, allow, client_curve, new_key, public_key, server_keys, zap_answer
from sadstream.events.query import Query
from sadstream.views.watch.glyphs import BLOCKS
from sadstream.views.watch.screen import Screen
from sadstream.views.web.feed import Feed

STREAM = StreamReport(
    stream="mic", state="listening", reason="none", flows=True, dropped=0, gaps=0, segments=3, rtf=0.1
)
REPORT = DaemonReport(pid=1, endpoint="ipc:///x", words=False, streams=(STREAM,))
WAIT_MS = 2000


def some_events() -> list[Event]:
    """Two sessions of one stream, another stream, every type, optional fields there and not."""
    one, two = "a" * 16, "b" * 16
    return [
        a_status(0, one, state="starting", replay="ipc:///tmp/x.replay"),
        a_score(0, one, mood=0.4, uncertain=False, emotions={"sad": 0.75, "calm": 0.25}, valence=-0.5, arousal=0.0),
        a_score(1, one, provisional=True, text="so be it", text_used=True, text_logit=0.0, text_reason="none"),
        a_score(3, one, audio_logit=None, bias_logit=None, text_logit=None, offset_logit=None, p_sad=0.4, sad=False),
        an_episode(0),
        a_status(1, one, last_score_seq=7, state="degraded", reason="muted", dropped=3),
        a_status(0, two, replay="tcp://127.0.0.1:40000"),
        a_score(0, two),
        a_score(0, one, stream="room-1"),
    ]


def mutated_event(rng: random.Random, event: Event) -> bytes:
    """A frame: its topic, and its JSON with something odd in it; at times the topic too."""
    frame = to_wire(event)
    if rng.random() < 0.2:
        return mutate.binary(rng, frame, head=len(frame))
    head, _, body = frame.partition(b" ")
    said = mutate.as_json(rng, json.loads(body))
    return (mutate.text(rng, head.decode()) if rng.random() < 0.1 else head) + b" " + said


@contextmanager
def events(_: Path) -> Iterator[Trial]:
    """What a listener makes of frames: typed events, findings, and each way to show them."""
    known = some_events()

    def make(rng: random.Random) -> Parts:
        chosen = [rng.choice(known) for _ in range(rng.choice((1, 2, 4, 8)))]
        return [mutated_event(rng, one) if rng.random() < 0.7 else to_wire(one) for one in chosen]

    def feed(parts: Parts) -> None:
        asked = SubscriptionRequest(
            endpoint="tcp://127.0.0.1:5556", stream=None, types=frozenset(ALL_TYPES), latest=False,
            replay=len(parts) % 2 * 5, curve=None, provisional=True,
        )  # fmt: skip
        reader, screen, page = Reader(asked, None), Screen("ipc:///x"), Feed(words=True)
        for frame in parts:
            event = _event(frame)
            if event is None:
                continue
            assert from_json(to_json(event)) == from_json(to_json(from_json(to_json(event))))  # type: ignore[arg-type]
            for query in reader.queries(event):
                query.to_json()
            for item in reader.take([], event):
                said = line(item) if isinstance(item, Event) else finding_line(item)
                assert said.isprintable(), said
                said.encode()
                screen.feed(item, 1.0)
                page.take(item)
                if isinstance(item, Gap):
                    assert item.missed > 0
        for width, height in ((80, 24), (20, 3)):
            screen.frame(width, height, 2.0, BLOCKS)
        assert screen.conditions(2.0).isprintable()

    yield Trial([[to_wire(event) for event in known]], make, feed)


@contextmanager
def control(folder: Path) -> Iterator[Trial]:
    """`pause`, `resume`, `status` at the daemon's control socket."""
    path = folder / "pub.control"
    asked: list[Word] = []

    def answer(word: Word) -> DaemonReport:
        asked.append(word)
        return REPORT

    words = ["pause\n", "resume\n", "status\n", "status", "\n"]

    def make(rng: random.Random) -> Parts:
        return [
            mutate.text(rng, rng.choice(words), words) if rng.random() < 0.8 else rng.choice(words).encode()
            for _ in range(rng.choice((1, 1, 1, 2, 5, 40)))
        ]

    with ControlSocket(path, answer) as served:

        def feed(parts: Parts) -> None:
            asked.clear()
            with ExitStack() as open_:
                clients = []
                for part in parts:
                    if not clients or len(part) % 3:
                        clients.append(open_.enter_context(socket.socket(socket.AF_UNIX)))
                        clients[-1].setblocking(False)
                        with suppress(BlockingIOError):
                            clients[-1].connect(str(path))
                    with suppress(OSError):
                        clients[-1].sendall(part)
                    served.serve()
                    with suppress(OSError):
                        clients[-1].recv(4096)
            for _ in range(3):
                served.serve()
            assert len(asked) <= len(parts)
            _is_answered(path, served)

        yield Trial([[word.encode()] for word in words[:3]], make, feed)


def _is_answered(path: Path, served: ControlSocket) -> None:
    """A good request after all that."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"status\n")
        client.settimeout(WAIT_MS / 1000)
        for _ in range(100):
            served.serve()
            if select.select([client], [], [], 0.01)[0]:
                break
        assert report_of(client.recv(65_536)) == REPORT


@contextmanager
def answers(folder: Path) -> Iterator[Trial]:
    """What `sadstream status` reads, from a program that is no sadstream, or one of another time."""
    endpoint = f"ipc://{folder}/pub"
    whole = json.loads(REPORT.to_json())

    def make(rng: random.Random) -> Parts:
        said = mutate.as_json(rng, whole)
        return [mutate.binary(rng, said, head=len(said)) if rng.random() < 0.2 else said]

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(control_path(endpoint)))
        listening.listen(8)

        def feed(parts: Parts) -> None:
            server = threading.Thread(target=_say_once, args=(listening, parts[0]))
            server.start()
            try:
                ask(endpoint, "status")
            finally:
                server.join()

        yield Trial([[REPORT.to_json()]], make, feed)


def _say_once(listening: socket.socket, what: bytes) -> None:
    client, _ = listening.accept()
    with client, suppress(OSError):
        client.recv(64)
        client.sendall(what)


def _queries(rng: random.Random) -> Parts:
    """A request as a late reader sends it, or frames that are none."""
    whole = rng.choice(
        [
            {"v": 1, "last": 5}, {"v": 1, "type": "status", "last": 0},
            {"v": 1, "stream": "mic", "type": "score", "session": "a" * 16, "first_seq": 0, "last_seq": 3},
        ]
    )  # fmt: skip
    frames = [b"", mutate.as_json(rng, whole)]
    if rng.random() < 0.2:
        frames.insert(rng.randrange(3), rng.choice((b"", b"x", b"\0" * 5000, frames[1])))
    if rng.random() < 0.1:
        del frames[rng.randrange(len(frames))]
    return frames or [b""]


@contextmanager
def replay(folder: Path) -> Iterator[Trial]:
    """Requests for the past, and joins, at a publisher's real sockets."""

    def make(rng: random.Random) -> Parts:
        joins = [
            mutate.binary(rng, rng.choice((b"\1sad.score.mic ", b"\0sad.score.mic ", b"\1", b"\1sad.")))
            for _ in range(rng.choice((0, 1, 3)))
        ]
        return [struct.pack("<B", len(joins)), *joins, *_queries(rng)]

    with Publisher(f"ipc://{folder}/pub", replay_events=20) as publisher, zmq.Context() as context:
        for number in range(30):
            publisher.send(a_score(number))
            publisher.send(a_status(number))
        rude, polite, joiner = (context.socket(kind) for kind in (zmq.DEALER, zmq.DEALER, zmq.XSUB))
        for one in (rude, polite):
            one.linger = 0
            one.connect(publisher.replay)
        joiner.linger, joiner.rcvhwm = 0, 10_000
        joiner.connect(publisher.endpoint)

        def feed(parts: Parts) -> None:
            count = parts[0][0]
            for join in parts[1 : 1 + count]:
                joiner.send(join, zmq.DONTWAIT)
            with suppress(zmq.Again):  # an oversized frame costs its connection
                rude.send_multipart(parts[1 + count :], zmq.DONTWAIT)
            polite.send_multipart([b"", Query(last=1).to_json()])
            assert _turned(publisher, polite), "a good request is not answered"
            assert len(_answer(polite.recv_multipart()[1:])) == 2
            while rude.poll(0):
                said = json.loads(rude.recv_multipart()[1])
                assert said["v"] == 1
                assert set(said) <= {"v", "error", "events"}
            while joiner.poll(0):
                assert _event(joiner.recv()) is not None

        yield Trial([[b"\1", b"\1sad.", b"", Query(last=5).to_json()]], make, feed)
        for one in (rude, polite, joiner):
            one.close()


def _turned(publisher: Publisher, socket_: Any) -> bool:
    """Turn the publisher's crank until there is something for this one."""
    for _ in range(WAIT_MS):
        publisher.wait(1)
        if socket_.poll(0):
            return True
    return False


GREETINGS = {
    name: b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + name.encode().ljust(20, b"\0") + bytes(32)
    for name in ("NULL", "CURVE", "PLAIN")
}
READY = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB\x08Identity\x00\x00\x00\x00"
HELLO = b"\x05HELLO\x01\x00" + bytes(72) + b"\x11" * 32 + b"\0" * 8 + b"\x22" * 80


def _frame(flags: int, body: bytes) -> bytes:
    return (
        bytes((flags, len(body))) + body
        if len(body) < 256
        else bytes((flags | 2,)) + struct.pack(">Q", len(body)) + body
    )


@contextmanager
def zmtp(folder: Path) -> Iterator[Trial]:
    """Bytes at the daemon's tcp ports, open and with keys, by who speaks no ZeroMQ or speaks it badly."""
    ready = _frame(4, READY)
    seeds = [
        GREETINGS["NULL"] + ready + _frame(0, b"\1sad."),
        GREETINGS["NULL"] + ready.replace(b"SUB", b"REQ") + _frame(1, b"") + _frame(0, Query(last=1).to_json()),
        GREETINGS["CURVE"] + _frame(4, HELLO),
        GREETINGS["PLAIN"] + _frame(4, b"\x05HELLO\x01a\x01b"),
        b"\xff" + b"\0" * 7 + b"\x01\x7f\x01\x02" + _frame(0, b"") + _frame(0, b"\1sad."),
        b"\x01\x00\x06\x00\1sad.",
        GREETINGS["NULL"] + ready + _frame(4, b"\x09SUBSCRIBEsad.") + _frame(4, b"\x04PING\0\0hello"),
        GREETINGS["NULL"] + ready + _frame(4, b"\x05ERROR\x01x"),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]  # fmt: skip
    secret, allowed = folder / "secret", folder / "allowed"
    new_key(secret)
    allow(allowed, public_key(secret), "us")

    def make(rng: random.Random) -> Parts:
        content = mutate.binary(rng, rng.choice(seeds), seeds, head=150)
        at = rng.randrange(len(content) + 1)
        return [bytes([rng.randrange(4)]), content[:at], content[at:]]

    with ExitStack() as open_, zmq.Context() as context:
        keys = server_keys(str(secret), str(allowed))
        publishers = [open_.enter_context(Publisher(free_tcp(), given)) for given in (None, keys)]
        subscribers = [context.socket(zmq.SUB) for _ in publishers]
        for publisher, subscriber, curve in zip(publishers, subscribers, (None, _curve(secret)), strict=True):
            subscriber.linger = 0
            if curve is not None:
                subscriber.curve_serverkey, subscriber.curve_publickey, subscriber.curve_secretkey = curve
            subscriber.subscribe(b"sad.status.")
            subscriber.connect(publisher.endpoint)
            publisher.send(a_status(0))
            assert _turned(publisher, subscriber)
        numbers = itertools.count(1)

        def feed(parts: Parts) -> None:
            which = parts[0][0]
            publisher, subscriber = publishers[which % 2], subscribers[which % 2]
            where = publisher.endpoint if which < 2 or publisher.replay is None else publisher.replay
            with socket.create_connection(("127.0.0.1", int(where.rpartition(":")[2])), timeout=WAIT_MS / 1000) as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no port waits after it
                for part in parts[1:]:
                    with suppress(OSError):
                        rude.sendall(part)
                    publisher.wait(1)
                rude.settimeout(0.0005)
                with suppress(OSError):
                    rude.recv(4096)
                publisher.wait(0)
            publisher.send(a_status(next(numbers)))
            assert _turned(publisher, subscriber), "a good subscriber hears nothing"
            while subscriber.poll(0):
                assert _event(subscriber.recv()) is not None

        yield Trial([[bytes([0]), seeds[0], b""], [bytes([3]), seeds[2], b""]], make, feed)
        for subscriber in subscribers:
            subscriber.close()


def _curve(secret: Path) -> Any:
    return client_curve(public_key(secret), secret)


@contextmanager
def keys(folder: Path) -> Iterator[Trial]:
    """Key files, allow-lists and the requests of a handshake (ZAP)."""
    ours, listed = folder / "ours", folder / "listed"
    public = new_key(ours)
    allow(listed, public, "anna")
    secret_text, listed_text = ours.read_text(), listed.read_text() + "# comment\n\n" + "a" * 40 + " ben\n"
    from zmq.utils import z85

    zap = [b"1.0", b"1", b"sadstream", b"127.0.0.1", b"", b"CURVE", z85.decode(public.encode())]
    secret, allowed = folder / "secret", folder / "allowed"
    context = zmq.Context()

    def make(rng: random.Random) -> Parts:
        frames = [mutate.binary(rng, frame) if rng.random() < 0.2 else frame for frame in zap]
        if rng.random() < 0.3:
            del frames[rng.randrange(len(frames))]
        letters = _key_like(rng, secret_text) if rng.random() < 0.5 else mutate.text(rng, secret_text)
        lines = _key_like(rng, public) + b" ben" if rng.random() < 0.3 else mutate.text(rng, listed_text)
        return [rng.choice((letters, secret_text.encode())), rng.choice((lines, listed_text.encode())), *frames]

    def feed(parts: Parts) -> None:
        for path, content in ((secret, parts[0]), (allowed, parts[1])):
            path.write_bytes(content)
            path.chmod(0o600)
            os.utime(path, ns=(0, hash(content) % 2**40))
        people = AllowList(allowed)
        reply = zap_answer(parts[2:], people)
        assert reply is None or (len(reply) == 6 and reply[2] in (b"200", b"400"))
        each(*(partial(use, context, secret, allowed) for use in (_serve, _listen, _add)))

    yield Trial([[secret_text.encode(), listed_text.encode(), *zap]], make, feed)
    context.destroy(linger=0)


def _serve(_: Any, secret: Path, allowed: Path) -> None:
    given = server_keys(str(secret), str(allowed))
    if given is not None:
        own = zmq.Context()  # of its own: the place where it is asked is free again only some time after it
        authenticator = ZapAuthenticator(own, {ZAP_DOMAIN: given})
        with own.socket(zmq.XPUB) as guarded:
            authenticator.guard(guarded, ZAP_DOMAIN)
        own.destroy(linger=0)


def _listen(context: Any, secret: Path, allowed: Path) -> None:
    for letters in allowed.read_text(errors="replace").splitlines()[:1]:
        curve = client_curve(letters.split(" ")[0], secret)
        if curve is not None:
            with context.socket(zmq.SUB) as listening:
                listening.curve_serverkey, listening.curve_publickey, listening.curve_secretkey = curve


def _add(_: Any, __: Path, allowed: Path) -> None:
    allow(allowed, "b" * 40, "carl")


def _key_like(rng: random.Random, text: str) -> bytes:
    """Forty letters of the right alphabet, which need not be a key."""
    alphabet = "0123456789abcXYZ.-:+=^!/*?&<>()[]{}@%$#"
    letters = list(text.strip())
    for _ in range(rng.choice((1, 3, 40))):
        letters[rng.randrange(len(letters))] = rng.choice(alphabet)
    return "".join(letters).encode()
