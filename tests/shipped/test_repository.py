"""A checkpoint as the hub keeps it says what its header says, and comes back as it went."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from sadstream.base.errors import SadstreamError, UnavailableError
from sadstream.cli.setup.inventory import fetch_models
from sadstream.scoring.fusion import checkpoint
from sadstream.scoring.fusion.card import card_path, read_card
from sadstream.scoring.fusion.header import Header
from train.cli import main
from train.shipped.repository import Described, publish, readme

OPEN = checkpoint.named("open")


def described(name: str, **changes: Any) -> Described:
    header = checkpoint.read_header(checkpoint.named(name))
    return Described("mine", "0" * 12, Header.model_validate({**header.model_dump(), **changes}), None)


def metadata(asked: Described) -> dict[str, Any]:
    found: dict[str, Any] = ModelCard(readme(asked)).data.to_dict()
    return found


def test_a_repository_holds_the_checkpoint_its_card_and_a_readme(tmp_path: Path) -> None:
    files = publish(OPEN, tmp_path / "repository")

    assert sorted(path.name for path in (tmp_path / "repository").iterdir()) == sorted(path.name for path in files)
    assert {path.name for path in files} == {"README.md", "sadstream.card.json", "sadstream.safetensors"}
    assert (tmp_path / "repository" / "sadstream.safetensors").read_bytes() == OPEN.read_bytes()


@pytest.mark.parametrize("name", checkpoint.SHIPPED)
def test_every_figure_is_in_the_index_with_protocol_n_and_interval(name: str) -> None:
    header = checkpoint.read_header(checkpoint.named(name))
    results = ModelCard(readme(described(name))).data.eval_results
    assert results is not None
    names = [str(result.metric_name) for result in results]

    assert len(results) == len(header.metrics) > 10
    for metric in header.metrics:
        (said,) = (one for one in names if one.startswith(f"{metric.name} ({metric.protocol}; n = {metric.n:,};"))
        assert ("quartiles " if "quartiles" in metric.name else "95 % interval ") in said
        assert f"{metric.low:.3f} to {metric.high:.3f}" in said


def test_the_readme_says_whose_data_it_is_and_what_may_be_done_with_it() -> None:
    default, free = metadata(described("default")), metadata(described("open"))
    said = readme(described("default"))

    assert (default["license"], default["language"]) == ("cc-by-nc-sa-4.0", ["en", "pl"])
    assert (free["license"], free["license_name"]) == ("other", "odbl-1.0-and-dbcl-1.0-cc-by-4.0")
    assert default["datasets"] == ["ravdess", "nemo", "crema-d", "meld", "goemotions"]
    assert "| commercial use | **not allowed** |" in said
    assert "is acted (ravdess, nemo, crema-d)" in said
    assert "sadstream models fetch --from mine\nsadstream models fetch tiny.en minilm\n" in said
    assert "| threshold | sad from p = 0.308 on" in said
    assert "no: nothing was measured over time" in said


def test_what_nobody_said_is_not_made_up() -> None:
    asked = described(
        "open", trained_on=("csv: 50 utterances of 5 speakers",), metrics=(), licence="not stated", commercial_use=None
    )
    said = metadata(asked)

    assert "language" not in said
    assert "model-index" not in said
    assert (said["license"], said["license_name"]) == ("other", "not-stated")
    assert "acted" not in readme(asked)
    assert "nobody said; ask whoever made it" in readme(asked)


def test_a_name_in_quotes_and_a_colon_survive_the_head() -> None:
    said = metadata(described("open", trained_on=('my "own": corpus # 1',), licence='mine: "all" # yes'))

    assert said["license_name"] == "mine-all-yes"
    assert said["datasets"] == ["my-own"]


def test_it_is_read_back_verified_with_its_card(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(OPEN, tmp_path / "their-model")
    fetch_models([], None, tmp_path / "their-model")
    (path,) = (root / "checkpoints").glob("*.safetensors")
    sha = checkpoint.model_id(OPEN)

    assert path.name == f"their-model-{sha[:8]}.safetensors"
    assert path.read_bytes() == OPEN.read_bytes()
    assert read_card(path, sha) == read_card(OPEN, sha)
    assert f"use it with: [model] checkpoint = '{path}'" in capsys.readouterr().out


def test_a_model_of_its_makers_own_is_not_asked_for_by_name(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = checkpoint.load(OPEN)
    said = loaded.header.model_dump()
    said["audio"]["model"] = "whisper-mine-1a2b3c4d"
    checkpoint.save(tmp_path / "x.safetensors", loaded.fusion, Header.model_validate(said))
    publish(tmp_path / "x.safetensors", tmp_path / "their-model")
    fetch_models([], None, tmp_path / "their-model")
    out = capsys.readouterr().out

    assert "it needs whisper-mine-1a2b3c4d, a model of its maker's own" in out
    assert "fetch whisper-mine" not in out + (tmp_path / "their-model" / "README.md").read_text()


def test_a_damaged_one_is_refused_and_nothing_installed(root: Path, tmp_path: Path) -> None:
    publish(OPEN, tmp_path / "their-model")
    path = tmp_path / "their-model" / "sadstream.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(UnavailableError, match=r"sadstream\.safetensors: damaged"):
        fetch_models([], None, path.parent)
    assert not list(root.rglob("*.safetensors"))


def test_a_card_of_another_checkpoint_is_refused(root: Path, tmp_path: Path) -> None:
    publish(OPEN, tmp_path / "their-model")
    other = card_path(checkpoint.named("default")).read_bytes()
    (tmp_path / "their-model" / "sadstream.card.json").write_bytes(other)

    with pytest.raises(SadstreamError, match="measured for checkpoint"):
        fetch_models([], None, tmp_path / "their-model")
    assert not list(root.rglob("*.safetensors"))


def test_the_command_replaces_its_own_readme_and_nobody_elses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def code(*more: str) -> object:
        with pytest.raises(SystemExit) as stop:
            main(["card", "open", "--out", str(tmp_path / "x"), *more])
        return stop.value.code or 0

    assert [code(), code()] == [0, 0]
    (tmp_path / "x" / "README.md").write_text("my thesis")
    assert code() == 73
    assert (tmp_path / "x" / "README.md").read_text() == "my thesis"
    assert code("--force") == 0
    assert "read back with: sadstream models fetch --from" in capsys.readouterr().out
