"""Every figure of what leaves the daemon, through its own objects: `make eval`."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sadstream.base.errors import UnavailableError
from sadstream.base.files import save_atomic
from sadstream.base.progress import progress
from sadstream.config import parse
from sadstream.scoring.analyzer.analyzer import Analyzer
from sadstream.scoring.analyzer.models import LANGUAGE_IDENTIFIER, load_models
from sadstream.scoring.fusion.card import read_card
from sadstream.scoring.fusion.checkpoint import load
from sadstream.scoring.mood.plan import checkpoint_path
from sadstream.scoring.speakers.encoder import NAME, SpeakerEncoder
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.whisper.recognizer import Whisper
from train.corpora.clips import CALM, Clip, by_speaker, read_clips
from train.evaluation.card import DaysReport, days_report, write_card
from train.evaluation.days import Day, DaysConfig
from train.evaluation.enrolment import Room, enrolment_table
from train.evaluation.gates import language_table, loss_table, noise_table, talk_table
from train.evaluation.sound.channels import channels_table
from train.evaluation.sound.robustness import conditions, robustness_table
from train.evaluation.sound.signal import clean_table, disturbances, signal_table
from train.evaluation.trust import SECOND, EvidenceReader, groups_of, trust_table
from train.features.cache import Cache
from train.features.noises import Noise, made, mixed, recorded, reversed_babble
from train.shipped.config import OpenConfig
from train.shipped.cross_validation import cross_validated, left_out, out_of_fold, read_speech

NON_SPEECH_H = 30.0  # at scale 1
CLIPS = 2000
READ = ("librispeech_test_other", "vctk", "librispeech_train_clean_untranscribed")
SECOND_LANGUAGE = "speechocean762_adult"
TALK = ("librispeech_train_clean_untranscribed", "librispeech_test_other", SECOND_LANGUAGE)
PARTS = ("noise", "speech", "language", "talk", "robustness", "signal", "clean", "channels", "voices")
VOICE_ALONE = ("robustness", "speech", "signal")


def simulate(
    data: Path, checkpoint: Path, config: OpenConfig, days: DaysConfig, cache: Path, out: Path | None
) -> DaysReport:
    """The days of a checkpoint's recipe; writes its card beside it, and with `out` every day with its truth."""
    speech = read_speech(data, config, Cache(cache))
    raw = out_of_fold(speech)
    scored, model = cross_validated(speech, raw), load(checkpoint).sha256[:12]
    report = days_report(scored, speech.seconds, model, days, config.learning, left_out(speech, raw))
    write_card(checkpoint, report.card)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(_told(day), separators=(",", ":")) for day in report.days]
        save_atomic(out / "days.jsonl", ("\n".join(lines) + "\n").encode())
    return report


def _told(day: Day) -> dict[str, object]:
    return {
        "speaker": day.speaker,
        "seconds": round(day.seconds, 3),
        "typical": round(day.typical, 4),
        "truth": [asdict(span) for span in day.truth],
        "segments": [
            {
                "t_start": round(one.t_start, 3),
                "t_end": round(one.t_end, 3),
                "ratio": round(one.uncapped, 4),
                "clip": one.clip.path.name,
            }
            for one in day.heard
        ],
    }


def measure(data: Path, part: str, scale: float, seed: int) -> str:
    """One part's table, by its name among PARTS; scale 1 is the long form."""
    if part == "voices":
        return _voices(data, seed)
    config = parse({"text": {"encoder": "off"}} if part in VOICE_ALONE else {}, "evaluation")
    analyzer = Analyzer(load_models(config))
    tables: dict[str, Callable[[], str]] = {
        "noise": lambda: _noise(data, analyzer, scale, seed),
        "speech": lambda: _speech(data, analyzer, scale, seed),
        "language": lambda: _language(data, analyzer, scale, seed),
        "talk": lambda: _talk(data, analyzer, scale, seed),
        "robustness": lambda: _robustness(data, analyzer, scale, seed),
        "signal": lambda: _signal(data, analyzer, scale, seed),
        "clean": lambda: _clean(data, analyzer, scale, seed),
        "channels": lambda: _channels(data, analyzer, scale, seed),
    }
    return tables[part]()


def trust(data: Path, scale: float, seed: int) -> str:
    """How far words can be trusted, from the evidence of segments that are English, another language or no speech."""
    english = read_clips(data / "english")
    speech = read_clips(data / "speech")
    groups = {
        "Polish": _drawn([c for c in speech if c.corpus == "nemo"], round(1500 * scale), seed),
        "English": _drawn([c for c in english if c.corpus not in ("fsdd", SECOND_LANGUAGE)], round(1000 * scale), seed),
        "English digits": _drawn([c for c in english if c.corpus == "fsdd"], round(100 * scale), seed),
        SECOND: _drawn([c for c in english if c.corpus == SECOND_LANGUAGE], round(250 * scale), seed),
        "RAVDESS": _drawn([c for c in speech if c.corpus == "ravdess"], round(500 * scale), seed),
    }
    sounds = _sounds(data, seed)
    sounds = [sounds[at] for at in range(0, len(sounds), max(1, round(1.0 / scale)))]
    whispers = [Whisper(locate(name, "whisper"), "cpu", "en") for name in ("tiny.en", LANGUAGE_IDENTIFIER)]
    evidence_reader = EvidenceReader(whispers[0], whispers[1], parse({}, "evaluation").gate.speech)
    with progress("trust", len(sounds) + sum(map(len, groups.values())), "recordings") as tick:
        return trust_table(groups_of(groups, sounds, evidence_reader, seed, tick))


