"""Audio from elsewhere: RTP, RTSP and whatever else FFmpeg opens by an address, through PyAV (extra `av`).

A sender that stops, or never was, is a device that is lost: said with its reason, and tried again until it is back.
"""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sadstream.audio.decoding import ffmpeg
from sadstream.audio.decoding.decoder import check_channel
from sadstream.audio.filters.framing import Framer, Resampler
from sadstream.audio.filters.mixer import MixWatch
from sadstream.audio.sources.source import Item, SourceChange, Stopped, left_out, no_device, sleep
from sadstream.base.errors import UnavailableError
from sadstream.base.samples import SAMPLE_RATE, Channel
from sadstream.config.tables import ServiceConfig
from sadstream.events import Reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OPEN_S = 5.0  # for a sender to be found and to say what it sends
DESCRIPTION = ".sdp"  # RTP with a payload type of its own is described in a file


def is_address(source: str) -> bool:
    """`source` names something that FFmpeg opens, and not a recording."""
    return re.match(r"[a-z][a-z0-9+.-]*://", source) is not None or source.endswith(DESCRIPTION)


def shown(source: str) -> str:
    """The address without the user's name and password in it, as it may be printed."""
    return re.sub(r"(?<=://)[^/@]*@", "", source)


class NetworkSource:
    """A sender at an address, mono 16 kHz whatever it sends: its mix, or the channel that is asked for."""

    live = True
    speed: float | None = None  # its frames are taken as they come

    def __init__(self, address: str, service: ServiceConfig, channel: Channel = "mix") -> None:
        if not ffmpeg.is_here():
            raise UnavailableError(
                f"stream.source = {shown(address)!r}: expected PyAV, which is not here; "
                "in the checkout: pip install '.[av]'"
            )
        self._address = address
        self._channel = channel
        self._retry_s = service.retry_s
        self._stall_s = service.stall_s
        self._framer = Framer()
        self._mix = MixWatch()

    def listen(self, stopped: Stopped) -> Iterator[Item]:
        """Its frames as they come, and every loss; until `stopped()`. DataError where it has no such channel."""
        said: Reason | None = None
        heard_s: float | None = None
        while not stopped():
            reason, detail = self._absence(heard_s), "the sender ended"
            try:
                with ffmpeg.opened(self._address, OPEN_S, self._stall_s) as container:
                    sound = ffmpeg.Decoder(container)
                    resampler = self._resampler(sound)
                    if heard_s is not None:
                        self._framer.skip(round((time.monotonic() - heard_s) * SAMPLE_RATE))
                    said, heard_s = "none", time.monotonic()
                    yield SourceChange("listening", "none", shown(self._address))
                    for block in sound.blocks:
                        if stopped():
                            return
                        heard_s = time.monotonic()
                        yield from self._heard(resampler, block, heard_s)
                reason = "device-lost"
            except ffmpeg.failures() as error:  # their text may hold a password
                silent = ffmpeg.is_timeout(error)  # no packet for `stall_s`
                reason = "stalled" if silent and said == "none" else self._absence(heard_s)
                detail = getattr(error, "strerror", None) or type(error).__name__
            if not stopped() and (said is None or said == "none"):
                said = reason
                yield no_device(reason, f"{shown(self._address)}: {detail}")
            sleep(self._retry_s, stopped)

    def _resampler(self, sound: ffmpeg.Decoder) -> Resampler:
        check_channel(shown(self._address), self._channel, sound.channels)
        self._mix = MixWatch()
        return Resampler(sound.rate, sound.channels, self._channel)

    def _heard(self, resampler: Resampler, block: "NDArray[np.float32]", heard_s: float) -> Iterator[Item]:
        frames = self._framer.feed(resampler.feed(block), heard_s)
        yield from map(left_out, self._mix.changed(resampler.left_out))
        yield from frames

    def _absence(self, heard_s: float | None) -> Reason:
        return "device-absent" if heard_s is None else "device-lost"
