"""docs/architecture.md draws what the code is: every module once, every import along an arrow, no arrow back."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

PAGE = Path("docs/architecture.md")
UNDRAWN = {"__init__"}  # the version, which anybody may ask
Arrow = tuple[str, str]


def diagram() -> str:
    (found,) = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def groups(drawn: str) -> dict[str, set[str]]:
    """The modules in each box; a folder's box holds its files."""
    found = {}
    for name, label in re.findall(r'^  (\w+)\["(.*)"\]$', drawn, re.MULTILINE):
        title, _, listed = label.partition("</b>")
        folder = Path("sadstream") / name
        if title.endswith("/"):
            found[name] = {f"{name}.{path.stem}" for path in folder.glob("*.py")}
        else:
            found[name] = {module.strip() for module in listed.replace("<br>", ",").split(",") if module.strip()}
    return found


def thin(drawn: str) -> set[Arrow]:
    return set(re.findall(r"^  (\w+) --> (\w+)$", drawn, re.MULTILINE))


def thick(drawn: str) -> dict[Arrow, str]:
    found = re.findall(r"^  (\w+) == (\w+) ==> (\w+)$", drawn, re.MULTILINE)
    return {(giver, taker): record for giver, record, taker in found}


@cache
def modules() -> dict[str, Path]:
    paths = sorted(Path("sadstream").rglob("*.py"))
    return {".".join(path.relative_to("sadstream").with_suffix("").parts): path for path in paths}


@cache
def names_used(module: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", modules()[module].read_text()))


@cache
def takes(module: str) -> frozenset[str]:
    """What its functions and methods are given, by their annotations."""
    arguments = [node for node in ast.walk(ast.parse(modules()[module].read_text())) if isinstance(node, ast.arg)]
    annotations = " ".join(ast.unparse(argument.annotation) for argument in arguments if argument.annotation)
    return frozenset(re.findall(r"\w+", annotations))


@cache
def imported(module: str) -> frozenset[str]:
    """The modules that a module imports anywhere in it, also where only a type checker looks."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return frozenset(name.removeprefix("sadstream.") for name in found) & frozenset(modules())


def imports(boxes: dict[str, set[str]]) -> set[Arrow]:
    """Which box imports which."""
    home = {module: box for box, inside in boxes.items() for module in inside}
    return {
        (home[module], home[other])
        for module in home
        for other in imported(module)
        if other in home and home[module] != home[other]
    }


def reached(arrows: set[Arrow], start: str) -> set[str]:
    """Boxes that one comes to from this one."""
    found: set[str] = set()
    open_ = [start]
    while open_:
        here = open_.pop()
        new = {b for a, b in arrows if a == here} - found
        found |= new
        open_ += new
    return found


def essential(arrows: set[Arrow]) -> set[Arrow]:
    """The arrows that do not follow from others (the transitive reduction)."""
    return {(a, b) for a, b in arrows if b not in reached(arrows - {(a, b)}, a)}


def faults(drawn: str) -> list[str]:
    """What the diagram says that is not so, and what it leaves out."""
    boxes, flow = groups(drawn), thick(drawn)
    real = imports(boxes)
    needed = essential(real)
    shown = thin(drawn) | {(taker, giver) for giver, taker in flow if (taker, giver) in needed}
    found = [f"missing: {a} --> {b}" for a, b in sorted(needed - shown)]
    found += [f"too many or reversed: {a} --> {b}" for a, b in sorted(thin(drawn) - needed)]
    found += [f"both ways: {box}" for box in boxes if box in reached(real, box)]
    for (giver, taker), record in flow.items():
        if taker in reached(real, giver):
            found.append(f"{giver} knows {taker}, which takes its {record}")
        if not any(record in names_used(module) for module in boxes[giver]):
            found.append(f"{giver} does not know {record}")
        if not any(record in takes(module) for module in boxes[taker]):
            found.append(f"{taker} does not take {record}")
    return found


def test_every_module_is_in_one_box() -> None:
    listed = [module for inside in groups(diagram()).values() for module in inside]

    assert sorted(listed) == sorted(set(modules()) - UNDRAWN)


def test_the_diagram_is_what_the_code_imports() -> None:
    assert faults(diagram()) == []


@pytest.mark.parametrize("line", re.findall(r"^  \w+ (?:-->|==).*$", diagram(), re.MULTILINE), ids=str.strip)
def test_an_arrow_that_is_missing_or_reversed_would_be_found(line: str) -> None:
    first, *middle, last = line.split()
    turned = "  " + " ".join([last, *middle, first])

    assert faults(diagram().replace(line, turned)), line
    if "-->" in line or (last, first) in essential(imports(groups(diagram()))):
        assert faults(diagram().replace(line + "\n", "")), line


def test_every_group_is_said_to_know_something() -> None:
    rows = re.findall(
        r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$",
        PAGE.read_text().split("## What each group knows")[1].split("##")[0],
        re.MULTILINE,
    )
    said = {name.strip("`/ ") for row in rows[1:] for name in row.split(",")}

    assert said - {"---"} == set(groups(diagram()))


BOUNDS = re.findall(r"\| `(\w+)\.([A-Z_]+)` \| ([\d.]+) \|", PAGE.read_text())


@pytest.mark.parametrize(("module", "name", "value"), BOUNDS, ids=lambda value: value)
def test_the_bounds_are_the_codes(module: str, name: str, value: str) -> None:
    assert getattr(importlib.import_module(f"sadstream.{module}"), name) == float(value)


def test_there_are_bounds() -> None:
    assert len(BOUNDS) == 5


@pytest.mark.parametrize("topic", ["service", "wire", "training", "model-card", "performance", "architecture", "views"])
def test_each_topic_has_a_page_that_the_readme_links(topic: str) -> None:
    assert Path(f"docs/{topic}.md").exists()
    assert f"(docs/{topic}.md)" in Path("README.md").read_text()
