"""What a worker says of a recording, of its machine and of its models; with fakes in their place."""

from dataclasses import replace
from pathlib import Path

import pytest
from analysing import Each, analysis
from archiving import cuts

from sadstream.audio.segmenter import Segment
from sadstream.base.errors import UnavailableError
from sadstream.cluster.archive import worker as workers
from sadstream.cluster.archive.actors import PIECE_BYTES, ArchiveActor
from sadstream.cluster.archive.identity import HearingIdentity, heard_config, identity_of
from sadstream.cluster.archive.messages import (
    LinesScored,
    ModelsLoaded,
    RecordingOpened,
    RecordingRefused,
    RecordingScored,
    RecordingUnseen,
    ScoreOrder,
    WorkerMessage,
    WorkerUnable,
    from_line,
    order_from_line,
    seen,
    to_line,
)
from sadstream.cluster.archive.worker import ArchiveWorker, LoadedModels, WorkerSettings
from sadstream.cluster.nodes import INLINE_BYTES
from sadstream.config import Config, parse
from sadstream.scoring.analysis import Analysis
from sadstream.scoring.mood.mood import NO_PLAN
from sadstream.scoring.mood.plan import read_plan

HERE = HearingIdentity("1", "c", "m", "w", "p", "s", "cpu", "mix")
SETTINGS = WorkerSettings(Config(), "mix", HERE)


def fakes(_: WorkerSettings) -> LoadedModels:
    return LoadedModels(Each(analysis), NO_PLAN)


def said(order: ScoreOrder, load: workers.LoadModels = fakes) -> list[WorkerMessage]:
    return list(ArchiveWorker(SETTINGS, load).score(order))


@pytest.fixture
def order(tmp_path: Path) -> ScoreOrder:
    (path,) = cuts(tmp_path, (0, 14))
    return ScoreOrder(str(path), "talk.wav", seen(path))


def test_a_recording_is_opened_before_models_load_and_comes_in_lines(order: ScoreOrder) -> None:
    opened, loaded, *lines, last = said(order)

    assert opened == RecordingOpened(14.0)
    assert loaded == ModelsLoaded(())
    assert len(lines) >= 3
    assert all(isinstance(one, LinesScored) for one in lines)
    assert isinstance(last, RecordingScored)


def test_models_are_not_loaded_for_what_is_no_recording(order: ScoreOrder) -> None:
    Path(order.path).write_bytes(b"a letter")
    (refused,) = said(replace(order, sight=seen(Path(order.path))))

    assert isinstance(refused, RecordingRefused)
    assert refused.code == 65
    assert refused.line.startswith("not a recording (8 bytes)")


def test_a_machine_says_that_it_does_not_see_a_recording_or_sees_another(order: ScoreOrder) -> None:
    Path(order.path).write_bytes(b"another")
    (other,) = said(order)
    Path(order.path).unlink()
    (gone,) = said(order)

    assert isinstance(other, RecordingUnseen)
    assert other.line.startswith("7 bytes that begin otherwise")
    assert isinstance(gone, RecordingUnseen)
    assert gone.line == "No such file or directory"


def test_models_that_are_not_there_are_no_recordings_fault(order: ScoreOrder) -> None:
    def load(_: WorkerSettings) -> LoadedModels:
        raise UnavailableError("no model; fetch it")

    assert isinstance(last := said(order, load)[-1], WorkerUnable)
    assert (last.code, last.line.split(": ")[1]) == (69, "no model; fetch it")


def test_a_bug_is_told_by_its_place_and_never_by_what_it_says(order: ScoreOrder) -> None:
    def analyze(segment: Segment) -> Analysis:
        raise ValueError("what somebody said")

    (*_, last) = said(order, lambda _: LoadedModels(Each(analyze), NO_PLAN))

    assert isinstance(last, RecordingRefused)
    assert last.code == 1
    assert last.line.startswith("ValueError at test_archive_worker.py:")
    assert "somebody" not in last.line


def test_what_is_out_of_memory_ends_the_worker(order: ScoreOrder) -> None:
    def analyze(segment: Segment) -> Analysis:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError):
        said(order, lambda _: LoadedModels(Each(analyze), NO_PLAN))


def test_messages_survive_the_way(order: ScoreOrder) -> None:
    strange = replace(order, path="/a\udcff\n.wav")

    assert order_from_line(to_line(strange)) == strange
    assert [from_line(to_line(message)) for message in said(order)] == said(order)
    with pytest.raises(ValueError, match="not a worker's message"):
        from_line("MPG123 warning")


def test_settings_survive_the_way() -> None:
    config = heard_config(parse({"voice": {"only": ["anna"]}, "publish": {"text": True}}, "test"), "cpu")

    assert WorkerSettings.from_line(replace(SETTINGS, config=config).to_line()).config == config


def test_an_actor_answers_in_pieces_that_ray_keeps_in_its_messages(order: ScoreOrder) -> None:
    """A longer answer would go into the object store, and its words from there to the disk."""
    actor = ArchiveActor(SETTINGS.to_line())
    actor._worker = ArchiveWorker(
        SETTINGS, lambda _: LoadedModels(Each(lambda one: analysis(one, "w" * 9000)), NO_PLAN)
    )
    actor._worker._settings = replace(SETTINGS, config=parse({"publish": {"text": True}}, "test"))
    pieces = [actor.begin(to_line(order))]
    while not isinstance(from_line(pieces[-1][-1]), RecordingScored):
        pieces.append(actor.more())

    assert sum(len(line) for piece in pieces for line in piece) > 30_000
    assert all(sum(map(len, piece[:-1])) <= PIECE_BYTES for piece in pieces)
    assert all(sum(map(len, piece)) < INLINE_BYTES for piece in pieces)
    assert actor.more() == []


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
@pytest.mark.parametrize(
    ("table", "differs"),
    [
        ({}, ()),
        ({"compute": {"threads": 2}}, ()),
        ({"publish": {"endpoint": "tcp://127.0.0.1:7000"}, "journal": {"path": "/x"}}, ()),
        ({"publish": {"text": True}}, ("settings",)),
        ({"publish": {"emotions": False}}, ("settings",)),
        ({"segment": {"hold_ms": 330}}, ("settings",)),
        ({"model": {"threshold": 0.5}}, ("settings",)),
        ({"text": {"encoder": "off"}}, ("models", "settings")),
        ({"whisper": {"model": "base"}}, ("models",)),
        ({"model": {"checkpoint": "open"}}, ("checkpoint", "card and voice")),
    ],
    ids=str,
)
def test_what_changes_scores_changes_who_hears_and_nothing_else_does(
    table: dict[str, dict[str, object]], differs: tuple[str, ...]
) -> None:
    both = [heard_config(parse(one, "test"), "cpu") for one in ({}, table)]
    first, second = (identity_of(config, read_plan(config), "cpu", "mix") for config in both)

    assert first.differences(second) == differs
    assert (first.digest == second.digest) is (not differs)


@pytest.mark.models
@pytest.mark.usefixtures("real_models")
def test_a_machine_with_another_checkpoint_says_so(order: ScoreOrder) -> None:
    config = heard_config(Config(), "cpu")
    expected = replace(identity_of(config, read_plan(config), "cpu", "mix"), checkpoint="another")
    (_, last) = ArchiveWorker(WorkerSettings(config, "mix", expected)).score(order)

    assert isinstance(last, WorkerUnable)
    assert "other checkpoint than where the command was typed" in last.line
