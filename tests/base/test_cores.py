"""The cores that are ours, on systems that say so and on those that do not."""

import os

import pytest

from sadstream.base.cores import own_cores


def test_a_process_that_is_held_to_one_core_has_one() -> None:
    held = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(held)})
    try:
        assert own_cores() == 1
    finally:
        os.sched_setaffinity(0, held)


def test_where_the_system_cannot_say_all_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")

    assert own_cores() == os.cpu_count()
