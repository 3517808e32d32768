"""What FFmpeg decodes, through PyAV (extra `av`): files and pipes of phones and browsers, senders at an address."""

from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from typing import TYPE_CHECKING, Any

from sadstream.audio.decoding.container import BrokenError, UnreadableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CURE = "needs PyAV, which is not here; in the checkout: pip install '.[av]', or convert it to WAV or FLAC"
PROTOCOLS = "file,udp,rtp,rtcp,rtsp,srtp,tcp,tls,http,https,crypto,data"  # what a description or a playlist may open


def is_here() -> bool:
    """PyAV is installed."""
    return find_spec("av") is not None


def failures() -> tuple[type[Exception], ...]:
    """What may be raised while FFmpeg opens or decodes."""
    import av

    return (av.FFmpegError, ValueError)


def is_timeout(error: Exception) -> bool:
    """No packet came in time."""
    import av

    return isinstance(error, av.error.ExitError | TimeoutError)


def opened(address: str, open_s: float, read_s: float) -> Any:
    """A sender at an address."""
    import av

    options = {"protocol_whitelist": PROTOCOLS, "rtsp_transport": "tcp"}
    return av.open(address, options=options, timeout=(open_s, read_s))


def of_file(file: Any, format_name: str) -> "Decoder":
    """A file-like object's sound, in a format that is named: FFmpeg is never left to guess one."""
    import av

    try:
        return Decoder(av.open(file, format=format_name, options={"protocol_whitelist": ""}))
    except (av.FFmpegError, ValueError, OSError) as error:
        raise UnreadableError(getattr(error, "strerror", None) or str(error)) from None


class Decoder:
    """The first sound of a container that FFmpeg opened; ValueError where it has none."""

    def __init__(self, container: Any) -> None:
        if not container.streams.audio:
            raise ValueError("no sound in it")
        self._container = container
        stream = container.streams.audio[0]
        self.rate, self.channels = int(stream.rate), len(stream.layout.channels)
        self.frames = _duration(container, stream)
        self.blocks = self._decoded()  # (n, channels), one a packet; FFmpeg's own errors

    def read(self, frames: int) -> "NDArray[np.float32]":
        """The next (n, channels) samples, as many as a packet holds; BrokenError where it cannot go on."""
        import av
        import numpy as np

        none = np.zeros((0, self.channels), dtype=np.float32)
        try:
            return next(self.blocks, none)
        except (av.FFmpegError, ValueError) as error:
            raise BrokenError(getattr(error, "strerror", None) or str(error), none) from None

    def _decoded(self) -> "Iterator[NDArray[np.float32]]":
        import numpy as np
        from av import AudioResampler

        layout = self._container.streams.audio[0].layout
        resampler = AudioResampler(format="flt", layout=layout, rate=self.rate)
        for frame in chain(self._container.decode(audio=0), [None]):
            for one in resampler.resample(frame):
                yield one.to_ndarray().astype(np.float32, copy=False).reshape(-1, self.channels)


def _duration(container: Any, stream: Any) -> int | None:
    """Samples, as the header says; none where it does not."""
    if stream.duration is not None and stream.time_base is not None:
        return round(float(stream.duration * stream.time_base) * int(stream.rate))
    return None if container.duration is None else round(int(container.duration) / 1e6 * int(stream.rate))
