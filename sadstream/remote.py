"""Audio from elsewhere: RTP, RTSP and whatever else FFmpeg opens by an address, through PyAV (extra `av`).

A sender that stops, or never was, is a device that is lost: said with its reason, and tried again until it is back.
"""

import re
import time
from collections.abc import Iterator

from sadstream import ffmpeg
from sadstream.audio import SAMPLE_RATE, Framer
from sadstream.config import ServiceConfig
from sadstream.errors import UnavailableError
from sadstream.events import Reason
from sadstream.sources import Item, SourceChange, Stopped, sleep

OPEN_S = 5.0  # for a sender to be found and to say what it sends
DESCRIPTION = ".sdp"  # RTP with a payload type of its own is described in a file


def is_address(source: str) -> bool:
    """`source` names something that FFmpeg opens, and not a recording."""
    return re.match(r"[a-z][a-z0-9+.-]*://", source) is not None or source.endswith(DESCRIPTION)


def shown(source: str) -> str:
    """The address without the user's name and password in it, as it may be printed."""
    return re.sub(r"(?<=://)[^/@]*@", "", source)


class Remote:
    """A sender at an address, mono 16 kHz whatever it sends."""

    live = True
    speed: float | None = None  # its frames are taken as they come

    def __init__(self, address: str, service: ServiceConfig) -> None:
        if not ffmpeg.is_here():
            raise UnavailableError(
                f"stream.source = {shown(address)!r}: expected PyAV, which is not here; pip install 'sadstream[av]'"
            )
        self._address = address
        self._retry_s = service.retry_s
        self._stall_s = service.stall_s
        self._framer = Framer()

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as they come, and every loss; until `stopped()`."""
        said: Reason | None = None
        heard_s: float | None = None
        while not stopped():
            reason, detail = self._absence(heard_s), "the sender ended"
            try:
                with ffmpeg.opened(self._address, OPEN_S, self._stall_s) as container:
                    if heard_s is not None:
                        self._framer.skip(round((time.monotonic() - heard_s) * SAMPLE_RATE))
                    said, heard_s = "none", time.monotonic()
                    yield SourceChange("listening", "none", shown(self._address))
                    for pcm in ffmpeg.decoded(container, stopped):
                        heard_s = time.monotonic()
                        yield from self._framer.feed(pcm, heard_s)
                reason = "device-lost"
            except ffmpeg.failures() as error:  # their text may hold a password
                silent = ffmpeg.is_timeout(error)  # no packet for `stall_s`
                reason = "stalled" if silent and said == "none" else self._absence(heard_s)
                detail = getattr(error, "strerror", None) or type(error).__name__
            if not stopped() and (said is None or said == "none"):
                said = reason
                yield SourceChange("no-device", reason, f"{shown(self._address)}: {detail}")
            sleep(self._retry_s, stopped)

    def _absence(self, heard_s: float | None) -> Reason:
        return "device-absent" if heard_s is None else "device-lost"
