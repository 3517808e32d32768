"""The web as a contract: events that nobody misses, what is true now, the past, who may ask, and webhooks."""

import asyncio
import hashlib
import hmac
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from chromium import free_port, running
from daemon import config_file, run, start
from starlette.testclient import TestClient
from wire import a_score, a_status, an_episode, assert_true_to_contract

from sadstream.base.errors import ConfigError, UsageError
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item
from sadstream.config import load
from sadstream.config.web_address import check_origin, check_webhook
from sadstream.events import EVENT_TYPES, topic
from sadstream.events.journal import Journal
from sadstream.views.dashboard.app import application as dashboard
from sadstream.views.web.access.guard import Guard
from sadstream.views.web.app import application
from sadstream.views.web.contract.asyncapi import asyncapi_document
from sadstream.views.web.contract.document import document
from sadstream.views.web.feed import WAITING, Feed
from sadstream.views.web.latest import LatestEvents
from sadstream.views.web.memory import FeedFilter, FeedItem, FeedMemory
from sadstream.views.web.options import Options, check
from sadstream.views.web.state import WebState
from sadstream.views.web.webhooks import Delivery, Webhook

TOKEN = "a-token-that-nobody-guesses"
SECRET = "a-secret-that-nobody-guesses"
ADDRESS = "http://127.0.0.1:8750"
APP = "https://app.example"
HERE = Options(endpoint="tcp://127.0.0.1:5556")
GAP = Gap(stream="mic", session="a" * 16, event_type="score", first_seq=4, last_seq=6)


@contextmanager
def asked(options: Options = HERE, *items: Item, user: int | None = os.getuid()) -> Iterator[TestClient]:
    """A program of this user (or another) before a server that has heard this."""
    app = application(options, who=lambda *_: user, follow=False)
    for item in items:
        web(app).feed.take(item)
    with TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 50_000), follow_redirects=False) as client:
        yield client


def web(app: Guard) -> WebState:
    """What a server knows."""
    inner: Any = app._inner
    state: WebState = inner.state.web
    return state


def said(feed: Feed, last_id: str | None = None, count: int = 1, wanted: FeedFilter | None = None) -> list[str]:
    """The names and numbers of all that a reader is sent at once."""

    async def play() -> str:
        text = ""
        async for part in feed.events(wanted or FeedFilter(), last_id, count, ping_s=0.01):
            if part.startswith(":"):
                return text
            text += part
        raise AssertionError

    return names(asyncio.run(play()))


def names(text: str) -> list[str]:
    """`score 3`, `gap` and so on, as they stand in a stream."""
    found = re.findall(r"^event: (.*)\ndata: (.*)$", text, re.MULTILINE)
    return [f"{name} {json.loads(data).get('seq', '')}".strip() for name, data in found]


def heard(*items: Item, clock: Any = time.monotonic) -> Feed:
    """A feed that was told this."""
    feed = Feed(words=False, clock=clock)
    for item in items:
        feed.take(item)
    return feed


def id_of(seq: int, kind: str = "score", stream: str = "mic") -> str:
    """The id of an event of the first session."""
    return f"{stream}.{'a' * 16}.{kind}.{seq}"


# Nothing is missed.


def test_who_comes_back_is_told_what_was_missed_in_its_order() -> None:
    feed = heard(a_status(0), *(a_score(n) for n in range(4)), GAP, a_score(7), an_episode(0))

    assert said(feed, id_of(2)) == ["score 3", "gap", "score 7", "episode 0"]
    assert said(feed, id_of(3) + "~1") == ["score 7", "episode 0"]
    assert said(feed, id_of(0, "episode")) == []


def test_another_server_with_the_same_daemon_goes_on_where_the_first_one_ended() -> None:
    """An id says which event it was, not when a server took it; what a server found itself is not repeated."""
    feed = heard(*(a_score(n) for n in range(5)))

    assert said(feed, id_of(3) + "~1") == ["score 4"]


def test_an_id_that_is_forgotten_is_said_and_all_that_is_remembered_comes() -> None:
    feed = heard(*(a_score(n) for n in range(10, 13)))

    assert said(feed, id_of(2)) == ["behind", "score 10", "score 11", "score 12"]
    assert said(feed, "5") == ["behind", "score 10", "score 11", "score 12"]


