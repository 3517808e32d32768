"""The web page of a daemon's events: who may look, what is asked and shown."""

import asyncio
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from daemon import run
from starlette.testclient import TestClient
from wire import a_score, a_status, an_episode, assert_true_to_contract

from sadstream.base.errors import ConfigError, DataError, MissingFileError, UsageError
from sadstream.client.follower import Gap, Stale
from sadstream.config import Config
from sadstream.events.control import DaemonReport, StreamReport
from sadstream.events.journal import Journal
from sadstream.views.dashboard.app import application
from sadstream.views.dashboard.history.heat import heat, zone_of
from sadstream.views.dashboard.history.table import FIELDS, JournalReader, ScoreTable
from sadstream.views.dashboard.history.zoom import zoom
from sadstream.views.dashboard.operating_point import trade_off
from sadstream.views.web.access.guard import POLICY
from sadstream.views.web.access.peer import owner
from sadstream.views.web.feed import KEPT, WAITING, Feed
from sadstream.views.web.options import Options, check, read_token

TOKEN = "a-token-that-nobody-guesses"
ADDRESS = "http://127.0.0.1:8750"


def at(time_s: float) -> str:
    """A moment as an event says it."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def journal(path: Path, times_s: list[float], stream: str = "mic", first: int = 0) -> Path:
    """A journal with a score at each of these times."""
    writer = Journal(path, keep_days=10_000)
    writer.write([replace(a_score(first + n, stream=stream), time=at(time_s)) for n, time_s in enumerate(times_s)])
    writer.close()
    return path


def report(state: Any = "listening") -> DaemonReport:
    """What a daemon answers."""
    stream = StreamReport(stream="mic", state=state, reason="none", flows=True, dropped=0, gaps=0, segments=3, rtf=0.1)
    return DaemonReport(pid=1, endpoint="tcp://127.0.0.1:5556", words=False, streams=(stream,))


def table(times_s: list[float], p_sad: list[float]) -> ScoreTable:
    """Scores of one stream as the journal's columns."""
    columns = np.zeros((len(times_s), len(FIELDS)), np.float32)
    columns[:, FIELDS.index("p_sad")] = p_sad
    columns[:, FIELDS.index("sad")] = np.array(p_sad) >= 0.5
    return ScoreTable(("mic",), np.array(times_s), np.zeros(len(times_s), np.int16), columns)


@contextmanager
def browser(
    options: Options | None = None, user: int | None = os.getuid(), told: list[str] | None = None
) -> Iterator[TestClient]:
    """A browser of this user (or another), before a dashboard whose daemon writes down what it is told."""

    def daemon(_: str, word: str) -> DaemonReport:
        if told is not None:
            told.append(word)
        return report("paused" if word == "pause" else "listening")

    options = options or Options(endpoint="tcp://127.0.0.1:5556")
    app = application(options, who=lambda *_: user, ask_daemon=daemon, follow=False)
    with TestClient(app, base_url=ADDRESS, client=("127.0.0.1", 50_000), follow_redirects=False) as client:
        yield client


# Who may look.