def _sounds(data: Path, seed: int) -> list[Noise]:
    """All recorded sounds, made ones, mixtures and voices backwards."""
    sounds = recorded(data / "noise")
    voices = [clip for clip in read_clips(data / "english") if clip.corpus in READ]
    return sounds + made(seed) + mixed(sounds, 120, seed) + reversed_babble(voices, 60, seed)


def _noise(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    sounds = _sounds(data, seed)
    with progress("non-speech", len(sounds), "sounds") as tick:
        return noise_table(sounds, analyzer, NON_SPEECH_H * scale, seed, tick)


def _speech(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    clips = _drawn(read_clips(data / "speech"), round(CLIPS * scale), seed)
    with progress("speech", len(clips), "clips") as tick:
        return loss_table(clips, analyzer, tick)


def _language(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    polish = [clip for clip in read_clips(data / "speech") if clip.corpus == "nemo"]
    english = [clip for clip in read_clips(data / "english") if clip.corpus in READ]
    groups = {
        "Polish": _drawn(polish, round(CLIPS * scale), seed),
        "English": _drawn(english, round(CLIPS * scale / 2), seed),
    }
    with progress("language", sum(map(len, groups.values())), "clips") as tick:
        return language_table(groups, analyzer, tick)


def _talk(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    clips = _drawn([c for c in read_clips(data / "english") if c.corpus in TALK], round(CLIPS * scale), seed)
    path = checkpoint_path(parse({}, "evaluation"))
    card = read_card(path, analyzer.models.model_id)
    if card is None:
        raise UnavailableError(f"{path}: no card beside it; make one with: sadstream-train days")
    with progress("ordinary talk", len(clips), "clips") as tick:
        return talk_table(clips, analyzer, card, tick)


def _robustness(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    clips = _drawn(_dev(data), round(CLIPS * scale), seed)
    noises = [noise.samples for noise in recorded(data / "noise") if not noise.human_voice]
    with progress("robustness", len(clips) * len(conditions()), "clips") as tick:
        return robustness_table(clips, noises, analyzer, seed, tick)


def _dev(data: Path) -> list[Clip]:
    return [c for c in read_clips(data / "speech") if c.split == "dev" and (c.sad or c.emotion in CALM)]


def _signal(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    clips = _drawn(_dev(data), round(CLIPS * scale), seed)
    with progress("signal", len(clips) * len(disturbances()), "clips") as tick:
        return signal_table(clips, analyzer, seed, tick)


def _clean(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    clips = _drawn([c for c in read_clips(data / "speech") if c.split == "dev"], round(CLIPS * scale), seed)
    with progress("clean", len(clips), "clips") as tick:
        return clean_table(clips, analyzer, tick)


def _channels(data: Path, analyzer: Analyzer, scale: float, seed: int) -> str:
    clips = _drawn([c for c in read_clips(data / "speech") if c.split == "dev"], round(CLIPS * scale), seed)
    with progress("channels", len(clips), "clips") as tick:
        return channels_table(clips, analyzer, seed, tick)


def _voices(data: Path, seed: int) -> str:
    speech = _shuffled(read_clips(data / "speech"), seed)
    english = _shuffled(read_clips(data / "english"), seed)
    acted = {corpus: [clip for clip in speech if clip.corpus == corpus] for corpus in ("ravdess", "nemo")}
    ordinary = {corpus: [clip for clip in clips if clip.emotion in CALM] for corpus, clips in acted.items()}
    readers = [clip for clip in english if clip.corpus in ("librispeech_test_other", "vctk")]
    rooms = [Room("readers (LibriSpeech test-other, VCTK)", readers, readers)]
    for corpus, clips in acted.items():
        rooms.append(Room(f"{corpus}, neutral and calm", ordinary[corpus], ordinary[corpus]))
        rooms.append(Room(f"{corpus}, sad, enrolled neutral and calm", ordinary[corpus], [c for c in clips if c.sad]))
    with progress("voices", sum(len(by_speaker(room.enrol)) for room in rooms), "people") as tick:
        return enrolment_table(rooms, SpeakerEncoder(locate(NAME, "speaker")), tick)


def _shuffled(clips: list[Clip], seed: int) -> list[Clip]:

    return [clips[at] for at in np.random.default_rng(seed).permutation(len(clips))]


def _drawn(clips: list[Clip], count: int, seed: int) -> list[Clip]:
    """At most so many clips, sad and other ones and every corpus by turns, the same for the same seed."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, int], list[Clip]] = {}
    for at in rng.permutation(len(clips)):
        groups.setdefault((clips[at].corpus, clips[at].sad), []).append(clips[at])
    drawn: list[Clip] = []
    while len(drawn) < count and any(groups.values()):
        drawn += [group.pop() for group in groups.values() if group]
    return drawn[:count]