def test_who_comes_first_is_told_the_last_of_each_topic_as_on_the_wire() -> None:
    feed = heard(a_score(0), a_status(0), a_score(1), an_episode(0), a_score(0, stream="room1"), GAP)

    assert said(feed) == ["status 0", "score 1", "episode 0", "score 0"]
    assert said(feed, count=2) == ["score 0", "status 0", "score 1", "episode 0", "score 0"]
    assert said(feed, count=0) == []


def test_who_comes_back_before_the_daemon_is_heard_waits_for_its_memory() -> None:
    async def play() -> str:
        feed = Feed(words=False)
        stream = feed.events(FeedFilter(), id_of(3), 1, ping_s=0.01)
        assert [await anext(stream), await anext(stream)] == ["retry: 1000\n\n", ": still here\n\n"]
        for number in range(6):
            feed.take(a_score(number))
        return await anext(stream)

    assert names(asyncio.run(play())) == ["score 4", "score 5"]


def test_a_reader_chooses_stream_and_types() -> None:
    feed = heard(a_score(0), a_score(0, stream="room1"), a_status(0, stream="room1"), GAP)

    assert said(feed, wanted=FeedFilter("room1", None)) == ["score 0", "status 0"]
    assert said(feed, wanted=FeedFilter(None, frozenset({"status"}))) == ["status 0"]
    assert said(feed, "unknown", wanted=FeedFilter("mic", frozenset({"gap", "behind"}))) == ["behind", "gap"]


def test_a_moment_of_which_two_scores_come_is_told_once_unless_both_are_asked_for() -> None:
    feed = heard(a_score(0), a_score(1, provisional=True))

    assert said(feed) == ["score 0"]
    assert said(feed, id_of(0)) == []
    assert said(feed, id_of(0), wanted=FeedFilter(provisional=True)) == ["score 1"]
    assert feed.latest.streams["mic"].score == a_score(0)


def test_a_session_named_to_break_the_stream_does_not() -> None:
    feed = heard(a_score(0, session="a\n\nevent: score\ndata: {}"))

    assert said(feed) == ["score 0"]
    (line,) = feed._memory.everything()
    assert line.line.count("\n") == 4


def test_memory_is_bounded_by_topic_and_as_a_whole() -> None:
    memory = FeedMemory(size=3, most=5)
    for number in range(9):
        kind, stream = ("score", "mic") if number % 2 else ("status", f"room{number}")
        memory.keep(FeedItem(str(number), kind, kind, stream, ""))

    assert [item.id for item in memory.everything()] == ["4", "5", "6", "7", "8"]
    for number in range(20, 30):
        memory.keep(FeedItem(str(number), "score", "score", "mic", ""))
    assert [item.id for item in memory.everything()] == ["6", "8", "27", "28", "29"]
    assert [item.id for item in memory.last(1, FeedFilter())] == ["6", "8", "29"]
    assert memory.after("26") is None


@pytest.mark.parametrize("shown", [False, True])
def test_no_word_goes_out_unless_that_is_switched_on(shown: bool) -> None:
    with asked(replace(HERE, words=shown), a_score(0, text="a secret")) as client:
        assert ("a secret" in client.get("/v1/state").text) is shown


def test_a_reader_that_does_not_read_is_told_how_much_it_lost() -> None:
    async def play() -> str:
        feed = heard(a_status(0))
        stream = feed.events(FeedFilter("mic"), None, 1)
        await anext(stream), await anext(stream)
        for number in range(1, WAITING + 11):
            feed.take(a_status(number))
            feed.take(a_status(number, stream="room1"))
        return await anext(stream)

    late = asyncio.run(play())

    assert late.startswith('event: behind\ndata: {"type": "behind", "lost": 10}\n\n')
    assert late.count("event: status") == WAITING


# What is true now.


def test_state_is_the_last_event_of_each_type_and_whether_it_is_stale() -> None:
    items = (a_status(0), a_score(0), GAP, a_score(7), an_episode(1), Restart(stream="mic", session="b", previous="a"))
    with asked(HERE, *items, a_status(3, stream="room1", state="no-device", reason="device-lost")) as client:
        body = client.get("/v1/state").json()
    mic, room = body["streams"]

    assert (mic["score"]["seq"], mic["status"]["seq"], mic["episode"]["seq"]) == (7, 0, 1)
    assert (mic["heard"], mic["stale"], mic["lost"], mic["restarts"]) == (True, False, 3, 1)
    assert (room["stream"], room["heard"], room["score"]) == ("room1", False, None)
    jsonschema.validate(body, schema("State"))


