"""A report's tables for a paper: each as LaTeX with booktabs, its section as the caption."""

import re
from collections.abc import Iterator, Sequence

MARKED = str.maketrans({
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
})  # fmt: skip
HEAD = "% Tables of a report of sadstream-train. In the preamble: \\usepackage{booktabs,graphicx}\n"


def latex(text: str) -> str:
    """All tables of a Markdown report, in their order; a note that stands above one (a partial corpus) goes along."""
    tables = [_table(caption, note, lines) for caption, note, lines in _tables(text)]
    return HEAD + "".join(tables)


def _tables(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """(caption, note in bold above it, its lines) of each."""
    heading, note, lines = "", "", list[str]()
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(line)
            continue
        if lines:
            yield heading, note, lines
            lines = []
        if found := re.match(r"#+ (.*)", line):
            heading, note = found[1], ""
        elif line.startswith("**"):
            note = line.strip("* ")


def _table(caption: str, note: str, lines: Sequence[str]) -> str:
    head, rule, *rows = ([cell.strip() for cell in line.strip("|\n ").split(" | ")] for line in lines)
    columns = "".join("r" if cell.endswith(":") else "l" for cell in rule)
    said = f"{caption}. {note}" if note else caption
    body = "\n".join(f"{' & '.join(cell.translate(MARKED) for cell in row)} \\\\" for row in rows)
    return (
        f"\n\\begin{{table}}\n\\caption{{{said.translate(MARKED)}}}\n\\resizebox{{\\linewidth}}{{!}}{{%\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{' & '.join(cell.translate(MARKED) for cell in head)} \\\\\n"
        f"\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}}}\n\\end{{table}}\n"
    )
