"""What the site needs beside its pages: the benchmarks' plots, and that it asks no other host for anything."""  # noqa: INP001 - MkDocs loads it by its path

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ASKED = re.compile(r"<!-- plots: (\S+) -->")
_LABEL = re.compile(r'aria-label="([^"]+)"')
_PLOTS = Path(__file__).parents[2] / "benchmarks" / "plots"
# What a browser fetches by itself, from wherever it is told: not a link that a reader follows.
_FETCHED = re.compile(r"<(?:(?:script|img|iframe|source)\b[^>]*\bsrc|link\b[^>]*\bhref)=[\"']?(?:https?:)?//")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Show the plots where `make bench` left them, so that there is one copy of each."""
    for plot in sorted(_PLOTS.glob("*.svg")):
        files.append(File.generated(config, f"plots/{plot.name}", abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, page: Page, **_others: object) -> str:
    """Put the plots that a page asks for in their place: `<!-- plots: promptness-* -->`, with their own words."""
    up = "../" * page.file.src_uri.count("/")

    def shown(asked: re.Match[str]) -> str:
        plots = sorted(_PLOTS.glob(f"{asked[1]}.svg"))
        if not plots and _PLOTS.exists():
            raise PluginError(f"{page.file.src_uri}: `make bench` draws no {asked[1]}.svg")
        return "\n\n".join(f"![{_words(plot)}]({up}plots/{plot.name})" for plot in plots)

    return _ASKED.sub(shown, markdown)


def _words(plot: Path) -> str:
    found = _LABEL.search(plot.read_text(encoding="utf-8"))
    return found[1] if found is not None else plot.stem


def on_post_page(output: str, page: object, **_others: object) -> str:
    """Refuse a page that fetches anything from another host."""
    if (found := _FETCHED.search(output)) is not None:
        raise PluginError(f"{page} fetches from another host: {found[0]}")
    return output
