"""Where recordings become scores: one worker, its models loaded once; a process of its own, or inside an actor.

Run as `python -m sadstream.cluster.archive.worker`: settings and then orders on standard input, messages on standard
output, a line each. The models load when the first recording turns out to be one.
"""

import errno
import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sadstream.audio.decoding.child import follow_parent
from sadstream.audio.health import SignalRecord
from sadstream.audio.sources.recording import Recording
from sadstream.base.boundary import from_system
from sadstream.base.errors import DataError, SadstreamError, UnavailableError, out_of_memory
from sadstream.base.samples import Channel
from sadstream.cluster.archive.identity import HearingIdentity, identity_of
from sadstream.cluster.archive.messages import (
    LinesScored,
    ModelsLoaded,
    RecordingOpened,
    RecordingRefused,
    RecordingScored,
    RecordingUnseen,
    ScoreOrder,
    WorkerMessage,
    WorkerReady,
    WorkerUnable,
    order_from_line,
    seen,
    to_line,
)
from sadstream.cluster.archive.plan import failure, sha256_of
from sadstream.cluster.archive.score_file import stable
from sadstream.config import Config, parse
from sadstream.scoring.analysis import BatchAnalyzer
from sadstream.scoring.mood.episodes import EpisodeUpdate
from sadstream.scoring.mood.mood import MoodPlan
from sadstream.scoring.mood.plan import read_plan
from sadstream.scoring.recording import event_line, notes_of, score_recording, unreadable

ENDED_WITHOUT_MEMORY = errno.ENOMEM  # exit code between a worker and whoever started it


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker hears with, and what that must come to on its machine."""

    config: Config
    channel: Channel
    identity: HearingIdentity

    def to_line(self) -> str:
        """All of it as one line."""
        config = self.config.model_dump(mode="json", exclude_none=True)
        return json.dumps({"config": config, "channel": self.channel, "identity": asdict(self.identity)})

    @classmethod
    def from_line(cls, line: str) -> "WorkerSettings":
        """The settings in a line."""
        body = json.loads(line)
        return cls(parse(body["config"], "archive"), body["channel"], HearingIdentity(**body["identity"]))


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModels:
    """What a worker scores with."""

    analyzer: BatchAnalyzer
    plan: MoodPlan


LoadModels = Callable[[WorkerSettings], LoadedModels]


def load(settings: WorkerSettings) -> LoadedModels:
    """The models of these settings; UnavailableError where they are other ones on this machine."""
    from sadstream.scoring.analyzer.analyzer import Analyzer
    from sadstream.scoring.analyzer.models import load_models

    plan = read_plan(settings.config)
    found = identity_of(settings.config, plan, settings.identity.device, settings.channel)
    if found != settings.identity:
        other = ", ".join(settings.identity.differences(found))
        raise UnavailableError(f"other {other} than where the command was typed; make both machines alike")
    return LoadedModels(Analyzer(load_models(settings.config)), plan)


class ArchiveWorker:
    """Orders in, messages out; whatever is wrong with a recording costs that one alone."""

    def __init__(self, settings: WorkerSettings, load_models: LoadModels = load) -> None:
        self._settings = settings
        self._load = load_models
        self._loaded: LoadedModels | None = None

    def score(self, order: ScoreOrder) -> Iterator[WorkerMessage]:
        """What comes of one recording, the last message of messages.LAST; raises what is out of memory alone."""
        path = Path(order.path)
        try:
            yield from self._scored(path, order)
        except SadstreamError as error:
            yield _refused(error, path)
        except Exception as error:
            if out_of_memory(error):
                raise
            known = from_system(error, path)
            yield _refused(unreadable(path, error), path) if known else _bug(error)

    def _scored(self, path: Path, order: ScoreOrder) -> Iterator[WorkerMessage]:
        try:
            found = seen(path)
        except OSError as error:
            yield RecordingUnseen(socket.gethostname(), error.strerror or "cannot be read")
            return
        if found != order.sight:
            what = f"{found.bytes} bytes that begin otherwise, expected {order.sight.bytes}"
            yield RecordingUnseen(socket.gethostname(), what)
            return
        digest = sha256_of(path)
        recording = Recording(path, self._settings.channel)
        yield RecordingOpened(recording.duration_s)
        if self._loaded is None:
            try:
                with KeptWarnings() as said:
                    self._loaded = self._load(self._settings)
            except SadstreamError as error:  # no recording's fault
                yield WorkerUnable(error.exit_code, f"{socket.gethostname()}: {error}")
                return
            yield ModelsLoaded(tuple(said.lines))
        yield from self._heard(self._loaded, recording, order, digest)

    def _heard(
        self, loaded: LoadedModels, recording: Recording, order: ScoreOrder, digest: str
    ) -> Iterator[WorkerMessage]:
        signal, trouble, scores = SignalRecord(), "", 0
        known = recording.remark
        config = self._settings.config
        try:
            for item in score_recording(recording, config, loaded.analyzer, plan=loaded.plan, signal=signal):
                if isinstance(item, EpisodeUpdate):
                    continue
                scores += 1
                yield LinesScored(item.score.t_end, (event_line(order.file, stable(item.score, digest)),))
        except DataError as error:  # what came before it is scored, and stays so as long as the recording is this one
            if not scores:
                raise
            trouble = str(error).removeprefix(f"{recording.path}: ")
        remarks = [one.removeprefix(f"{recording.path}: ") for one in {known: None, recording.remark: None} if one]
        nothing = [] if scores or trouble else ["no speech found"]
        notes = (*remarks, *notes_of(recording, signal), *nothing)
        yield RecordingScored(digest, order.sight.bytes, recording.duration_s or 0.0, notes, trouble)


class KeptWarnings(logging.Handler):
    """What the log says in a block, kept: whoever gives the orders says it once for all workers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._log = logging.getLogger("sadstream")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.lines.append(record.getMessage())

    def __enter__(self) -> "KeptWarnings":
        self._log.addHandler(self)
        self._log.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
        self._log.propagate = True


def _refused(error: SadstreamError, path: Path) -> RecordingRefused:
    failed = failure("", error, path)
    return RecordingRefused(failed.code, failed.line)


def _bug(error: Exception) -> RecordingRefused:
    """Where it was raised, never with its message: words may stand in that."""
    *_, last = traceback.extract_tb(error.__traceback__)
    where = f"{Path(last.filename).name}:{last.lineno}"
    return RecordingRefused(1, f"{type(error).__name__} at {where}: a bug; please report it")


def work(lines: Iterable[str], say: Callable[[str], None], load_models: LoadModels = load) -> None:
    """Answer orders until there are no more; the first line holds the settings."""
    orders = iter(lines)
    settings = next(orders, None)
    if settings is None:  # whoever started it is gone
        return
    worker = ArchiveWorker(WorkerSettings.from_line(settings), load_models)
    say(to_line(WorkerReady(socket.gethostname())))
    for order in orders:
        for message in worker.score(order_from_line(order)):
            say(to_line(message))


def main(load_models: LoadModels = load) -> None:
    """The worker as a process of whoever reads its standard output, with which it ends."""
    follow_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no message

    def say(line: str) -> None:
        print(line, file=answers, flush=True)

    try:
        work(sys.stdin, say, load_models)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        os._exit(ENDED_WITHOUT_MEMORY)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
