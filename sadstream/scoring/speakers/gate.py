"""The people who are scored, where not everybody is."""

from pathlib import Path

from sadstream.audio.segmenter import Segment
from sadstream.config import Config
from sadstream.scoring.speakers.encoder import NAME, SpeakerEncoder
from sadstream.scoring.speakers.enrolled import default_folder, read_enrolled
from sadstream.scoring.weights.store import locate


class SpeakerGate:
    """Segments in; whether the voice is that of somebody who was enrolled and asked for."""

    def __init__(self, config: Config) -> None:
        self._encoder = SpeakerEncoder(locate(NAME, "speaker"))
        self._match = config.voice.match
        folder = speakers_folder(config)
        self._known = [read_enrolled(folder, name, self._encoder.identity) for name in config.voice.only]

    def cosine(self, segment: Segment) -> float:
        """The greatest cosine of this voice's embedding with one of theirs."""
        found = self._encoder(segment.heard)
        return max(person.cosine(found) for person in self._known)

    def admits(self, segment: Segment) -> bool:
        """It is one of them."""
        return self.cosine(segment) >= self._match


def speakers_folder(config: Config) -> Path:
    """Where enrolled people are written and looked for: the configuration's folder, else the user's own."""
    return Path(config.voice.speakers).expanduser() if config.voice.speakers else default_folder()