def schema(name: str) -> dict[str, Any]:
    """A schema of the document, whole by itself."""
    whole = document()
    return {"$ref": f"#/components/schemas/{name}", "components": whole["components"]}


def test_health_is_good_only_while_something_is_heard() -> None:
    latest = LatestEvents(0.0)
    assert latest.health(3.0).line == "nothing is heard: no daemon in 3 s"
    latest.take(a_status(0, state="no-device", reason="device-lost"), 5.0)
    assert latest.health(6.0).line == "nothing is heard: mic: no-device (device-lost)"
    latest.take(a_status(1, state="degraded", reason="muted"), 7.0)
    assert not latest.health(8.0).good
    latest.take(a_status(0, stream="room1"), 7.0)
    assert (latest.health(8.0).good, latest.health(8.0).line) == (True, "heard: room1")
    assert latest.health(20.0).line == "nothing is heard: mic: silent for 13 s, room1: silent for 13 s"


def test_who_joins_is_told_who_is_silent() -> None:
    now = [0.0]
    feed = heard(a_status(0), clock=lambda: now[0])
    assert said(feed) == ["status 0"]
    now[0] = 12.0
    assert said(feed) == ["status 0", "stale"]
    assert LatestEvents(0.0).stale(12.0) == [Stale(stream=None, silent_s=12.0, last_state=None)]


# The past.


