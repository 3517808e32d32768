"""A stream that plays a list, through the interface of a real subscription and without a socket."""

import select
from collections.abc import AsyncGenerator, Generator, Iterable
from dataclasses import replace
from functools import partial

from sadstream.client.closing import ClosingSignal
from sadstream.client.follower import Gap, Restart, Stale
from sadstream.client.reader import Item
from sadstream.client.subscription import Subscription
from sadstream.events import Score


def scripted(items: Iterable[Item | float], *, speed: float = 1.0) -> Subscription:
    """A subscription that says these items in turn and ends; a number between them is so many seconds of silence.

    What a daemon would number is numbered: a `seq` that is not greater than the last of its topic is the next one, a
    gap begins behind what was heard, and after a restart the session is the new one. All else comes as it is.
    speed: times as fast as the numbers say.
    """
    play = list(items)
    return Subscription(partial(_plain, play, speed), partial(_async, play, speed))


class Numbering:
    """What a daemon numbers, of made-up items that all begin at 0."""

    def __init__(self) -> None:
        self._seq: dict[tuple[str, str, str], int] = {}
        self._sessions: dict[str, str] = {}
        self._scores: dict[tuple[str, str], Score] = {}

    def feed(self, item: Item) -> Item:
        """The item, with its number in the order in which it came."""
        match item:
            case Restart():
                self._sessions[item.stream] = item.session
                return item
            case Stale():
                return item
            case Gap():
                key = item.stream, self._session(item), item.event_type
                first = max(item.first_seq, self._seq.get(key, -1) + 1)
                self._seq[key] = first + item.missed - 1
                return replace(item, session=key[1], first_seq=first, last_seq=self._seq[key])
        key = item.stream, self._session(item), item.type
        self._seq[key] = max(item.seq, self._seq.get(key, -1) + 1)
        numbered = replace(item, session=key[1], seq=self._seq[key])
        return self._segment(numbered) if isinstance(numbered, Score) else numbered

    def _session(self, item: Item) -> str:
        assert not isinstance(item, Stale)
        return self._sessions.get(str(item.stream), item.session)

    def _segment(self, score: Score) -> Score:
        """A score has its own segment, later than the last; a provisional one shares it with the one that follows."""
        last = self._scores.get((score.stream, score.session))
        if last is not None and not last.provisional and score.segment <= last.segment:
            later = max(0.0, last.t_end - score.t_start)
            score = replace(score, segment=last.segment + 1, t_start=score.t_start + later, t_end=score.t_end + later)
        self._scores[score.stream, score.session] = score
        return score


def _plain(play: list[Item | float], speed: float, closing: ClosingSignal) -> Generator[Item]:
    numbering, wake = Numbering(), closing.opened()
    try:
        for item in play:
            if closing.is_set:
                return
            if isinstance(item, int | float):
                select.select([wake], [], [], item / speed)
            else:
                yield numbering.feed(item)
    finally:
        wake.close()
        closing.free()


async def _async(play: list[Item | float], speed: float, closing: ClosingSignal) -> AsyncGenerator[Item]:
    import asyncio

    numbering, wake = Numbering(), closing.opened()
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(wake, woken.set)
    try:
        for item in play:
            if closing.is_set:
                return
            if isinstance(item, int | float):
                await asyncio.wait([waiting := asyncio.create_task(woken.wait())], timeout=item / speed)
                waiting.cancel()
            else:
                yield numbering.feed(item)
    finally:
        loop.remove_reader(wake)
        wake.close()
        closing.free()
