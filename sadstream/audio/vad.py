"""Which 30 ms hold speech: WebRTC's voice activity detection, and the level that it expects."""

from typing import Protocol

from sadstream.base.errors import UnavailableError
from sadstream.base.samples import FRAME_MS, to_float, to_pcm
from sadstream.config.tables import VadConfig


class SpeechDetector(Protocol):
    """Anything that tells speech in 30 ms of signed 16-bit audio."""

    def is_speech(self, pcm: bytes, sample_rate: int) -> bool: ...


def webrtc_detector(aggressiveness: int) -> SpeechDetector:
    """WebRTC's voice activity detector in mode 0 (keeps most) to 3; without it nothing starts."""
    try:
        import webrtcvad
    except ImportError as error:
        raise UnavailableError(
            f"voice activity detection: cannot import webrtcvad ({error}); pip install webrtcvad-wheels"
        ) from None
    detector: SpeechDetector = webrtcvad.Vad(aggressiveness)
    return detector


class LevelNormalizer:
    """A copy of each frame in which speech is near `target_dbfs` and steady noise near `noise_dbfs`.

    webrtcvad decides by absolute level: it misses quiet speakers and calls steady noise at -20 dBFS
    speech. Loudness follows peaks and decays; the noise floor follows dips and rises.
    """

    __slots__ = ("_config", "_floor_dbfs", "_level_dbfs")

    def __init__(self, config: VadConfig) -> None:
        self._config = config
        self._level_dbfs = config.target_dbfs - config.max_gain_db
        self._floor_dbfs = config.noise_dbfs - config.max_gain_db

    def feed(self, pcm: bytes, level_dbfs: float) -> bytes:
        """The same 30 ms at the level that the detector expects."""
        config = self._config
        level = max(level_dbfs, config.noise_dbfs - config.max_gain_db)
        self._level_dbfs = max(level, self._level_dbfs - config.decay_db_s * FRAME_MS / 1000)
        self._floor_dbfs = min(level, self._floor_dbfs + config.rise_db_s * FRAME_MS / 1000)
        gain_db = min(
            config.max_gain_db,
            config.target_dbfs - self._level_dbfs,
            config.noise_dbfs - self._floor_dbfs,
        )
        return to_pcm(to_float(pcm) * float(10.0 ** (gain_db / 20.0)))
