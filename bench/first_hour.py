"""Four newcomers who type what docs/first-hour.md tells, each in a shell of their own that has nothing; timed.

    python bench/first_hour.py [NAME...] [--write]

Every `sh` block of a section is typed into one bash; a block with a `title` is a file that the newcomer saves by that
name. With --write the page shows what came, and how long it took. Ends with 1 where a command failed.
"""

import argparse
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/first-hour.md"
BLOCK_S = 900
SHOWN_LINES = 16
DONE = "first-hour-did-that"
# A section's blocks: a language, perhaps the name of the file that it is; what came stands below what was typed.
BLOCK = re.compile(r'```(\w+)(?: title="([^"]+)")?\n(.*?)```\n(?:\n```text\n.*?```\n\n\*[\d:]+, [^*]+\*\n)?', re.DOTALL)
# Of the machine that this runs on: where its pip looks for packages. And the shell's own word of what it ended.
LEFT_OUT = re.compile(r"file:///|^\[\d+\]|Terminated|^$")


class NewcomerError(Exception):
    """What was typed and failed, with what it said."""


@dataclass(frozen=True, slots=True)
class Step:
    """A block of a section; of a file no `said`."""

    text: str
    title: str
    said: str = ""
    seconds: float = 0.0
    gigabytes: float = 0.0


def sections(page: str) -> dict[str, str]:
    """The text of each newcomer's section, by the word that follows the article in its heading."""
    parts = re.split(r"^(?=## The )", page, flags=re.MULTILINE)[1:]
    return {part.split()[2]: part for part in parts}


class Shell:
    """A bash without anything of whoever runs this: an empty home, the system's PATH, pip's cache."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "NPM_", "NODE_"))}
        cache = os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache/pip"))
        own = {"HOME": str(home), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "PIP_CACHE_DIR": cache}
        own |= {"SADSTREAM": str(ROOT), "TMPDIR": str(home.parent), "COLUMNS": "120"}
        self._bash = subprocess.Popen(
            ["/bin/bash", "--noprofile", "--norc"], cwd=home, env=kept | own, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._type("set -o pipefail\ntrap '[ $? = 124 ] || failed=1' ERR\n")  # 124: ended by `timeout`, as asked

    def do(self, text: str) -> str:
        """What came of it; NewcomerError where a command failed or BLOCK_S passed."""
        self._type(f"failed=0\n{text}\nprintf '\\n%s%s\\n' {DONE} $failed\n")
        said = self._read()
        body, _, code = said.rpartition(f"\n{DONE}")
        if code.strip() != "0":
            raise NewcomerError(f"{text}{said or body}")
        lines = [line.replace(str(self.home), "~") for line in body.splitlines() if not LEFT_OUT.search(line)]
        return "\n".join(line.rstrip() for line in lines)

    def gigabytes(self) -> float:
        done = subprocess.run(["du", "-sk", str(self.home)], capture_output=True, text=True, check=False)
        return int(done.stdout.split()[0]) * 1024 / 1e9

    def end(self) -> None:
        """All that was started in it ends with it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._bash.pid, number)
                time.sleep(1.0)
        self._bash.wait(10)
        for pipe in (self._bash.stdin, self._bash.stdout):
            assert pipe is not None
            pipe.close()

    def _type(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text.encode())
        self._bash.stdin.flush()

    def _read(self) -> str:
        assert self._bash.stdout is not None
        until, said = time.monotonic() + BLOCK_S, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._bash.stdout, selectors.EVENT_READ)
            while time.monotonic() < until and not re.search(rb"\n%s\d\n" % DONE.encode(), said):
                if selector.select(1.0):
                    read = os.read(self._bash.stdout.fileno(), 65_536)
                    if not read:
                        break
                    said += read
        return said.decode(errors="replace").rstrip("\n")


def lived(section: str, home: Path) -> Iterator[Step]:
    """Each step of a section as it is done."""
    shell = Shell(home)
    try:
        for language, title, text in BLOCK.findall(section):
            if title:
                path = home / title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                yield Step(text, title)
            elif language == "sh":
                began = time.monotonic()
                said = shell.do(text)
                yield Step(text, "", said, time.monotonic() - began, shell.gigabytes())
    finally:
        shell.end()


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def written(section: str, steps: list[Step]) -> str:
    """The section with what came below each block that was typed, and its minutes, seconds and gigabytes."""
    left = iter(steps)

    def block(found: re.Match[str]) -> str:
        language, title, text = found.groups()
        if not title and language != "sh":
            return found[0]
        step = next(left)
        shown = f'```{language} title="{title}"\n{text}```\n' if title else f"```sh\n{text}```\n"
        if title:
            return shown
        lines = step.said.splitlines() or ["(nothing)"]
        more = ["..."] if len(lines) > SHOWN_LINES else []
        came = "\n".join([*more, *(line[:150] for line in lines[-SHOWN_LINES:])])
        return f"{shown}\n```text\n{came}\n```\n\n*{clock(step.seconds)}, {step.gigabytes:.2f} GB*\n"

    return BLOCK.sub(block, section)


def main() -> int:
    parser = argparse.ArgumentParser(description="Be the newcomers of docs/first-hour.md.")
    found = sections(PAGE.read_text())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(found)}; none: all")
    parser.add_argument("--write", action="store_true", help="put what came into the page")
    asked = parser.parse_args()
    done = [come(name, asked.write) for name in asked.names or found]
    return 0 if all(done) else 1


def come(name: str, write: bool) -> bool:
    """A newcomer comes, types and goes; False where something failed."""
    section = sections(PAGE.read_text())[name]
    steps: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="first-hour-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        try:
            for step in lived(section, home):
                steps.append(step)
                if not step.title:
                    last = step.text.splitlines()[-1]
                    print(f"{name}  {clock(step.seconds)}  {step.gigabytes:.2f} GB  {last}", flush=True)
        except NewcomerError as error:
            print(f"{name}: failed: {error}", file=sys.stderr)
            return False
    print(f"{name}  {clock(sum(step.seconds for step in steps))}  in all", flush=True)
    if write:
        page = PAGE.read_text()
        assert section in page, "the page was changed meanwhile"
        PAGE.write_text(page.replace(section, written(section, steps)))
    return True


if __name__ == "__main__":
    raise SystemExit(main())
