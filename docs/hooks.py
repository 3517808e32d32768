"""What the site adds: links that leave docs/ become names, and llms.txt lists every page with its first words."""

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[((?:[^][]|\[[^]]*\])*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")
SAID: dict[str, tuple[str, str]] = {}  # of each page, by its address: title and first sentence


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """The page, whose links to files that are no part of the site are those files' names."""

    def kept(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = posixpath.normpath(
            posixpath.join("docs", posixpath.dirname(page.file.src_uri), target.partition("#")[0])
        )
        return link[0] if path.startswith("docs/") else f"{text} (`{path}`)" if path not in text else f"`{path}`"

    paragraphs = [one for one in markdown.split("\n\n") if one.strip() and not one.startswith(("#", "|", ":::", "```"))]
    first = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraphs[0].split())) if paragraphs else ""
    SAID[page.file.dest_uri] = (markdown.partition("\n")[0].lstrip("# "), re.split(r"(?<=[.!?]) ", first)[0])
    return LINK.sub(kept, markdown)


def on_post_build(config: Any) -> None:
    """llms.txt: what there is to read, for programs that read."""
    lines = ["# sadstream", "", f"> {config.site_description}", ""]
    lines += [
        f"- [{title}]({address}): {first}" if first else f"- [{title}]({address})"
        for address, (title, first) in SAID.items()
    ]
    Path(config.site_dir, "llms.txt").write_text("\n".join(lines) + "\n")
