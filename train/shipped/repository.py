"""A checkpoint as a repository of the Hugging Face hub: its file, its card, and a README that says what both say."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sadstream.base.errors import UsageError
from sadstream.base.files import contents, make_folder, save_atomic
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.card import Card, card_path, read_card
from sadstream.scoring.fusion.header import Header, Metric, WhisperStatesConfig
from sadstream.scoring.fusion.releases import PUBLISHED
from sadstream.scoring.weights.catalogue import spec
from train.metrics.markdown import markdown

README = "README.md"
MARK = b"sadstream-checkpoint"  # stands in the README's head: what `card` wrote it may write over
SPDX = {
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
    "CC BY 4.0": "cc-by-4.0",
    "CC BY-SA 4.0": "cc-by-sa-4.0",
    "CC BY-NC 4.0": "cc-by-nc-4.0",
    "CC0 1.0": "cc0-1.0",
    "ODbL 1.0": "odbl",
    "GPL-3.0": "gpl-3.0",
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
}
CORPORA = ("iemocap", "ravdess", "nemo", "crema-d", "meld", "goemotions")  # as their makers write them, in lower case
POLISH = "nemo"
ACTED = ("iemocap", "ravdess", "nemo", "crema-d")
KINDS = (
    ("auc", "roc_auc"),
    ("average precision", "average_precision"),
    ("true positive rate", "recall"),
    ("ece", "expected_calibration_error"),
    ("brier", "brier_score"),
    ("f1", "f1"),
    ("accuracy", "accuracy"),
    ("recall", "recall"),
    ("precision", "precision"),
)


@dataclass(frozen=True, slots=True)
class Described:
    """All that a card of a checkpoint is written from."""

    name: str
    model: str  # first 12 hex digits of the file's SHA-256
    header: Header
    card: Card | None


def publish(path: Path, folder: Path) -> tuple[Path, ...]:
    """Write the repository of a checkpoint: README.md, the file, and its card where there is one; the files written.

    UnavailableError for a checkpoint that is not sound, or where nothing can be written.
    """
    loaded = checkpoint.load(path)
    model = loaded.sha256[:12]
    card = read_card(path, model)
    make_folder("--out", folder)
    target = folder / PUBLISHED
    files = {target: contents(path, checkpoint.MAX_BYTES)[0]}
    if card is not None:
        files[card_path(target)] = card.model_dump_json(indent=1).encode()
    files[folder / README] = readme(Described(folder.resolve().name, model, loaded.header, card)).encode()
    for place, content in files.items():
        save_atomic(place, content)
    if card is None:
        card_path(target).unlink(missing_ok=True)  # an earlier checkpoint's
    return tuple(sorted(files))


def readme(described: Described) -> str:
    """The README: YAML between two rules, then the same for people."""
    head = "".join(f"{line}\n" for line in _yaml(_metadata(described)))
    return f"---\n{head}---\n\n{_text(described)}"


def _metadata(described: Described) -> dict[str, object]:
    header = described.header
    corpora = _corpora(header)
    licence = SPDX.get(header.licence)
    said: dict[str, object] = {"license": licence or "other"}
    if licence is None:
        said |= {"license_name": re.sub(r"[^a-z0-9.]+", "-", header.licence.lower()).strip("-")[:80] or "not-stated"}
    if corpora:  # of recordings of one's own nobody said which language they are in
        said |= {"language": ["en", "pl"] if POLISH in corpora else ["en"]}
    said |= {
        "library_name": "sadstream",
        "pipeline_tag": "audio-classification",
        "tags": ["sadstream", MARK.decode(), "speech-emotion-recognition", "sadness"],
        "datasets": list(corpora) or [_slug(source) for source in header.trained_on],
    }
    if header.metrics:
        said["model-index"] = [{"name": described.name, "results": _results(header)}]
    return said


def _results(header: Header) -> list[dict[str, object]]:
    grouped: dict[str, list[dict[str, object]]] = {}
    for metric in header.metrics:
        grouped.setdefault(_dataset(metric, header), []).append(
            {
                "type": next((kind for word, kind in KINDS if word in metric.name.lower()), _slug(metric.name)),
                "name": f"{metric.name} ({metric.protocol}; n = {metric.n:,}; "
                f"{_between(metric)} {metric.low:.3f} to {metric.high:.3f})",
                "value": round(metric.value, 4),
            }
        )
    return [
        {
            "task": {"type": "audio-classification", "name": "Sadness in speech"},
            "dataset": {"type": _slug(name), "name": name},
            "metrics": metrics,
        }
        for name, metrics in grouped.items()
    ]


def _between(metric: Metric) -> str:
    return "quartiles" if "quartiles" in metric.name else "95 % interval"


def _dataset(metric: Metric, header: Header) -> str:
    """What a figure was measured on, as far as its name says so."""
    named = [corpus for corpus in CORPORA if corpus.replace("-", "") in metric.name.lower().replace("-", "")]
    return named[0] if len(named) == 1 else " and ".join(_corpora(header)) or header.trained_on[0].partition(":")[0]


def _corpora(header: Header) -> tuple[str, ...]:
    said = " ".join(header.trained_on).lower().replace("cremad", "crema-d")
    return tuple(corpus for corpus in CORPORA if re.search(rf"\b{corpus}\b", said))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.split(r"[:(,]", text.lower())[0]).strip("-") or "unnamed"


def _text(described: Described) -> str:
    header, name = described.header, described.name
    allowed = {True: "allowed", False: "**not allowed**", None: "nobody said; ask whoever made it"}
    rows = [
        ("system", header.system + (" (provisional)" if header.provisional else "")),
        ("checkpoint", f"`{described.model}`, made with {header.created_with}"),
        ("licence", header.licence),
        ("commercial use", allowed[header.commercial_use]),
        ("prior", f"{header.prior:.3g} of segments sad (`[model] prior` moves it)"),
        ("threshold", f"sad from p = {header.threshold:.3f} on (`[model] threshold`)"),
        ("needs", ", ".join(_needs(header)) or "no other model"),
        ("episodes and mood", "yes" if described.card else "no: nothing was measured over time (no card beside it)"),
    ]
    fetched = [name for name in _needs(header) if _is_known(name)]
    commands = [f"sadstream models fetch {what}" for what in (f"--from {name}", " ".join(fetched)) if what]
    parts = [
        f"# {name}\n\nHow much a segment of at most three seconds of speech sounds, and reads, like sadness: "
        "a checkpoint for the daemon sadstream.",
        markdown(("", ""), rows),
        "## How to use it\n\n```console\n" + "\n".join(commands) + "\n```\n\n"
        "The first verifies the file, puts it among the models and prints the line `[model] checkpoint = ...` for the "
        "configuration.",
        "## Trained on\n\n" + "\n".join(f"- {source}" for source in header.trained_on),
        "## Figures\n\n" + (_figures(header) if header.metrics else "None were measured."),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in _limits(header)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _needs(header: Header) -> tuple[str, ...]:
    """The pretrained models that it reads."""
    names = [header.audio.model] if isinstance(header.audio, WhisperStatesConfig) else []
    names += [one.name for one in (header.text, header.speaker) if one is not None]
    return tuple(dict.fromkeys(names))


def _is_known(name: str) -> bool:
    """It can be fetched by its name; a model of one's own is with whoever has it."""
    try:
        return bool(spec(name))
    except UsageError:
        return False


def _figures(header: Header) -> str:
    rows = [
        (metric.name, f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]", f"{metric.n:,}", metric.protocol)
        for metric in header.metrics
    ]
    return markdown(("figure", "value [95 % interval; quartiles where it says so]", "n", "protocol"), rows)


def _limits(header: Header) -> Iterator[str]:
    acted = [corpus for corpus in _corpora(header) if corpus in ACTED]
    if acted:
        yield (
            f"The speech that it was trained on is acted ({', '.join(acted)}): figures on it are of acted sadness, "
            "and no promise for what is felt in a room."
        )
    yield (
        "It hears acoustic habit and words, not feelings: not for diagnosis, hiring, policing, grading or any decision "
        "about a person; people who are heard must be told."
    )
    if header.text is None:
        yield "It reads no words."
    if header.provisional:
        yield "It is provisional: a better one is to take its place."


def _yaml(said: dict[str, object], indent: str = "") -> Iterator[str]:
    """Block lines; text as JSON writes it, which YAML reads alike."""
    for key, value in said.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _yaml(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{key}:"
            yield from _items(value, indent)
        else:
            yield f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}"


def _items(values: Sequence[object], indent: str) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            first, *rest = _yaml(value, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {json.dumps(value, ensure_ascii=False)}"
