"""The whole of it: both tables under both protocols, every option, stopped anywhere and gone on with."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_corpus import prepared, session

from sadstream.base.errors import DataError, UnavailableError, UsageError
from train.presets import BEYOND
from train.thesis import ablations, reproduce
from train.thesis.ablations import VARIANTS
from train.thesis.attention import PICTURED
from train.thesis.reproduce import ThesisRequest
from train.training.session import Session

# What needs no fetched model.
OWN = ("text", "cnn", "attention")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return prepared(tmp_path_factory.mktemp("reproduce"))


def wanted(made: SimpleNamespace, out: Path, **changes: object) -> ThesisRequest:
    plain = ThesisRequest(
        corpus=made.release.parent,
        out=out,
        preset=made.preset,
        systems=OWN,
        seeds=1,
        loso=False,
        ablations=False,
        allow_partial=True,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def everything(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two seeds, five sessions left out, all ablations that need nothing fetched."""
    out = tmp_path_factory.mktemp("out")
    variants = tuple(
        v for v in VARIANTS if v.changes.get("text", {}).get("source") != "whisper" and v.base != "speaker"
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reproduce, "VARIANTS", variants)
        said: list[str] = []
        asked = wanted(made, out, seeds=2, loso=True, ablations=True)
        text = reproduce.reproduce(asked, made.session, False, said.append)
    return SimpleNamespace(out=out, text=text, said=said, variants=variants)


def test_both_tables_stand_in_the_report_under_both_protocols(everything: SimpleNamespace) -> None:
    text = everything.text

    assert "## Table 1\n" in text
    assert "## Table 2, protocol thesis (optimistic), text encoder encoder, not BERT" in text
    assert "## Table 2, protocol strict, text encoder encoder, not BERT" in text
    assert text.count("| never sad | 88.71 | 0.00 |") == 2
    assert "| Audio CNN | 84.33 | 45.16 | 37.33 | 57.14 |" in text


def test_every_option_adds_its_section(everything: SimpleNamespace, made: SimpleNamespace) -> None:
    for section in (
        "F1 over seeds",
        "Leave one session out, protocol strict",
        *(
            f"Ablations of {made.preset.systems[base].title}, protocol {protocol}"
            for base in ("attention", "gated", "hierarchical", "cross-modal")
            for protocol in ("thesis", "strict")
        ),
        "Training",
    ):
        assert f"## {section}\n" in everything.text
    for variant in everything.variants:
        title = made.preset.systems[variant.base].title
        assert f"{title} (encoder, not BERT), {variant.name} |" in everything.text


@pytest.mark.models
def test_each_system_that_attends_is_drawn(made: SimpleNamespace, tmp_path: Path) -> None:
    asked = wanted(made, tmp_path, systems=PICTURED)
    text = reproduce.reproduce(asked, made.session, False, lambda _: None)

    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {f"0-{name}-attention.png" for name in BEYOND} | {"0-attention.png"} <= drawn
    assert "No picture of" not in text
    tested = text.partition("against each other system, protocol strict")[2].partition("\n##")[0]
    for name in BEYOND:
        assert f"\n| {made.preset.systems[name].title} (encoder, not BERT) |" in tested


def test_leaving_sessions_out_tests_every_utterance_once(everything: SimpleNamespace) -> None:
    section = everything.text.partition("## Leave one session out")[2]

    assert "n = 50 utterances, 10 sad, 10 speakers" in section


def test_a_stand_in_for_bert_is_in_every_row_title_and_file(everything: SimpleNamespace) -> None:
    page = next(everything.out.glob("report*.html"))

    assert page.name == "report-encoder.html"
    assert "<title>Sadness in iemocap: preset tiny, text encoder encoder, not BERT</title>" in page.read_text()
    rows = [line for line in everything.text.splitlines() if line.startswith(("| Text", "| Attention"))]
    assert len(rows) > 20
    assert all("(encoder, not BERT)" in row for row in rows)
    names = {path.name for path in (everything.out / "runs").iterdir()}
    assert all("-encoder-seed" in name for name in names if "-cnn-seed" not in name)


def test_a_partial_corpus_is_said_above_every_table(everything: SimpleNamespace) -> None:
    note = "**PARTIAL CORPUS: 50 of 10,039 utterances of iemocap, 27 counts differ.**"

    for part in everything.text.split("\n## ")[1:]:
        if part.startswith(("Table", "F1 over", "Leave", "Ablations")):
            assert note in part, part[:60]


def test_the_page_needs_nothing_else(everything: SimpleNamespace) -> None:
    page = next(everything.out.glob("report*.html")).read_text()

    assert page.count("data:image/png;base64,") == 6
    for outside in ("http://", "https://", "<script", 'src="figures', "<link"):
        assert outside not in page


