"""The schema as TypeScript, by the commands in the docs: true programs compile, wrong ones do not."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from daemon import run

TRUE = """
import type { SadstreamEvent } from "./sadstream";
export function line(event: SadstreamEvent): string {
  switch (event.type) {
    case "score": return `${event.stream} ${event.p_sad.toFixed(2)} ${event.latency_ms.total} ${event.text ?? ""}`;
    case "status": return event.state === "no-device" ? event.reason : `${event.last_score_seq ?? 0}`;
    case "episode": return `${event.phase} ${event.evidence + event.segments}`;
  }
}
"""
WRONG = {
    "event.p_sad.toFixed(2)": "event.psad.toFixed(2)",
    '"no-device"': '"deaf"',
    "event.last_score_seq ?? 0": "event.last_score_seq + 1",
    'event.text ?? ""': "event.text.length",
}


@pytest.mark.slow
def test_types_made_of_the_schema_hold_an_app_to_it(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "json-schema-to-typescript", "typescript"]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install here: {done.stderr[-200:]}")
    (tmp_path / "sadstream.json").write_text(run("schema").stdout)
    (command,) = re.findall(
        r"^\$ (npx json-schema-to-typescript .*?)(?: +#.*)?$", Path("docs/web.md").read_text(), re.M
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True)

    def compiles(text: str) -> bool:
        (tmp_path / "app.ts").write_text(text)
        tsc = ["npx", "tsc", "--noEmit", "--strict", "app.ts"]
        return subprocess.run(tsc, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    assert compiles(TRUE)
    for right, wrong in WRONG.items():
        assert not compiles(TRUE.replace(right, wrong)), wrong
