"""A small corpus in IEMOCAP's layout, spoken by espeak-ng: sad and other prosody, sad and other words."""

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sadstream.base.errors import DataError, UnavailableError
from sadstream.base.files import save_atomic
from sadstream.base.samples import SAMPLE_RATE

OTHER = ("neu", "neu", "ang", "hap", "exc", "fru", "fru", "xxx", "xxx")
VALENCE = {"sad": 1.7, "neu": 3.0, "hap": 4.2, "exc": 4.2, "ang": 1.8, "fru": 2.1}
AROUSAL = {"sad": 2.2, "ang": 3.8, "exc": 3.9}
PER_DIALOGUE = 10
SAD_TURNS = (2, 7)  # one by each speaker: twice IEMOCAP's share, so that a few hundred hold some in every session
PAUSE_S = 0.5
SAD_WORDS = (
    "I miss her so much", "she is gone and nothing helps", "I just sit there and cry", "we buried him on Sunday",
    "it hurts and I am so tired", "nobody came to say goodbye", "I lost him and I feel empty",
    "I don't know how to go on without you",
)  # fmt: skip
OTHER_WORDS = (
    "did you bring the papers", "the bus leaves at nine", "what a fantastic idea", "you never listen to me",
    "put it on the table please", "I won, can you believe it", "we should paint the kitchen",
    "give me the form and sign here", "that is the third time this week",
)  # fmt: skip
ENDINGS = ("", " you know", " I guess", " right now", " and that is all I have to say about it", " really")


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """One utterance to be spoken."""

    name: str
    dialogue: str
    session: int
    gender: str
    label: str
    words: str
    speed_wpm: int
    pitch: int  # espeak-ng's 0..99
    amplitude: int  # espeak-ng's 0..200


Speak: TypeAlias = "Callable[[ScriptLine], NDArray[np.float32]]"


def script(utterances: int, seed: int) -> list[ScriptLine]:
    """The lines of a corpus of about this many utterances in five sessions, dialogues of ten, two speakers each."""
    rng = np.random.default_rng(seed)
    lines: list[ScriptLine] = []
    for session in range(1, 6):
        wanted = utterances * session // 5 - utterances * (session - 1) // 5
        for first in range(0, wanted, PER_DIALOGUE):
            number = first // PER_DIALOGUE + 1
            scene = f"impro{number:02d}" if number % 2 else f"script{number:02d}_1"
            dialogue = f"Ses0{session}{'FM'[number // 2 % 2]}_{scene}"
            size = min(PER_DIALOGUE, wanted - first)
            lines += (_line(session, dialogue, turn, rng) for turn in range(size))
    return lines


def _line(session: int, dialogue: str, turn: int, rng: np.random.Generator) -> ScriptLine:
    gender = "FM"[turn % 2]
    sad = turn in SAD_TURNS
    told = sad if rng.random() < 0.8 else not sad  # words and voice each agree with the label four times in five
    sounds = sad if rng.random() < 0.8 else not sad
    words = str(rng.choice(SAD_WORDS if told else OTHER_WORDS)) + str(rng.choice(ENDINGS))
    base = 55 if gender == "F" else 25
    return ScriptLine(
        name=f"{dialogue}_{gender}{turn // 2:03d}",
        dialogue=dialogue,
        session=session,
        gender=gender,
        label="sad" if sad else str(rng.choice(OTHER)),
        words=words[0].upper() + words[1:] + ".",
        speed_wpm=int(rng.normal(110 if sounds else 175, 15)),
        pitch=int(_within(rng.normal(base - (15 if sounds else -10), 6), 0, 99)),
        amplitude=int(_within(rng.normal(55 if sounds else 110, 20), 20, 200)),
    )


def _within(value: float, low: float, high: float) -> float:
    """`value` within low..high."""
    return max(low, min(high, value))


