"""`sadstream enroll`: some seconds of one person's speech in, an embedding of the voice out."""

from collections.abc import Iterator

from sadstream.audio.hearing import SpeechProgress, segments_of
from sadstream.audio.silero import SpeechGate
from sadstream.audio.sources.source import Source
from sadstream.base.errors import DataError
from sadstream.config import Config
from sadstream.scoring.speakers.encoder import NAME, SpeakerEncoder, mean_embedding
from sadstream.scoring.speakers.enrolled import EnrolledSpeaker
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.trust import SURE_SPEECH

LEAST_S = 10.0  # of speech: with less, a voice is known too little to leave others out


def enroll(name: str, source: Source, config: Config, wanted_s: float) -> Iterator[SpeechProgress | EnrolledSpeaker]:
    """Progress, and at last the person; DataError where too little was said."""
    encoder, gate = SpeakerEncoder(locate(NAME, "speaker")), SpeechGate()
    embeddings = []
    heard_s = 0.0
    for segment in segments_of(source, config):
        if gate(segment.samples) < SURE_SPEECH:
            continue
        embeddings.append(encoder(segment.heard))
        heard_s += segment.t_end - segment.t_start
        yield SpeechProgress(heard_s, wanted_s)
        if heard_s >= wanted_s:
            break
    if heard_s < min(LEAST_S, wanted_s):
        raise DataError(f"enroll: {heard_s:.0f} s of speech: expected at least {LEAST_S:.0f} s of one person; talk on")
    yield EnrolledSpeaker(
        name=name,
        encoder=encoder.identity,
        segments=len(embeddings),
        speech_s=round(heard_s, 2),
        voice=tuple(round(float(x), 6) for x in mean_embedding(embeddings)),
    )
