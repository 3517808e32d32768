"""How many scorers there are: as many as fit, more when a machine joins, fewer when it leaves."""

from pathlib import Path

import pytest

from sadstream.cluster import serve
from sadstream.cluster.actors import REPLICA_MB, Machine, Placement, fit, placement
from sadstream.cluster.serve import Scaling, ServeRequest
from sadstream.config import Config, parse

GIB = 1 << 30
CPU = parse({"compute": {"device": "cpu", "threads": 1}}, "a test")


def test_a_machine_holds_as_many_as_its_cores_and_its_memory() -> None:
    assert fit(Machine(8, 0, 64_000), 1.0, 0.0) == 8
    assert fit(Machine(8, 0, 64_000), 2.0, 0.0) == 4
    assert fit(Machine(8, 0, 3 * REPLICA_MB + 1), 1.0, 0.0) == 3
    assert fit(Machine(16, 2, 64_000), 1.0, 1.0) == 2


def test_what_was_asked_for_is_what_there_is() -> None:
    assert placement(CPU, (2, 8)) == Placement(2, 8, 1.0, 0.0, 1)
    assert placement(CPU, None).most >= 1


def follow(
    monkeypatch: pytest.MonkeyPatch, replicas: tuple[int, int] | None, *seen: list[dict[str, float]]
) -> list[int]:
    asked: list[Placement] = []
    monkeypatch.setattr(serve, "deploy", lambda _wanted, _config, placed: asked.append(placed))
    scaling = Scaling(
        ServeRequest(Config(), "ipc:///x", Path("token"), replicas=replicas), CPU, Placement(2, 2, 1.0, 0.0, 1)
    )
    for others in seen:
        scaling.follow(others)
        if scaling._working is not None:
            scaling._working.join()
    return [placed.most for placed in asked]


def test_machines_that_join_and_leave_move_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    four = {"CPU": 4.0, "memory": 16.0 * GIB}

    assert follow(monkeypatch, None, [], [four], [four], [four, four], []) == [6, 10, 2]


def test_a_number_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert follow(monkeypatch, (2, 2), [{"CPU": 4.0, "memory": 16.0 * GIB}]) == []
