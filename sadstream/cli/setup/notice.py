"""`sadstream notice`: what must be said to people who are heard, as text or as a sign to print."""

import html
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sadstream.cli.options import ConfigOption, ForceOption
from sadstream.cli.setup.wordings import WORDINGS, Language, Wording

if TYPE_CHECKING:
    from sadstream.config import Config

MARK = '<meta name="generator" content="sadstream notice">'
BLANK = "_" * 40  # to be filled in by hand


FOR_WHOM = (
    "sadstream notice: people must be able to read or hear this before they are heard. At work and in education "
    "inferring emotions is prohibited in the European Union (AI Act, Article 5(1)(f)). This is no legal advice."
)


def notice(
    language: Annotated[Language, typer.Option(help="Of the notice.")] = Language.en,
    sign: Annotated[Path | None, typer.Option(help="HTML file: a page to print and put up.", readable=False)] = None,
    contact: Annotated[str | None, typer.Option(help="Who is responsible, and how to reach them.")] = None,
    force: ForceOption = False,
    config: ConfigOption = None,
) -> None:
    """What must be said to people who are heard; with --config as it is true of that daemon."""
    from sadstream.config import load

    wording = WORDINGS[language]
    said = sentences(wording, load(config), contact)
    if sign is None:
        print("\n\n".join([wording.title, *said]))
    else:
        from sadstream.base.files import expect_place, save_atomic

        expect_place("--sign", sign, mark=MARK.encode(), reads=(config,), force=force)
        save_atomic(sign, page(language, wording, said).encode())
        print(f"{sign}: print it, and put it where people read it before they are heard")
    print(FOR_WHOM, file=sys.stderr)


def sentences(wording: Wording, config: "Config", contact: str | None) -> list[str]:
    """The notice's paragraphs, as they are true of this configuration."""
    days = f"{config.journal.keep_days:g}"
    return [
        wording.heard,
        wording.words_passed_on if config.publish.text else wording.deleted,
        *([wording.beside_sad] if config.publish.emotions else []),
        *([wording.elsewhere] if config.compute.device == "remote" else []),
        wording.not_kept if config.journal.path is None else wording.kept.format(days=days),
        *([wording.voices] if config.voice.only else []),
        *([wording.names_passed_on] if config.publish.speaker else []),
        wording.limits,
        wording.rights,
        f"{wording.contact} {contact or BLANK}",
    ]


def page(language: Language, wording: Wording, said: list[str]) -> str:
    """One page to print, of letters that are read from a few steps away; nothing is loaded from elsewhere."""
    paragraphs = "\n".join(f"<p>{html.escape(text)}</p>" for text in said)
    return f"""<!doctype html>
<html lang="{language.value}">
<head>
<meta charset="utf-8">
{MARK}
<title>{html.escape(wording.title)}</title>
<style>
@page {{ size: A4; margin: 15mm }}
body {{ margin: auto; max-width: 180mm; padding: 4mm; font: 15pt/1.36 sans-serif; color: #000; background: #fff }}
h1 {{ margin: 0 0 6mm; font-size: 27pt; line-height: 1.15 }}
p {{ margin: 0 0 3mm; overflow-wrap: anywhere }}
svg {{ display: block; width: 34mm; margin: 0 0 6mm }}
</style>
</head>
<body>
<svg viewBox="0 0 48 48" aria-hidden="true" fill="none" stroke="#000" stroke-width="3" stroke-linecap="round">
<rect x="18" y="4" width="12" height="24" rx="6" fill="#000"/><path d="M11 22a13 13 0 0 0 26 0M24 35v9M16 44h16"/></svg>
<h1>{html.escape(wording.title)}</h1>
{paragraphs}
</body>
</html>
"""
