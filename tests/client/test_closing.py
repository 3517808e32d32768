"""A subscription ends when it is told to, from wherever that comes, and leaves nothing open."""

import asyncio
import gc
import threading
import time
from pathlib import Path

import zmq
from wire import a_status, program, ready

from sadstream import client
from sadstream.client import Subscription, subscribe
from sadstream.events import Score, Status, to_wire

PROMPT_S = 1.0  # of a machine with other work; no wait of the client's own is shorter


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def opened(events: Subscription) -> int:
    """How many descriptors there are once it listens."""
    assert next(event for event in events if isinstance(event, Score))
    return descriptors()


def test_after_with_nothing_is_open_and_nothing_more_comes(endpoint: str) -> None:
    with program("publish", endpoint) as process:
        ready(process)
        before = descriptors()
        with subscribe(endpoint, timeout_s=20.0, replay=5) as events:
            assert opened(events) > before
        assert descriptors() == before
        assert list(events) == []
        events.close()


def test_one_that_was_never_read_closes_too() -> None:
    before = descriptors()
    with subscribe("tcp://127.0.0.1:1") as events:
        pass

    assert list(events) == []
    assert descriptors() == before


def test_one_that_is_dropped_frees_its_sockets(endpoint: str) -> None:
    with program("publish", endpoint) as process:
        ready(process)
        before = descriptors()
        for event in subscribe(endpoint, timeout_s=20.0):
            if isinstance(event, Score):
                break
        held = subscribe(endpoint, timeout_s=20.0)
        assert opened(held) > before
        del held
        gc.collect()

        assert descriptors() == before


def test_another_thread_ends_a_loop_that_waits(endpoint: str) -> None:
    """Nobody publishes there: without `close` it would wait for 60 s."""
    before = descriptors()
    for _ in range(20):
        events = subscribe(endpoint, timeout_s=60.0)
        heard: list[object] = []
        reader = threading.Thread(target=lambda events=events, heard=heard: heard.extend(events))
        reader.start()
        time.sleep(0.02)
        events.close()
        reader.join(PROMPT_S)
        assert not reader.is_alive()
        assert heard == []

    assert descriptors() == before


def test_another_thread_may_close_at_any_moment(endpoint: str) -> None:
    """40 loops in the middle of events that come every millisecond; none fails, none goes on, each socket is freed."""
    before, failed = descriptors(), []

    def read(events: Subscription, heard: threading.Event) -> None:
        try:
            for _ in events:
                heard.set()
        except BaseException as error:
            failed.append(error)

    with program("publish", endpoint, "--every-ms", "1") as process:
        ready(process)
        for number in range(40):
            events, heard = subscribe(endpoint, timeout_s=60.0, replay=number % 2), threading.Event()
            reader = threading.Thread(target=read, args=(events, heard))
            reader.start()
            assert heard.wait(10.0)
            time.sleep(number % 8 / 4000)
            closers = [threading.Thread(target=events.close) for _ in range(2)]
            for closer in closers:
                closer.start()
            for thread in (reader, *closers):
                thread.join(PROMPT_S)
                assert not thread.is_alive()

    assert failed == []
    assert descriptors() == before


def test_it_ends_while_it_asks_for_the_past_too(endpoint: str) -> None:
    """A memory that never answers would hold it for a second."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, context.socket(zmq.ROUTER) as memory:
        publisher.bind(endpoint)
        memory.bind(f"{endpoint}.replay")
        events = subscribe(endpoint, timeout_s=60.0, replay=5)
        reader = threading.Thread(target=lambda: list(events))
        reader.start()
        for _ in range(4):  # three topics and a gatherer's note
            publisher.recv()
        publisher.send(to_wire(a_status(replay=f"{endpoint}.replay")))
        memory.recv_multipart()
        began_s = time.monotonic()
        events.close()
        reader.join(PROMPT_S)

    assert not reader.is_alive()
    assert time.monotonic() - began_s < client.REPLAY_TIMEOUT_MS / 2000


def test_async_with_and_aclose_end_it_too(endpoint: str) -> None:
    async def closed_by_another_task() -> None:
        events = subscribe(endpoint, timeout_s=60.0)
        reading = asyncio.create_task(anext(events, None))
        await asyncio.sleep(0.1)
        await events.aclose()
        assert await asyncio.wait_for(reading, PROMPT_S) is None

    async def left() -> None:
        async with subscribe(endpoint, timeout_s=60.0) as events:
            async for event in events:
                if isinstance(event, Status):
                    break
        assert [event async for event in events] == []
        await events.aclose()

    async def run_all(before: int) -> None:
        await closed_by_another_task()
        assert descriptors() == before
        with program("publish", endpoint) as process:
            ready(process)
            before = descriptors()
            await left()
            assert descriptors() == before

    async def warmed() -> None:
        await anext(subscribe("tcp://127.0.0.1:1", timeout_s=0.0), None)  # what the loop itself opens once
        await run_all(descriptors())

    asyncio.run(warmed())


def test_another_thread_ends_an_async_loop(endpoint: str) -> None:
    events = subscribe(endpoint, timeout_s=60.0)

    async def read() -> list[object]:
        return [event async for event in events]

    closer = threading.Timer(0.2, events.close)
    closer.start()
    began_s = time.monotonic()

    assert asyncio.run(read()) == []
    assert time.monotonic() - began_s < 0.2 + PROMPT_S
    closer.join()


def test_a_task_that_is_cancelled_frees_its_sockets_and_the_loop_has_nothing_to_complain_of(endpoint: str) -> None:
    complaints: list[str] = []

    async def follow() -> None:
        async for _ in subscribe(endpoint):
            pass

    async def play() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what["message"]))
        task = asyncio.create_task(follow())
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(play())

    assert complaints == []