@pytest.mark.parametrize("host", ["evil.example:8750", "127.0.0.1:80", "127.0.0.1", "localhost.evil.example:8750", ""])
def test_another_name_than_ours_gets_nothing(host: str) -> None:
    """A page elsewhere can point its own name at 127.0.0.1, and the browser then takes us for that page."""
    with browser() as client:
        for path in ("/", "/api/state", "/events", "/pages/app.js"):
            assert client.get(path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8750", "localhost:8750", "LOCALHOST:8750", "[::1]:8750"])
def test_our_own_names_are_answered(host: str) -> None:
    with browser() as client:
        assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(("user", "status"), [(os.getuid(), 200), (0, 200), (os.getuid() + 1, 403), (None, 403)])
def test_on_this_machine_only_our_own_user_and_root_may_look(user: int | None, status: int) -> None:
    with browser(user=user) as client:
        assert client.get("/").status_code == status
        assert client.get("/api/state").status_code == status


def test_the_kernel_says_whose_a_connection_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert owner(client.getsockname(), server.getsockname()) == os.getuid()
        client_port = client.getsockname()[1]
    assert owner(("127.0.0.1", client_port), ("127.0.0.1", 1)) is None


def test_a_connection_that_its_program_has_closed_is_nobodys() -> None:
    """The kernel's tables say root's of it, and root may look."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        there, here = client.getsockname(), server.getsockname()
        accepted, _ = server.accept()
        client.sendall(b"GET / HTTP/1.1")
        client.close()
        time.sleep(0.1)

        assert owner(there, here) is None
        accepted.close()


def test_the_kernel_says_it_of_ipv6_too() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with server, socket.create_connection(server.getsockname()[:2]) as client:
        assert owner(client.getsockname()[:2], server.getsockname()[:2]) == os.getuid()


def test_with_a_token_nobody_looks_without_it() -> None:
    with browser(Options(endpoint="tcp://127.0.0.1:5556", token=TOKEN)) as client:
        assert client.get("/").headers["location"] == "/pages/login.html"
        assert client.get("/pages/login.html").status_code == 200
        assert client.get("/api/state").status_code == 401
        assert client.get("/events").status_code == 401
        assert client.get("/pages/app.js").status_code == 401
        assert client.get("/api/state", headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 401
        assert client.get("/api/state", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_browser_logs_in_with_the_token_and_stays_in() -> None:
    with browser(Options(endpoint="tcp://127.0.0.1:5556", token=TOKEN)) as client:
        wrong = client.post("/login", data={"token": "another"})
        assert wrong.headers["location"] == "/pages/login.html?again"
        assert "set-cookie" not in wrong.headers

        right = client.post("/login", data={"token": TOKEN})

        assert right.headers["location"] == "/"
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/").status_code == 200


def test_a_login_sent_by_another_page_is_none() -> None:
    with browser(Options(endpoint="tcp://127.0.0.1:5556", token=TOKEN)) as client:
        sent = client.post("/login", data={"token": TOKEN}, headers={"Origin": "http://evil.example"})

        assert "set-cookie" not in sent.headers


# What a browser may do with it.


@pytest.mark.parametrize("path", ["/", "/pages/app.js", "/api/state", "/nothing", "/lib/uplot.js"])
def test_every_answer_carries_the_policy(path: str) -> None:
    with browser() as client:
        headers = client.get(path).headers

    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_the_policy_lets_in_nothing_but_our_own_files() -> None:
    assert "unsafe" not in POLICY
    assert "http" not in POLICY
    assert POLICY.startswith("default-src 'none'")


def test_no_page_has_a_script_a_style_or_an_address_of_its_own() -> None:
    for page in Path("sadstream/views/dashboard/pages").iterdir():
        text = page.read_text()
        assert "http://" not in text.replace("http://www.w3.org/", ""), page
        assert "https://" not in text, page
        if page.suffix == ".html":
            assert "style=" not in text, page
            assert "<style" not in text, page
            assert text.count("<script") == text.count("<script src="), page
            assert not [word for word in ("onclick", "onload", "javascript:") if word in text], page


@pytest.mark.parametrize("path", ["/pages/../app.py", "/pages/%2e%2e/app.py", "/lib/../app.py", "/pages//etc/passwd"])
def test_no_other_file_is_served(path: str) -> None:
    with browser() as client:
        assert client.get(path).status_code == 404


# Pause, the only thing that reaches the daemon.


def test_pause_and_resume_reach_the_daemon() -> None:
    told: list[str] = []
    with browser(told=told) as client:
        csrf = client.get("/api/state").json()["csrf"]
        paused = client.post("/api/pause", headers={"X-Sadstream-Csrf": csrf, "Origin": ADDRESS})
        resumed = client.post("/api/resume", headers={"X-Sadstream-Csrf": csrf})

    assert paused.json()["daemon"]["streams"][0]["state"] == "paused"
    assert resumed.json()["daemon"]["streams"][0]["state"] == "listening"
    assert told == ["status", "pause", "resume"]


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"X-Sadstream-Csrf": "wrong"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8750"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
def test_another_page_cannot_pause(headers: dict[str, str]) -> None:
    told: list[str] = []
    with browser(told=told) as client:
        right = {} if not headers or "X-Sadstream-Csrf" in headers else {
            "X-Sadstream-Csrf": client.get("/api/state").json()["csrf"]
        }  # fmt: skip
        assert client.post("/api/pause", headers=right | headers).status_code == 403
        assert client.get("/api/pause").status_code == 405

    assert "pause" not in told


def test_however_many_look_the_daemon_is_asked_once_a_second() -> None:
    told: list[str] = []
    with browser(told=told) as client:
        for _ in range(50):
            client.get("/api/state")

    assert len(told) <= 3


def test_a_daemon_on_another_machine_is_not_paused() -> None:
    """Its control socket's name is a port's; here it would be another daemon's."""
    told: list[str] = []
    with browser(Options(endpoint="tcp://192.0.2.7:5556"), told=told) as client:
        state = client.get("/api/state").json()
        answer = client.post("/api/pause", headers={"X-Sadstream-Csrf": state["csrf"]})

    assert not state["can_pause"]
    assert answer.status_code == 503
    assert told == []


# The feed.


async def lines(feed: Feed, count: int) -> list[str]:
    """So many pieces of what a browser is sent."""
    found = []
    async for line in feed.lines(ping_s=0.01):
        found.append(line)
        if len(found) == count:
            return found
    raise AssertionError


def test_who_joins_hears_what_is_kept_in_its_order_and_then_what_comes() -> None:
    async def play() -> list[str]:
        feed = Feed(words=False)
        for item in (a_status(0), a_score(0), an_episode(0), a_score(1)):
            feed.take(item)
        stream = feed.lines()
        before = [await anext(stream), await anext(stream)]
        feed.take(a_score(2))
        return [*before, await anext(stream)]

    kept, now, new = asyncio.run(play())

    assert [line.removeprefix("event: ") for line in kept.splitlines() if line.startswith("event: ")] == [
        "hello", "status", "score", "episode", "score"
    ]  # fmt: skip
    assert now.startswith("event: now")
    assert json.loads(new.splitlines()[1].removeprefix("data: "))["seq"] == 2
    for line in (kept + new).splitlines():
        if line.startswith('data: {"v"'):
            assert_true_to_contract(line.removeprefix("data: "))


def test_findings_are_passed_on() -> None:
    feed = Feed(words=False)
    feed.take(Gap(stream="mic", session="a" * 16, event_type="score", first_seq=4, last_seq=6))
    feed.take(Stale(stream="mic", silent_s=12.0, last_state="listening"))

    (kept,) = asyncio.run(lines(feed, 1))

    assert '"missed": 3' in kept
    assert "event: stale" in kept


@pytest.mark.parametrize("shown", [False, True])
def test_words_are_shown_only_where_that_is_switched_on(shown: bool) -> None:
    feed = Feed(words=shown)
    feed.take(a_score(0, text="a secret"))

    (kept,) = asyncio.run(lines(feed, 1))

    assert ("a secret" in kept) is shown
    assert feed.words_sent


def test_a_browser_that_does_not_read_is_told_to_begin_anew_and_costs_bounded_memory() -> None:
    async def play() -> str:
        feed = Feed(words=False)
        stream = feed.lines()
        await anext(stream), await anext(stream)
        for number in range(WAITING + 10):
            feed.take(a_status(number))
        return await anext(stream)

    late = asyncio.run(play())

    assert late.startswith("event: behind")
    assert late.count("event: status") == WAITING


def test_only_so_much_is_kept() -> None:
    feed = Feed(words=False)
    for number in range(KEPT["score"] + 5):
        feed.take(a_score(number))

    (kept,) = asyncio.run(lines(feed, 1))

    assert kept.count("event: score") == KEPT["score"]


def test_a_silent_daemon_leaves_a_sign_of_life() -> None:
    assert asyncio.run(lines(Feed(words=False), 3))[2].startswith(":")


# The past.


def test_the_journal_is_read_as_it_grows(tmp_path: Path) -> None:
    now = time.time()
    path = journal(tmp_path / "j.sqlite", [now - 9000 + n for n in range(100)])
    past = JournalReader(path)
    assert len(past.table().time_s) == 100

    journal(path, [now - 100, now - 50], first=100)
    journal(path, [now - 200], stream="room1")
    grown = past.table()

    assert len(grown.time_s) == 103
    assert (np.diff(grown.time_s) >= 0).all()
    assert grown.streams == ("mic", "room1")
    assert len(grown.of("room1").time_s) == 1
    assert len(grown.of("mic").time_s) == 102
    assert len(grown.of("nobody").time_s) == 0


def test_what_the_daemon_deleted_is_forgotten_and_a_new_file_is_read_anew(tmp_path: Path) -> None:
    now = time.time()
    path = journal(tmp_path / "j.sqlite", [now - 9e5, now - 8e5, now - 10])
    past = JournalReader(path)
    assert len(past.table().time_s) == 3

    with closing(Journal(path, keep_days=1)) as writer:
        writer.write([replace(a_score(9), time=at(now))])
    assert len(past.table().time_s) == 2

    path.unlink()
    journal(path, [now - 5])
    assert past.table().time_s == pytest.approx([now - 5], abs=1e-3)


def test_a_journal_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such journal"):
        JournalReader(tmp_path / "none").table()
    (tmp_path / "text").write_text("not a journal at all, but longer than a header of a database")
    with pytest.raises(DataError, match="cannot be read as a journal"):
        JournalReader(tmp_path / "text").table()


def test_a_bucket_loses_no_peak() -> None:
    times = [float(n) for n in range(10_000)]
    scores = [0.1] * 10_000
    scores[4321], scores[7777] = 0.99, 0.01

    span = zoom(table(times, scores), 0.0, 10_000.0, 100)

    assert span.scores == 10_000
    assert sum(span.n) == 10_000
    assert len(span.time_s) == len(span.p_high) == 100
    assert max(p for p in span.p_high if p is not None) == pytest.approx(0.99)
    assert min(p for p in span.p_low if p is not None) == pytest.approx(0.01)
    assert span.p_mean[0] == pytest.approx(0.1)


def test_where_nobody_spoke_a_bucket_is_empty() -> None:
    span = zoom(table([*range(500), *range(9500, 10_000)], [0.2] * 1000), 0.0, 10_000.0, 100)

    assert span.p_mean[50] is None
    assert span.p_low[50] is None
    assert span.n[50] == 0


def test_few_scores_are_shown_one_by_one() -> None:
    span = zoom(table([1.0, 2.0, 3.0], [0.1, 0.6, 0.3]), 0.0, 10.0, 100)

    assert span.width_s is None
    assert span.time_s == [1.0, 2.0, 3.0]
    assert span.p_mean == pytest.approx([0.1, 0.6, 0.3])
    assert zoom(table([], []), 0.0, 10.0, 100).time_s == []


def test_history_is_asked_by_time_and_points(tmp_path: Path) -> None:
    now = time.time()
    path = journal(tmp_path / "j.sqlite", [now - 1000 + n for n in range(1000)])
    with browser(Options(endpoint="tcp://127.0.0.1:5556", journal=path)) as client:
        all_of_it = client.get(f"/api/history?stream=mic&since={now - 2000}&until={now}&points=50").json()
        nobody = client.get("/api/history?stream=nobody").json()

        assert all_of_it["scores"] == 1000
        assert len(all_of_it["time_s"]) == 50
        assert all_of_it["streams"] == ["mic"]
        assert nobody["scores"] == 0
        for wrong in ("since=x", "until=nan", "points=inf", "since=1e300"):
            assert client.get(f"/api/history?{wrong}").status_code == 400
        assert client.get("/api/history?since=10&until=5&points=-3").status_code == 200


@pytest.mark.parametrize("number", ["1e300", "-1e39", "1e999"])
def test_a_journal_with_a_number_that_no_daemon_wrote_is_said_in_one_line(tmp_path: Path, number: str) -> None:
    path = journal(tmp_path / "journal.sqlite", [time.time()])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE score SET event = json_set(event, '$.mood', json(?))", (number,))
        connection.commit()

    with pytest.raises(DataError, match="a number that no daemon wrote"):
        JournalReader(path).table()


@pytest.mark.parametrize("row", [(b"x", "mic"), ("soon", "mic"), (1.0, b"mic")], ids=str)
def test_a_journal_with_a_row_that_no_daemon_wrote_is_said_in_one_line(tmp_path: Path, row: tuple[Any, Any]) -> None:
    path = journal(tmp_path / "journal.sqlite", [time.time()])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO score SELECT ?, ?, 'x', 7, event FROM score", row)
        connection.commit()

    with pytest.raises(DataError, match="cannot be read as a journal"):
        JournalReader(path).table()


def test_without_a_journal_the_page_is_told_how_to_name_one() -> None:
    with browser() as client:
        answer = client.get("/api/history")

    assert answer.status_code == 404
    assert "--journal" in answer.text


# The heat map.


def test_a_week_begins_on_monday_in_the_clock_of_whoever_looks() -> None:
    zone = ZoneInfo("Asia/Tokyo")
    noon = datetime(2030, 1, 30, 12, 5, tzinfo=zone)  # a Wednesday

    found = heat(table([noon.timestamp(), noon.timestamp() + 60], [0.2, 0.8]), "week", date(2030, 1, 31), zone)

    assert found.first == "2030-01-28"
    assert [len(row) for row in found.rows] == [24] * 7
    cell = found.rows[2][12]
    assert (cell.n, cell.sad) == (2, 1)
    assert cell.p_mean == pytest.approx(0.5)
    assert sum(cell.n for row in found.rows for cell in row) == 2


def test_a_day_is_shown_in_ten_minutes() -> None:
    zone = ZoneInfo("UTC")
    when = datetime(2030, 1, 30, 7, 42, tzinfo=zone)

    found = heat(table([when.timestamp()], [0.9]), "day", date(2030, 1, 30), zone)

    assert [len(row) for row in found.rows] == [24] * 6
    assert found.rows[4][7].n == 1
    assert sum(cell.n for row in found.rows for cell in row) == 1


@pytest.mark.parametrize(("day", "hours"), [(date(2030, 3, 31), 23), (date(2030, 10, 27), 25)])
def test_no_score_is_lost_or_counted_twice_when_the_clocks_change(day: date, hours: int) -> None:
    zone = ZoneInfo("Europe/Paris")
    begin = datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
    times = [begin + 60.0 * minute for minute in range(60 * hours)]

    for kind in ("day", "week"):
        found = heat(table(times, [0.1] * len(times)), kind, day, zone)  # type: ignore[arg-type]
        assert sum(cell.n for row in found.rows for cell in row) == len(times)


@pytest.mark.parametrize("name", ["Nowhere/City", "../../etc/passwd", "/etc/localtime", "\0"])
def test_a_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        zone_of(name)


def test_without_a_zone_days_are_the_machine_s() -> None:
    midnight = datetime(2026, 7, 1).astimezone()

    assert midnight.astimezone(zone_of("")).utcoffset() == midnight.utcoffset()


def test_the_heat_map_is_asked_by_day_and_zone(tmp_path: Path) -> None:
    path = journal(tmp_path / "j.sqlite", [time.time() - 5])
    with browser(Options(endpoint="tcp://127.0.0.1:5556", journal=path)) as client:
        found = client.get(f"/api/heat?kind=week&day={datetime.now(UTC):%Y-%m-%d}&zone=UTC&stream=mic").json()

        assert sum(cell["n"] for row in found["rows"] for cell in row) == 1
        for wrong in ("day=yesterday", "day=2030-01-01&zone=No", "", "day=9999-12-31&kind=week"):
            assert client.get(f"/api/heat?{wrong}").status_code == 400


# The operating point.


def test_the_trade_off_is_the_cards_and_its_best_never_falls() -> None:
    found = trade_off(Config())

    assert found is not None
    assert found.rate_h == 1.0
    for curve in found.curves:
        rates = [choice.rate_h for choice in curve.best]
        caught = [choice.caught for choice in curve.best]
        assert rates == sorted(rates)
        assert caught == sorted(set(caught))
        assert max(caught) == max(choice.caught for choice in curve.choices)


# How it starts, and how it refuses to.


def made_pair(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o600)
    return certificate, key


def made_token(folder: Path) -> Path:
    """A token's file."""
    path = folder / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def test_other_machines_need_token_and_certificate(tmp_path: Path) -> None:
    certificate, key = made_pair(tmp_path)
    token = str(made_token(tmp_path))
    pair = ("--tls-cert", str(certificate), "--tls-key", str(key))
    for arguments in (
        ("--host", "0.0.0.0"), ("--host", "0.0.0.0", "--token", token), ("--host", "192.0.2.7", *pair),
        ("--host", "0.0.0.0", "--token", token, *pair), ("--tls-cert", str(certificate)),
    ):  # fmt: skip
        done = run("dashboard", *arguments)

        assert done.returncode == 78, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "expected" in done.stderr


def test_files_of_others_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    certificate, key = made_pair(tmp_path)
    token = made_token(tmp_path)
    options = Options(endpoint="tcp://127.0.0.1:5556", certificate=certificate, private_key=key)
    assert check(options) == options
    for change, match in (
        ({"private_key": certificate.with_name("none")}, "no such TLS key"), ({"private_key": token}, "expected a PEM"),
        ({"certificate": tmp_path / "none"}, "no such certificate"),
    ):  # fmt: skip
        with pytest.raises((ConfigError, MissingFileError), match=match):
            check(replace(options, **change))
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        check(options)
    token.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token(token)
    token.chmod(0o600)
    token.write_text("short")
    with pytest.raises(ConfigError, match="at least 22"):
        read_token(token)


@pytest.mark.parametrize("change", [{"endpoint": "nonsense"}, {"names": ("bad name",)}, {"names": ("a:80",)}])
def test_what_cannot_be_is_a_usage_error(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check(replace(Options(endpoint="tcp://127.0.0.1:5556"), **change))


def test_wrong_keys_of_the_wire_are_one_line(tmp_path: Path) -> None:
    for arguments, code in (
        (("--server-key", "x"), 2),
        (("--server-key", "x" * 40, "--key", str(tmp_path / "no")), 66),
    ):
        done = run("dashboard", "--port", str(free_port()), *arguments)

        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_port_in_use_is_one_line_and_73() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("dashboard", "--port", str(taken.getsockname()[1]))

    assert done.returncode == 73
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "uplot"])
def test_a_missing_extra_is_one_line_and_69(library: str, tmp_path: Path) -> None:
    code = (
        f"import sys, importlib.util as u; sys.modules[{library!r}] = None; found = u.find_spec; "
        f"u.find_spec = lambda name, *a: None if name == {library!r} else found(name, *a); "
        "from sadstream.cli.main import main; main(['dashboard', '--port', '1'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 69, done.stderr
    assert done.stderr == f"sadstream: dashboard: {library} is missing; in the checkout: pip install '.[dashboard]'\n"


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_over_tls_with_a_token_as_a_process_of_its_own(tmp_path: Path, endpoint: str) -> None:
    import httpx
    from daemon import start

    certificate, key = made_pair(tmp_path)
    port = free_port()
    process = start(
        "dashboard", "--endpoint", endpoint, "--host", "0.0.0.0", "--name", "localhost", "--port", str(port),
        "--token", str(made_token(tmp_path)), "--tls-cert", str(certificate), "--tls-key", str(key),
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == f"https://localhost:{port}/ shows {endpoint}\n"
        address = f"https://localhost:{port}"
        with httpx.Client(verify=ssl.create_default_context(cafile=certificate), base_url=address) as client:
            assert client.get("/api/state").status_code == 401
            right = client.post("/login", data={"token": TOKEN}, headers={"Origin": address})
            assert "__Host-sadstream" in right.headers["set-cookie"]
            assert "Secure" in right.headers["set-cookie"]
            assert client.get("/api/state").json()["page_is_local"] is False
            assert client.get("/", headers={"Host": f"0.0.0.0:{port}"}).status_code == 421
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_it_shows_a_daemon_over_the_wire_and_ends_at_a_signal(endpoint: str) -> None:
    import httpx
    from daemon import start

    port = free_port()
    fake = start("fake", "--publish", endpoint, "--speed", "30")
    process = start("dashboard", "--endpoint", endpoint, "--port", str(port))
    try:
        assert process.stderr is not None
        process.stderr.readline()
        heard = set()
        with httpx.stream("GET", f"http://127.0.0.1:{port}/events", timeout=20) as answer:
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    heard.add(line.removeprefix("event: "))
                if heard >= {"hello", "now", "score", "status", "episode"}:
                    break
            process.terminate()
            assert process.wait(10) == 0
    finally:
        for one in (process, fake):
            one.kill()
            one.communicate()
