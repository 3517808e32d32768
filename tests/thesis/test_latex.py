"""A report's tables as LaTeX: all of them, with their captions, nothing that LaTeX would take for its own."""

from train.metrics.markdown import markdown
from train.thesis.latex import HEAD, latex

REPORT = f"""# Sadness in own_corpus

**PARTIAL CORPUS: 50 of 10,039 utterances.**

## Table 2, protocol strict

**PARTIAL CORPUS: 50 of 10,039 utterances.**

{markdown(("system", "F1 & more", "n"), [["Audio_CNN", "61.5 %", "10"], ["never $ad", "{0}", "10"]], numbers=True)}
n = 10 utterances.

### Confusion

{markdown(("system", "TN"), [["x~y", "3^2"]])}
"""


def test_each_table_has_its_section_as_caption_and_the_note_above_it() -> None:
    text = latex(REPORT)

    assert text.startswith(HEAD)
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 2
    assert "\\caption{Table 2, protocol strict. PARTIAL CORPUS: 50 of 10,039 utterances.}" in text
    assert "\\caption{Confusion}" in text
    assert "\\begin{tabular}{lrr}" in text
    assert "\\begin{tabular}{ll}" in text


def test_nothing_in_a_cell_is_taken_for_latex() -> None:
    text = latex(REPORT)

    assert "Audio\\_CNN & 61.5 \\% & 10 \\\\\n" in text
    assert "never \\$ad & \\{0\\} & 10 \\\\\n" in text
    assert "system & F1 \\& more & n \\\\\n" in text
    assert "x\\textasciitilde{}y & 3\\textasciicircum{}2 \\\\\n" in text


def test_a_report_without_tables_is_none() -> None:
    assert latex("# Nothing\n") == HEAD
