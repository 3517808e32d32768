"""Which words a run reads: the transcript, the last seconds, or what Whisper hears."""

from pathlib import Path

import pytest
from tiny_corpus import row, session, text_encoder

from train.features.words import embed, last_words, words_fixed, words_missing, words_of
from train.presets import TextSource


def said(name: str, start_s: float, end_s: float, words: str) -> object:
    return row(name, "neu", start_s=start_s, end_s=end_s, transcript=words)


def test_the_last_words_are_those_of_the_speaker_up_to_the_third_second() -> None:
    """A word a second: at 13 s, three seconds into his second utterance, he said m n o, and before that e to h."""
    rows = [
        said("Ses01F_impro01_M000", 0.0, 8.0, "a b c d e f g h"),
        said("Ses01F_impro01_F000", 8.0, 10.0, "hers too"),
        said("Ses01F_impro01_M001", 10.0, 16.0, "m n o p q r"),
        said("Ses01F_impro02_M000", 10.0, 12.0, "elsewhere entirely"),
    ]

    assert last_words(rows, 3.0)[2] == "m n o"  # type: ignore[arg-type]
    assert last_words(rows, 6.0)[2] == "h m n o"  # type: ignore[arg-type]
    assert last_words(rows, 12.0)[2] == "b c d e f g h m n o"  # type: ignore[arg-type]
    assert last_words(rows, 12.0)[0] == "a b c"  # type: ignore[arg-type]


def test_the_transcript_is_read_whole() -> None:
    rows = [row("Ses01F_impro01_M000", "neu", transcript="all of it")]

    assert words_of(rows, TextSource(), session(Path("unused")).cache, "cpu") == ["all of it"]


def test_an_embedding_is_the_same_from_the_cache_and_in_any_company(tmp_path: Path) -> None:
    source = TextSource(encoder=str(text_encoder(tmp_path / "encoder")))
    texts = ["i miss her", "the bus is gone", "", "i miss her"]
    first = embed(texts, source, session(tmp_path / "a").cache, "cpu")
    alone = embed(texts[1:2], source, session(tmp_path / "b").cache, "cpu")
    again = embed(texts, source, session(tmp_path / "a").cache, "cpu")

    assert first.vectors.shape == (4, 16)
    assert first.encoder.dim == 16
    assert (first.vectors[0] == first.vectors[3]).all()
    assert (first.vectors[1] == alone.vectors[0]).all()
    assert (first.vectors == again.vectors).all()


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Whisper leaves its vocabulary open
def test_whisper_hears_the_first_three_seconds(scene: Path, tmp_path: Path) -> None:
    rows = [row("Ses01F_impro01_M000", "neu", path=str(scene))]
    cache = session(tmp_path).cache
    heard = words_of(rows, TextSource(source="whisper"), cache, "cpu")

    assert len(heard[0].split()) >= 3
    assert words_of(rows, TextSource(source="whisper"), cache, "cpu") == heard


def spoken(words: list[str], split: str = "train") -> list[object]:
    """An utterance for each text, every second one sad."""
    return [
        row(f"Ses01F_impro01_M{i:03d}", ("neu", "sad")[i % 2], transcript=text, split=split)
        for i, text in enumerate(words)
    ]


FREE = [f"words that nobody else said, number {i}" for i in range(60)]
FEW = [f"sentence {i % 12}" for i in range(60)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (FREE, ""),
        ([""] * 60, "words in 0 of 30 sad utterances of train"),
        ([" ... "] * 60, "words in 0 of 30 sad"),
        ([text if i % 2 else "" for i, text in enumerate(FREE)], "words in 0 of 30 other utterances of train"),
        ([*FREE[:20], *[""] * 40], "words in 10 of 30 sad"),
        ([*FREE[:40], *[""] * 20], ""),
    ],
    ids=["all", "none", "dots", "sad ones only", "a third", "two thirds"],
)
def test_a_text_part_needs_words_in_each_class(words: list[str], says: str) -> None:
    rows = [*spoken(words), *spoken(FREE, "validation")]
    found = words_missing(rows, [*words, *FREE])  # type: ignore[arg-type]

    assert found.startswith(says)
    assert bool(found) == bool(says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (FREE, ""),
        (FEW, "12 different sentences in 60 utterances of train"),
        (["The same."] * 60, "1 different sentences"),
        ([*FREE[:30], *["the same."] * 15, *["THE SAME"] * 15], ""),
    ],
    ids=["free speech", "acted sentences", "one sentence", "half of it free"],
)
def test_the_same_few_sentences_teach_nothing(words: list[str], says: str) -> None:
    found = words_fixed(spoken(words), words)  # type: ignore[arg-type]

    assert found.startswith(says)
    assert bool(found) == bool(says)
