"""The people who are scored, where not everybody is."""

from pathlib import Path

from sadstream.audio.segmenter import Segment
from sadstream.config import Config
from sadstream.scoring.speakers.encoder import NAME, SpeakerEncoder
from sadstream.scoring.speakers.enrolled import default_folder, read_enrolled
from sadstream.scoring.weights.locate import locate


class SpeakerGate:
    """Segments in; who of those who were enrolled and asked for speaks, if anybody of them."""

    def __init__(self, config: Config) -> None:
        self._encoder = SpeakerEncoder(locate(NAME, "speaker"))
        self._match = config.voice.match
        folder = speakers_folder(config)
        self._known = [read_enrolled(folder, name, self._encoder.identity) for name in config.voice.only]

    def likest(self, segment: Segment) -> tuple[float, str]:
        """The greatest cosine of this voice's embedding with one of theirs, and whose."""
        found = self._encoder(segment.heard)
        return max((person.cosine(found), person.name) for person in self._known)

    def who(self, segment: Segment) -> str | None:
        """The name of the one of them who speaks; None for anybody else."""
        cosine, name = self.likest(segment)
        return name if cosine >= self._match else None


def speakers_folder(config: Config) -> Path:
    """Where enrolled people are written and looked for: the configuration's folder, else the user's own."""
    return Path(config.voice.speakers).expanduser() if config.voice.speakers else default_folder()
