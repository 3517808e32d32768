"""From a scored recording to its page on disk."""

from collections.abc import Sequence
from pathlib import Path

from sadstream.audio.decoding.decoder import to_flac
from sadstream.audio.sources.recording import Recording
from sadstream.base.boundary import one_line
from sadstream.base.errors import UnavailableError, UsageError
from sadstream.base.files import write_atomic
from sadstream.scoring.analyzer.models import Models
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.mood.mood import MoodPlan
from sadstream.scoring.recording import RecordedSegment
from sadstream.views.report.data import ReportData, last_updates, report_segment

MARK = b'<meta name="generator" content="sadstream '  # in the pages that are made here
LONGEST_S = 3600  # a page of an hour has some 12 MB, and browsers draw it; longer ones help nobody


def require_pictures(recording: Recording, path: Path) -> None:
    """Fail early, before models load: no page can come of it."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise UnavailableError("--report: needs Pillow; in the checkout: pip install '.[plot]'") from None
    check_length(recording, path)


def check_length(recording: Recording, path: Path) -> None:
    """UsageError for a recording that is too long for a page, as far as its length is known."""
    if recording.duration_s is not None and recording.duration_s > LONGEST_S:
        raise UsageError(
            f"--report {path}: {recording.path.name} is {recording.duration_s / 60:.0f} minutes long: expected at most "
            f"{LONGEST_S // 60}; cut it first"
        )


def report_data(
    recording: Recording,
    found: Sequence[RecordedSegment],
    updates: Sequence[EpisodeUpdate],
    models: Models,
    plan: MoodPlan,
    words: bool,
    notes: Sequence[str] = (),
) -> ReportData:
    """What the page will tell; words: also of what was said; notes: of its sound."""
    return ReportData(
        name=one_line(recording.path.name),
        duration_s=recording.duration_s or 0.0,
        segments=tuple(report_segment(scored, models.header.attention_step_s, words) for scored in found),
        episodes=last_updates(updates),
        false_alarms_h=plan.false_alarms_h,
        model=models.model_id,
        system=models.header.system,
        licence=models.header.licence,
        with_words=words,
        notes=tuple(one_line(note) for note in notes if note),
    )


def write_report(recording: Recording, report: ReportData, path: Path, embed_audio: bool) -> None:
    """The page whole or not at all; one with words or sound for its owner alone."""
    from sadstream.views.report.document import page
    from sadstream.views.report.spectrogram import sound_rows

    check_length(recording, path)
    pcm = b"".join(frame.pcm for frame in recording.frames())
    document = page(report, sound_rows(pcm), to_flac(pcm) if embed_audio else None)
    try:
        write_atomic(path, document.encode(), mode=0o600 if report.with_words or embed_audio else 0o666)
    except OSError as error:
        raise UnavailableError(f"--report {path}: cannot be written: {error.strerror}; choose another file") from None