def espeak(line: ScriptLine) -> NDArray[np.float32]:
    """(n,) float32 at 16 kHz as espeak-ng says it; the session picks the voice's variant."""
    voice = f"en-us+{line.gender.lower()}{line.session if line.gender == 'F' else line.session + 1}"
    command = ["espeak-ng", "-v", voice, "-s", str(line.speed_wpm), "-p", str(line.pitch), "-a", str(line.amplitude)]
    spoken = subprocess.run([*command, "--stdout", line.words], capture_output=True, check=False)
    try:
        samples, rate = soundfile.read(io.BytesIO(spoken.stdout), dtype="float32")
    except soundfile.LibsndfileError:
        raise UnavailableError(f"espeak-ng: no sound: {spoken.stderr.decode(errors='replace').strip()[:200]}") from None
    heard: NDArray[np.float32] = soxr.resample(samples, rate, SAMPLE_RATE)
    return heard


def require_espeak() -> None:
    """UnavailableError with the line that installs it."""
    if shutil.which("espeak-ng") is None:
        raise UnavailableError("espeak-ng: not installed; get it with: sudo apt-get install espeak-ng")


def write_corpus(folder: Path, lines: Sequence[ScriptLine], voice: Speak, workers: int = 2) -> Path:
    """The corpus in IEMOCAP's layout, oddities of real copies included; returns the release's folder."""
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: not empty: expected a new folder")
    release = folder / "IEMOCAP_full_release"
    dialogues: dict[str, list[ScriptLine]] = {}
    for line in lines:
        dialogues.setdefault(line.dialogue, []).append(line)
    with ThreadPoolExecutor(workers) as pool:
        for dialogue, part in dialogues.items():
            _write_dialogue(release / f"Session{part[0].session}", dialogue, part, list(pool.map(voice, part)))
    return release


def _write_dialogue(
    session: Path, dialogue: str, lines: Sequence[ScriptLine], sounds: Sequence[NDArray[np.float32]]
) -> None:

    labels, words, start_s = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"], [], PAUSE_S
    for line, samples in zip(lines, sounds, strict=True):
        end_s = start_s + samples.size / SAMPLE_RATE
        rated = ", ".join(f"{rating:.4f}" for rating in _rated(line))
        labels.append(f"[{start_s:.4f} - {end_s:.4f}]\t{line.name}\t{line.label}\t[{rated}]")
        labels.append("C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 3; dom  3;\t()\n")
        words.append(f"{line.name} [{start_s:08.4f}-{end_s:08.4f}]: {line.words}")
        file = io.BytesIO()
        soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        save_atomic(session / "sentences" / "wav" / dialogue / f"{line.name}.wav", file.getvalue())
        start_s = end_s + PAUSE_S
    words.append("M: [LAUGHTER]")
    for name, content in _texts(dialogue, labels, words):
        save_atomic(session / "dialog" / name, content.encode())


def _rated(line: ScriptLine) -> tuple[float, float, float]:
    """Valence, activation, dominance, 1 to 5: of the label, and activation and dominance also of speed and loudness."""
    lively = (line.speed_wpm - 145) / 70 + (line.amplitude - 80) / 80
    arousal = _within(AROUSAL.get(line.label, 3.0) + 0.5 * lively, 1.0, 5.0)
    return VALENCE.get(line.label, 2.5), arousal, _within(3.0 + 0.4 * lively, 1.0, 5.0)


def _texts(dialogue: str, labels: Sequence[str], words: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield f"EmoEvaluation/{dialogue}.txt", "\n".join(labels) + "\n"
    yield f"EmoEvaluation/._{dialogue}.txt", "\0\5\26\7 Mac OS X \n"
    yield f"EmoEvaluation/Categorical/{dialogue}_e1_cat.txt", "one rater's opinion\n"
    yield f"transcriptions/{dialogue}.txt", "\n".join(words) + "\n"
    yield f"transcriptions/._{dialogue}.txt", "\0\5\26\7 Mac OS X \n"