def made_journal(where: Path, count: int, begin_s: float, stream: str = "mic") -> Path:
    """So many scores, one a second, two of which share each moment."""
    writer = Journal(where, keep_days=10_000)
    times = [datetime.fromtimestamp(begin_s + n // 2, UTC) for n in range(count)]
    said_at = [time_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z") for time_utc in times]
    writer.write([replace(a_score(n, stream=stream), time=at) for n, at in enumerate(said_at)])
    writer.close()
    return where


def test_history_comes_in_pieces_and_none_is_missed_or_repeated(tmp_path: Path) -> None:
    begin_s = time.time() - 1000
    journal = made_journal(tmp_path / "j.sqlite", 101, begin_s)
    made_journal(journal, 5, begin_s, "room1")
    with asked(replace(HERE, journal=journal)) as client:
        seqs, pieces, where = [], 0, "2h"
        while where is not None:
            body = client.get("/v1/history", params={"from": where, "stream": "mic", "limit": 7}).json()
            jsonschema.validate(body, schema("History"))
            seqs += [assert_true_to_contract(json.dumps(score))["seq"] for score in body["scores"]]
            pieces, where = pieces + 1, body["next"]

        assert seqs == list(range(101))
        assert pieces == 13
        assert len(client.get("/v1/history").json()["scores"]) == 106
        middle = datetime.fromtimestamp(begin_s + 9.5, UTC).isoformat()
        assert len(client.get("/v1/history", params={"from": "2h", "to": middle}).json()["scores"]) == 20 + 5
        for wrong in ("from=yesterday", "to=x", "limit=0", "limit=10001", "limit=-1", "stream=Kitchen"):
            assert client.get(f"/v1/history?{wrong}").status_code == 400


def test_without_a_journal_or_with_one_that_is_none_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no journal at all, but longer than the header of a database is")
    for journal, status in ((None, 404), (tmp_path / "none", 404), (tmp_path / "text", 503)):
        with asked(replace(HERE, journal=journal)) as client:
            answer = client.get("/v1/history")
        assert answer.status_code == status
        assert len(answer.text.splitlines()) == 1


# What it says of itself.


def test_the_document_names_every_route_and_no_other() -> None:
    with asked() as client:
        whole = client.get("/v1/openapi.json").json()
        page = client.get("/v1/")
        assert client.get("/v1/page.css").headers["content-type"].startswith("text/css")
        for path in whole["paths"]:
            if path != "/v1/events":
                assert client.get(path).status_code in map(int, whole["paths"][path]["get"]["responses"]), path
            assert f"GET {path}" in page.text
        assert client.get("/").status_code == 404
        assert client.head("/v1/events").headers["content-type"].startswith("text/event-stream")
    assert sorted(whole["paths"]) == ["/healthz", "/v1/events", "/v1/history", "/v1/state"]
    for name in whole["components"]["schemas"]:
        jsonschema.Draft202012Validator.check_schema(schema(name))
    assert "http" not in page.text.replace("HTTP", "")
    assert "<script" not in page.text


def refs(node: Any) -> Iterator[str]:
    """Every reference in a document."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from refs(one)


def resolved(whole: dict[str, Any], ref: str) -> Any:
    """What a reference leads to; KeyError where it leads nowhere."""
    found: Any = whole
    for name in ref.removeprefix("#/").split("/"):
        found = found[name]
    return found


SAID: list[Item] = [
    a_score(text="a", mood=0.1),
    a_status(last_score_seq=3),
    an_episode(),
    GAP,
    Restart(stream="mic", session="b", previous="a"),
    Stale(stream=None, silent_s=12.0, last_state=None),
    Stale(stream="mic", silent_s=12.0, last_state="listening"),
]


@pytest.mark.parametrize("item", SAID, ids=lambda item: item.type)
def test_all_that_is_said_is_as_both_documents_have_it(item: Item) -> None:
    (line,) = heard(item)._memory.everything()
    body = json.loads(line.line.splitlines()[1].removeprefix("data: "))
    whole = json.loads(run("schema", "--asyncapi").stdout)
    message = resolved(whole, resolved(whole, "#/channels/events")["messages"][item.type]["$ref"])

    jsonschema.validate(body, schema("Event"))
    jsonschema.validate(body, {"components": whole["components"], **message["payload"]})
    for name in body.keys() - {"text", "mood"}:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in body.items() if k != name}, schema(type(item).__name__))


def test_the_documents_lead_nowhere_else_and_the_channels_are_the_topics() -> None:
    for whole in (asyncapi_document(), document()):
        assert [resolved(whole, ref) for ref in refs(whole)]
    channels = asyncapi_document()["channels"]
    assert [channels[kind]["address"].format(stream="mic") + " " for kind in EVENT_TYPES] == [
        topic(kind, "mic") for kind in EVENT_TYPES
    ]


# Who may ask.


@pytest.mark.parametrize("path", ["/v1/state", "/v1/history", "/healthz"])
def test_the_doors_are_the_dashboards(path: str) -> None:
    with asked(user=os.getuid() + 1) as client:
        assert client.get(path).status_code == 403
    with asked(replace(HERE, token=TOKEN), a_status()) as client:
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
        assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 404)
        assert client.get(path, headers={"Host": "evil.example:8750"}).status_code == 421
        assert client.post("/login", data={"token": TOKEN}).status_code == 403  # there is no page to log in for


def test_a_page_of_another_origin_is_let_in_only_if_it_is_named_exactly() -> None:
    others = ["https://app.example.evil.example", "http://app.example", "https://app.example:8443", "null", "https://x"]
    with asked(replace(HERE, origins=(APP,)), a_status()) as client:
        for origin in others:
            for method in ("GET", "OPTIONS"):
                answer = client.request(method, "/v1/state", headers={"Origin": origin})
                assert answer.status_code == 403
                assert "access-control-allow-origin" not in answer.headers
        answer = client.get("/v1/state", headers={"Origin": APP})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
        assert client.get("/v1/state", headers={"Origin": ADDRESS}).status_code == 200
    with asked(HERE, a_status()) as client:
        assert client.get("/v1/state", headers={"Origin": APP}).status_code == 403


def test_a_browser_that_asks_beforehand_is_told_what_it_may_send() -> None:
    with asked(replace(HERE, origins=(APP,), token=TOKEN), a_status()) as client:
        before = client.options(
            "/v1/events", headers={"Origin": APP, "Access-Control-Request-Headers": "authorization,last-event-id"}
        )
        assert before.status_code == 204
        assert before.headers["access-control-allow-headers"] == "Authorization, Last-Event-ID"
        refused = client.get("/v1/state", headers={"Origin": APP})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == APP  # so that the page can read why


@pytest.mark.parametrize(
    "text",
    ["*", "https://*.example", "app.example", "https://app.example/", "https://app.example:443", "null", "HTTPS://a.b"],
)
def test_an_origin_that_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_origin(text)
    with pytest.raises(UsageError, match="--origin"):
        check(replace(HERE, origins=(text,)))


def test_the_configuration_refuses_them_too(tmp_path: Path) -> None:
    for key, text in (("origins", "https://*.example"), ("webhooks", "http://home.example/x")):
        with pytest.raises(ConfigError, match=f"web.{key}"):
            load(config_file(tmp_path, f'[web]\n{key} = ["{text}"]\n'))


@pytest.mark.parametrize(
    "url", ["http://home.example/x", "ftp://127.0.0.1/", "https://", "https://a:b@c.example/", "http://127.0.0.1.evil/"]
)
def test_a_webhook_over_a_network_in_plain_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_webhook(url)
    with pytest.raises(UsageError, match="--webhook"):
        check(replace(HERE, webhooks=(url,), webhook_secret=b"x"))


def test_a_webhook_without_a_secret_is_refused() -> None:
    for url in ("https://home.example/x", "http://127.0.0.1:80/x", "http://[::1]/x", "http://localhost/x"):
        with pytest.raises(ConfigError, match="--webhook-secret-file"):
            check(replace(HERE, webhooks=(url,)))


# As processes of their own.


@contextmanager
def served(endpoint: str, *more: str, port: int | None = None) -> Iterator[str]:
    """A `sadstream web`'s address."""
    port = port or free_port()
    with running("web", "--endpoint", endpoint, "--port", str(port), *more, ready=True):
        yield f"http://127.0.0.1:{port}"


def follow(address: str, last_id: str = "", until: str = "", count: int = 0) -> list[dict[str, str]]:
    """Messages of the stream, until one of this name has come or so many have."""
    found: list[dict[str, str]] = []
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with httpx.stream("GET", f"{address}/v1/events?replay=500", headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        message: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            message |= {name: value} if name else {}
            if not line and "data" in message:
                found.append(message)
                message = {}
                if found[-1]["event"] == until or len(found) == count:
                    return found
    raise AssertionError


def test_a_reader_misses_nothing_over_a_restart_of_the_server_and_of_the_daemon(endpoint: str) -> None:
    """Every score of two sessions is heard once or told as lost, whoever was restarted meanwhile."""
    port = free_port()
    with ExitStack() as stack:
        with served(endpoint, port=port) as address:
            fake = stack.enter_context(running("fake", "--publish", endpoint, "--speed", "40"))
            heard = follow(address, count=30)
            assert httpx.get(f"{address}/healthz").status_code == 200
        time.sleep(0.3)
        fake.send_signal(signal.SIGSTOP)  # however long the next server takes to start
        with served(endpoint, port=port) as address:
            fake.send_signal(signal.SIGCONT)
            heard += follow(address, heard[-1]["id"], until="restart")
            heard += follow(address, heard[-1]["id"], count=40)
    events = [assert_true_to_contract(one["data"]) for one in heard if "seq" in json.loads(one["data"])]
    scores = [event for event in events if event["type"] == "score"]
    gaps = [json.loads(one["data"]) for one in heard if one["event"] == "gap"]
    sessions = list(dict.fromkeys(event["session"] for event in events))

    assert len(sessions) == 2
    assert "behind" not in {one["event"] for one in heard}
    for session in sessions:
        seqs = [event["seq"] for event in scores if event["session"] == session]
        lost = [n for gap in gaps if gap["session"] == session for n in range(gap["first_seq"], gap["last_seq"] + 1)]
        assert sorted(seqs + lost) == list(range(seqs[0], max(seqs + lost) + 1))


def test_without_a_daemon_it_is_up_and_says_that_nothing_is_heard() -> None:
    with asked() as client:
        answer = client.get("/healthz")
        assert answer.status_code == 503
        assert answer.text == "nothing is heard: no daemon in 0 s\n"
        assert client.get("/v1/state").json()["streams"] == []


def test_the_dashboard_serves_the_same() -> None:
    app = dashboard(HERE, who=lambda *_: os.getuid(), follow=False)
    web(app).feed.take(a_status())
    with TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 50_000)) as client:
        assert client.get("/v1/state").json()["streams"][0]["heard"]
        assert client.get("/healthz").text == "heard: mic\n"
        for path in ("/v1/openapi.json", "/v1/", "/v1/page.css"):
            assert client.get(path).status_code == 200


@pytest.mark.parametrize("arguments", [("--host", "0.0.0.0"), ("--webhook", "https://home.example/hook")])
def test_what_others_could_reach_or_forge_is_refused(arguments: tuple[str, ...]) -> None:
    done = run("web", *arguments)

    assert done.returncode == 78, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_extra_is_one_line_and_69(tmp_path: Path) -> None:
    hook = ["--webhook", "http://127.0.0.1:9/", "--webhook-secret-file", secret_file(tmp_path)]
    code = f"import sys; sys.modules['httpx'] = None; from sadstream.cli.main import main; main({['web', *hook]})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 69, done.stderr
    assert done.stderr.splitlines()[-1].startswith("sadstream: web: httpx is missing")


# Webhooks.


class Receiver(http.server.BaseHTTPRequestHandler):
    """A receiver that answers what it is told to, 204 at the end, and writes down what it gets."""

    answers: list[int]
    got: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.answers.pop(0) if self.answers else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A real server; its URL, and what it got."""
    got: list[tuple[dict[str, str], bytes]] = []
    kind = type("Told", (Receiver,), {"answers": list(answers), "got": got})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook?key=private", got
        finally:
            server.shutdown()
            thread.join()


def secret_file(folder: Path) -> str:
    """A file with the secret."""
    path = folder / "webhook.secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return str(path)


def until(true: Any, timeout_s: float = 30.0) -> None:
    """Wait for it."""
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_an_episode_is_posted_signed_until_it_is_taken(endpoint: str, tmp_path: Path) -> None:
    """It fails twice, then accepts; what comes after waits its turn."""
    with receiver(500, 302) as (url, got), running("fake", "--publish", endpoint, "--speed", "100"):
        process = start(
            "web", "--endpoint", endpoint, "--port", str(port := free_port()), "--webhook", url,
            "--webhook-secret-file", secret_file(tmp_path),
        )  # fmt: skip
        try:
            until(lambda: len(got) >= 5)
            (report,) = httpx.get(f"http://127.0.0.1:{port}/v1/state").json()["webhooks"]
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=20)
    episodes = [assert_true_to_contract(body) for _, body in got]
    ids = [headers["x-sadstream-delivery"] for headers, _ in got]

    for headers, body in got:
        expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-sadstream-signature"] == f"sha256={expected}"
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[2:])) == len(ids) - 2
    assert [episode["phase"] for episode in episodes[2:5]] == ["start", "end", "start"]
    assert (report["trouble"], report["lost"]) == (None, 0)
    assert report["delivered"] >= 2
    assert "not taken: status 500; trying again" in errors
    assert "taken again" in errors
    assert "private" not in errors
    assert "Traceback" not in errors
    assert process.returncode == 0


def ago(seconds: float) -> str:
    """That moment as an event says it."""
    return datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def test_starts_and_ends_are_posted_and_a_restart_loses_none() -> None:
    """What was said in the minute before is posted too; updates, and what is older, are not."""
    webhook = Webhook("http://127.0.0.1:9/hook", SECRET.encode())
    for number, (phase, age_s) in enumerate([("start", 300), ("start", 30), ("update", 20), ("end", 10), ("start", 0)]):
        webhook.put(replace(an_episode(number, phase=phase), time=ago(age_s)))

    assert [delivery.id for delivery in webhook._waiting] == [id_of(number, "episode") for number in (1, 3, 4)]


def test_what_no_receiver_takes_is_bounded_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    options = replace(HERE, webhooks=("http://127.0.0.1:9/hook",), webhook_secret=SECRET.encode())
    with asked(options) as client:
        (webhook,) = web(client.app).webhooks  # type: ignore[arg-type]
        for number in range(106):
            web(client.app).take(replace(an_episode(number), time=ago(0)))  # type: ignore[arg-type]
        web(client.app).take(replace(GAP, event_type="episode"))  # type: ignore[arg-type]
        report = webhook.report

    assert (report.waiting, report.lost, report.delivered) == (100, 6, 0)
    assert "more than 100 wait (6 in all)" in caplog.text
    assert "100 lost: we end (106 in all)" in caplog.text
    assert "3 episode events lost on the wire" in caplog.text


def test_the_receiver_in_the_docs_knows_ours_from_a_forged_one() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", Path("docs/web.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    webhook = Webhook("https://home.example/hook", SECRET.encode())
    headers = webhook._headers(Delivery("id", b"body", 0.0))

    assert found["is_ours"](SECRET, b"body", headers["X-Sadstream-Signature"])
    assert not found["is_ours"](SECRET, b"another", headers["X-Sadstream-Signature"])
