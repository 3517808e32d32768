"""The thesis's six systems and the seventh on open recordings: one split by speaker, figures for the model card."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sadstream.base.errors import DataError
from train.corpora.clips import CALM, Clip, read_clips
from train.corpora.manifest import NAME, CorpusManifest, Utterance, write
from train.corpora.reading import length_s
from train.metrics.detection import auc, over_groups
from train.metrics.markdown import markdown
from train.metrics.predictions import read as read_predictions
from train.presets import Preset, run_config
from train.training.cluster import ClusterChoice, finish_all
from train.training.launch import PlannedRun, ProcessShare
from train.training.run import Run
from train.training.session import Session

CORPUS = "open"
MEASURED = ("ravdess", "nemo")  # by the beginning of their speakers' names
VALIDATED = 5  # every fifth train speaker of a corpus, from its last on, validates


def climb(
    data: Path,
    out: Path,
    preset: Preset,
    session: Session,
    say: Callable[[str], None],
    share: ProcessShare | None = None,
    cluster: ClusterChoice | None = None,
) -> str:
    """Fit every system of a preset on train speakers and test it once on the dev speakers; returns the table.

    share: of several processes; the table is that of the one that sums up, of another it is empty.

    Validation speakers choose epoch, calibration and threshold. Sentences are fixed in both corpora, so a system
    that reads words can learn nothing from them here.
    """
    manifest = write(out / NAME, _rows(data / "speech", read_clips(data / "speech")))
    share = share or ProcessShare.of_environment()
    configs = [run_config(preset, system, str((out / NAME).resolve())) for system in preset.systems]
    planned = [PlannedRun(out / config.name, config) for config in configs]
    if not finish_all(planned, manifest, session, share, cluster, say):
        return ""
    lines = [[one.config.title, *_figures(Run(one.folder), manifest)] for one in planned]
    head = ("system", *(f"{corpus}: AUC {what}" for corpus in MEASURED for what in ("calm", "all")))
    return markdown(head, lines)


def _rows(folder: Path, clips: Sequence[Clip]) -> list[Utterance]:
    """The clips as utterances; the corpus's dev speakers test."""
    validation = _validation(clips)
    rows = []
    for clip in clips:
        split = "test" if clip.split == "dev" else "validation" if clip.speaker in validation else "train"
        name = str(clip.path.relative_to(folder).with_suffix(""))
        rows.append(
            Utterance(
                utterance=name,
                corpus=CORPUS,
                session=0,
                speaker=clip.speaker,
                gender=clip.gender[:1].upper(),
                dialogue="",
                path=str(clip.path.resolve()),
                start_s=0.0,
                end_s=length_s(clip.path),
                label=clip.emotion,
                sad=clip.sad,
                transcript=clip.transcript,
                split=split,
            )
        )
    return rows


def _validation(clips: Sequence[Clip]) -> frozenset[str]:
    """The speakers that choose: every fifth of each corpus's train speakers, at least one."""
    chosen: set[str] = set()
    for corpus in {clip.corpus for clip in clips}:
        names = sorted({clip.speaker for clip in clips if clip.corpus == corpus and clip.split != "dev"})
        if len(names) < 2:
            raise DataError(f"{corpus}: {len(names)} train speakers: expected at least two, one of them to validate")
        chosen.update(names[::-1][::VALIDATED])
    return frozenset(chosen)


def _figures(run: Run, manifest: CorpusManifest) -> list[str]:
    """AUC of each corpus, calm and all, with intervals over its test speakers."""
    rows = {row.utterance: row for row in manifest.rows}
    found = read_predictions(run.predictions_path("strict"), "test", run.rows(manifest))
    figures = []
    for corpus in MEASURED:
        here = [i for i, name in enumerate(found.names) if rows[name].speaker.startswith(corpus)]
        calm = [i for i in here if found.labels[i] or rows[found.names[i]].label in CALM]
        for part in (calm, here):
            speakers = [found.speakers[i] for i in part]
            figures.append(str(over_groups(auc, found.labels[part], found.logits[part], speakers)))
    return figures
