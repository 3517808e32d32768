"""A reader for a corpus that `sadstream-train prepare` does not know: here the Berlin Database of Emotional Speech.

sadstream-train prepare examples/corpus_reader.py EMODB --out prepared/emodb
"""

from collections.abc import Iterator
from pathlib import Path

LICENCE = "ask its makers"  # of the data; said by `prepare`
# wav/03a01Ta.wav: speaker 03, sentence a01, Trauer, take a.
EMOTIONS = {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral"}
WOMEN = {"08", "09", "13", "14", "16"}


def read(folder: Path) -> Iterator[dict[str, str]]:
    """One utterance after the other, by the names that the columns of a CSV file have."""
    recordings = sorted((folder / "wav").glob("*.wav"))
    if not recordings:
        raise FileNotFoundError(f"{folder / 'wav'}: no recordings: expected them as they are unpacked")
    for recording in recordings:
        speaker, emotion = recording.stem[:2], recording.stem[5]
        yield {
            "path": f"wav/{recording.name}",  # from the folder on
            "speaker": f"emodb_{speaker}",
            "gender": "F" if speaker in WOMEN else "M",
            "label": EMOTIONS[emotion],  # `sad` and `sadness` count as sad
        }
