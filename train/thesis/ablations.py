"""The thesis's open questions: variants of a system, each with one thing changed."""

from dataclasses import dataclass
from typing import Any

from train.presets import RunConfig


@dataclass(frozen=True, slots=True)
class Variant:
    """A name, the question that it answers, and what it changes in a run: {part: {key: value}}."""

    name: str
    question: str
    changes: dict[str, dict[str, Any]]
    base: str = "attention"


VARIANTS = (
    Variant("hop 10 ms", "the hop that the text names, (301, 128)", {"features": {"hop": 160}}),
    Variant("window 2048", "a window that sees every sample", {"features": {"n_fft": 2048, "window": 2048}}),
    Variant("cross-modal attention", "words say where to listen", {"spec": {"pooling": "cross-attention"}}),
    Variant("masked attention", "attention leaves out the padding", {"spec": {"masked": True}}),
    Variant("Whisper's words", "what Whisper hears in 3 s instead of the transcript", {"text": {"source": "whisper"}}),
    Variant("3-second pieces", "every 3 s trained on, mean of their logits", {"audio": {"view": "pieces"}}),
    Variant(
        "whole utterance",
        "up to 12 s, attention without padding",
        {"audio": {"view": "whole"}, "spec": {"masked": True}},
    ),
    *(
        Variant(
            f"words of the last {n:.0f} s", f"the speaker's words of {n:.0f} s up to the end", {"text": {"window_s": n}}
        )
        for n in (3.0, 6.0, 12.0)
    ),
    Variant("no modality missing", "neither is dropped in training", {"spec": {"modality_dropout": 0.0}}, "gated"),
    Variant("gate without attention", "frames averaged before the gate", {"spec": {"pooling": "mean"}}, "gated"),
    Variant("one segment", "the first 3 s alone, as the daemon hears", {"spec": {"segments": 1}}, "hierarchical"),
    Variant("two segments", "the first 6 s", {"spec": {"segments": 2}}, "hierarchical"),
    Variant("sum of both", "attention alone, each word's embedding unread", {"spec": {"joint": "sum"}}, "cross-modal"),
    Variant("nobody asked", "masked attention that knows no speaker", {"spec": {"pooling": "attention"}}, "speaker"),
)


def varied(config: RunConfig, variant: Variant) -> RunConfig:
    """The same run with one thing changed."""
    table = config.model_dump()
    table["variant"] = variant.name
    for part, changes in variant.changes.items():
        table[part] |= changes
    return RunConfig.model_validate(table)
