"""The loop of the live view: a subscription, keys and a clock in; frames out. One thread, no queue."""

import asyncio
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace

from sadstream.base.errors import UnavailableError
from sadstream.client import Subscription
from sadstream.client.lines import finding_line, line
from sadstream.client.reader import Item
from sadstream.events import Event, Score, Status
from sadstream.events.control import ask
from sadstream.events.endpoint import is_local
from sadstream.views.watch.keyboard import Keyboard
from sadstream.views.watch.marks import MarksFile
from sadstream.views.watch.screen import Screen, Wish
from sadstream.views.watch.terminal import Terminal

TICK_S = 1.0  # the longest between two looks at the clock
FRAME_S = 0.1  # the shortest between two frames: a burst of events is one
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def watch(said: Subscription, endpoint: str, marks: MarksFile | None) -> None:
    """Show what is said until somebody presses q, a signal comes or the terminal goes away."""
    with Terminal() as terminal:
        asyncio.run(_LiveView(endpoint, marks, terminal).run(said))
    if terminal.gone:
        raise BrokenPipeError


class _LiveView:
    """What the view is made of while it runs."""

    def __init__(self, endpoint: str, marks: MarksFile | None, terminal: Terminal) -> None:
        self._endpoint = endpoint
        self._marks = marks
        self._terminal = terminal
        self._screen = Screen(endpoint)
        self._keyboard = Keyboard()
        self._changed = asyncio.Event()
        self._ended = False
        self._conditions = ""

    async def run(self, said: Subscription) -> None:
        """Draw, and draw again when something changed."""
        self._wake()
        listening = asyncio.create_task(self._listen(said))
        try:
            while not self._ended and not self._terminal.gone:
                self._changed.clear()
                self._draw()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), TICK_S)
                    await asyncio.sleep(FRAME_S)
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _listen(self, said: Subscription) -> None:
        try:
            async for item in said:
                self._screen.feed(item, time.monotonic())
                self._changed.set()
                if not self._terminal.drawn and not isinstance(item, Status):
                    self._terminal.say(_line(item))
        finally:
            self._end()

    def _draw(self) -> None:
        now_s = time.monotonic()
        if self._terminal.drawn:
            width, height = self._terminal.size
            self._terminal.show(self._screen.frame(width, height, now_s, self._terminal.glyphs))
        elif self._conditions != (conditions := self._screen.conditions(now_s)):
            self._conditions = conditions
            self._terminal.say(conditions)

    def _wake(self) -> None:
        """Let signals and keys reach the loop."""
        loop = asyncio.get_running_loop()
        for ending in ENDING:
            loop.add_signal_handler(ending, self._end)
        loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
        if self._terminal.keys:
            loop.add_signal_handler(signal.SIGTSTP, self._suspend)
            loop.add_reader(sys.stdin.fileno(), self._typed)

    def _end(self) -> None:
        self._ended = True
        self._changed.set()

    def _suspend(self) -> None:
        self._terminal.suspend()
        self._changed.set()

    def _typed(self) -> None:
        for key in self._keyboard.feed(self._terminal.typed()):
            wish = self._screen.press(key)
            if wish is not None:
                self._grant(wish)
        self._changed.set()

    def _grant(self, wish: Wish) -> None:
        try:
            note = self._do(wish)
        except UnavailableError as error:
            note = str(error)
        self._screen.note(note, time.monotonic())
        if note and not self._terminal.drawn:
            self._terminal.say(note)

    def _do(self, wish: Wish) -> str:
        """What came of it."""
        match wish:
            case "quit":
                self._end()
                return ""
            case "mark":
                if self._marks is None:
                    return "m: no file for marks; start with --marks FILE"
                self._screen.mark()
                return self._marks.add(self._screen.score)
            case "pause" | "resume":
                # The socket is found by the port: beside a daemon on another machine it would be another daemon's.
                if not is_local(self._endpoint):
                    return f"p: {self._endpoint} is another machine's; pause it there"
                try:
                    ask(self._endpoint, wish)
                except UnavailableError:
                    return f"cannot {wish}: its control socket does not answer; is the daemon yours?"
                return "paused: the microphone is closed" if wish == "pause" else "resumed"


def _line(item: Item) -> str:
    """An event or a finding as one line; never with words."""
    if isinstance(item, Score):
        return line(replace(item, text=None))
    return line(item) if isinstance(item, Event) else finding_line(item)
