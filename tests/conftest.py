"""What the tests share: the bundled scene, the fetched models, real speech."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sadstream  # noqa: F401  sets the environment that torch reads when it is imported
from sadstream.base.errors import SadstreamError
from sadstream.cli.demo import play as demo
from sadstream.cli.setup.inventory import needed
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.weights import packed
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.locate import locate

# A shell starts what is in its background with Ctrl-C ignored, and whatever a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two BLAS threads on two cores leave nothing for the daemon under test.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A pause, a calibrated voice and enrolled people of whoever runs the tests are none of theirs.
_STATE = tempfile.TemporaryDirectory(prefix="sadstream-state-")
os.environ["XDG_STATE_HOME"] = _STATE.name

# The files that take longest begin first, or the last of them would run alone at the end (seconds on two idle cores).
LONGEST = (
    "test_golden",  # 114
    "test_channels",  # 73
    "test_dashboard_browser",  # 67
    "test_microphone_browser",  # 50
    "test_microphone",  # 50
    "test_house",  # 65, of which mypy without a cache 45
    "test_systemd",  # 64
    "test_share",  # 62
    "test_reproduce",  # 56
    "test_faults",  # 56
    "test_docs",  # 45
    "test_watch",  # 43
    "test_fuzz",  # 41
    "test_client",  # 39
    "test_gpu_bench",  # 35
    "test_service",  # 37
    "test_mqtt",  # 35
    "test_gates",  # 35
    "test_examples",  # 35
    "test_recognizer",  # 32
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each file's tests in order, the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def scene() -> Path:
    """Eight acted utterances, pauses, and a fan."""
    return demo.scene_path()


@pytest.fixture(scope="session")
def real_models() -> None:
    """Skips, visibly, where the default models have not been fetched."""
    try:
        for name in needed(checkpoint.read_header(checkpoint.default_path())):
            models.verify(locate(name, models.spec(name).kind))
    except SadstreamError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["packed", "plain"])
def layers(request: pytest.FixtureRequest) -> Iterator[str]:
    """Linear layers as x86 has them, then as every other processor: models that are loaded after this have those."""
    if request.param == "packed" and not packed.can_pack():
        pytest.skip("this processor has no packed layers")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(packed, "can_pack", lambda: False)
        yield request.param


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    """A ZeroMQ endpoint of the test's own."""
    return f"ipc://{tmp_path}/pub"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models' folder of the test's own."""
    folder = tmp_path / "models"
    monkeypatch.setenv("SADSTREAM_MODELS", str(folder))
    return folder
