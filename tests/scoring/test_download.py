"""A file arrives as it was announced, over a line that breaks too, or not at all."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import (
    Server,
)

from sadstream.base.errors import UnavailableError
from sadstream.scoring.weights.origins.download import download

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def serving(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(CONTENT, **request.param)
    yield server
    server.close()


def _get(server: Server, path: Path, sha256: str | None = None) -> None:
    download(server.url, path, sha256 or server.url.split("/")[-2], lambda *_: None, timeout_s=1.0)


@pytest.mark.parametrize("serving", [{}, {"cut": 40_000}, {"ranges": False}], indirect=True)
def test_a_download_arrives_even_over_a_line_that_breaks(serving: Server, tmp_path: Path) -> None:
    _get(serving, tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == CONTENT
    assert not (tmp_path / "x.part").exists()


@pytest.mark.parametrize("serving", [{}, {"ranges": False}], indirect=True)
@pytest.mark.parametrize("have", [1, 50_000, len(CONTENT)])
def test_a_download_goes_on_where_a_killed_one_stopped(serving: Server, tmp_path: Path, have: int) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT[:have])

    _get(serving, tmp_path / "x")

    assert serving.ranges_asked == [f"bytes={have}-"]
    assert (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("serving", [{}], indirect=True)
def test_a_download_that_is_not_the_file_is_refused_and_not_kept(serving: Server, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"SHA-256 .*, expected 00"):
        _get(serving, tmp_path / "x", "00")

    assert list(tmp_path.iterdir()) == []


def test_a_dead_host_is_given_up_at_once(tmp_path: Path) -> None:
    server = Server(CONTENT)
    server.close()

    with pytest.raises(UnavailableError, match="refused"):
        _get(server, tmp_path / "x")


def test_a_host_that_never_answers_is_given_up_in_time(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/00/x.pt"
        start_s = time.monotonic()
        with pytest.raises(UnavailableError, match="timed out"):
            download(url, tmp_path / "x", "00", lambda *_: None, timeout_s=0.3)
        assert time.monotonic() - start_s < 2