def test_of_a_finished_run_the_chosen_weights_stay(everything: SimpleNamespace) -> None:
    for run in (everything.out / "runs").iterdir():
        assert 1 <= len(list((run / "epochs").iterdir())) <= 2
        assert not (run / "state.pt").exists()


def test_doing_it_again_changes_nothing_and_trains_nothing(
    made: SimpleNamespace, everything: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p: p.read_bytes() for p in everything.out.rglob("*.csv")}
    monkeypatch.setattr(Session, "fit_run", None)

    reproduce.reproduce(wanted(made, everything.out), made.session, False, lambda _: None)

    assert {p: p.read_bytes() for p in everything.out.rglob("*.csv")} == before


def test_another_corpus_does_not_go_into_the_same_folder(made: SimpleNamespace, everything: SimpleNamespace) -> None:
    import shutil

    other = Path(shutil.copytree(made.release, everything.out.parent / "other"))
    next(other.rglob("Ses01F_impro01_F000.wav")).unlink()

    with pytest.raises(UsageError, match="made from another corpus"):
        reproduce.reproduce(wanted(made, everything.out, corpus=other), made.session, False, lambda _: None)


def test_wrong_counts_stop_it_before_anything_is_written(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="27 counts are not those of iemocap"):
        reproduce.reproduce(wanted(made, tmp_path / "out", allow_partial=False), made.session, False, lambda _: None)
    assert not (tmp_path / "out").exists()


def test_without_bert_it_stops_with_the_line_that_fetches_it(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SADSTREAM_MODELS", str(tmp_path))
    preset = made.preset.model_copy(update={"text": made.preset.text.model_copy(update={"encoder": "bert"})})

    with pytest.raises(UnavailableError, match="fetch it with: sadstream models fetch bert"):
        reproduce.reproduce(wanted(made, tmp_path / "out", preset=preset), made.session, False, lambda _: None)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_how_long_and_writes_nothing(made: SimpleNamespace, tmp_path: Path) -> None:
    own = session(tmp_path / "cache")
    text = reproduce.reproduce(wanted(made, tmp_path / "out", loso=True), own, True, lambda _: None)

    assert "18 runs, at most" in text
    assert not (tmp_path / "out").exists()


def test_a_variant_changes_one_thing(made: SimpleNamespace) -> None:
    from train.presets import run_config

    for variant in VARIANTS:
        base = run_config(made.preset, variant.base, "m.csv")
        changed = ablations.varied(base, variant)
        left = {k for k, v in changed.model_dump().items() if v != base.model_dump()[k]}
        assert left == {"variant", *variant.changes}
    names = {(variant.base, variant.name) for variant in VARIANTS}
    assert len(names) == len(VARIANTS)


COMMAND = [sys.executable, "-m", "train", "reproduce", "--epochs", "3", "--allow-partial", "--threads", "1"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_any_moment_the_same_command_ends_in_the_same_predictions(
    made: SimpleNamespace, tmp_path: Path
) -> None:
    """SIGKILL after random times until it gets through, against a run that was left alone."""
    options = ["--iemocap", str(made.release), "--text-encoder", str(made.folder / "encoder"), "--preset"]
    systems = [part for name in OWN for part in ("--system", name)]
    preset = tmp_path / "tiny.toml"
    base = Path("configs/thesis.toml").resolve()
    preset.write_text(f'base = "{base}"\nname = "tiny"\n[model]\nchannels = [2, 4]\nhidden = 4\n')
    command = [*COMMAND, *options, str(preset), *systems, "--cache"]
    subprocess.run([*command, str(tmp_path / "cache1"), "--out", str(tmp_path / "whole")], check=True)
    chance, kills = random.Random(0), 0
    while True:
        stopped = [*command, str(tmp_path / "cache2"), "--out", str(tmp_path / "stopped")]
        with subprocess.Popen(stopped, start_new_session=True) as process:
            try:
                process.wait(chance.uniform(4, 20) + 2 * kills)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                time.sleep(0.1)
                continue
        assert process.returncode == 0
        break

    assert kills >= 1
    found = {p.relative_to(tmp_path / "stopped"): p.read_bytes() for p in (tmp_path / "stopped").rglob("*.csv")}
    assert found == {p.relative_to(tmp_path / "whole"): p.read_bytes() for p in (tmp_path / "whole").rglob("*.csv")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_share_the_runs_and_end_in_the_same_predictions(made: SimpleNamespace, tmp_path: Path) -> None:
    options = ["--iemocap", str(made.release), "--preset", "thesis-small", "--system", "cnn", "--system", "cnn-lstm"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "train"]
    cache = ["--cache", str(tmp_path / "cache"), "--out"]
    subprocess.run([*COMMAND, *options, *cache, str(tmp_path / "one")], check=True)
    subprocess.run([*launcher, *COMMAND[3:], *options, *cache, str(tmp_path / "two")], check=True)

    found = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*.csv")}
    assert found == {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*.csv")}
    assert (tmp_path / "two" / "report.md").is_file()
