"""The fake daemon as a pytest fixture: `pytest_plugins = ["sadstream.testing.fixtures"]` in a conftest.py."""

from collections.abc import Iterator

import pytest

from sadstream.testing.fake_daemon import FakeDaemon, fake_daemon


@pytest.fixture
def sadstream_daemon() -> Iterator[FakeDaemon]:
    """A fake daemon of this test's own; `sadstream_daemon.endpoint` is where it publishes."""
    with fake_daemon() as daemon:
        yield daemon
