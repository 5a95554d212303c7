"""Every link between pages leads somewhere, down to the heading it names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.blocks import PAGES, ROOT, page_name, text_of

if TYPE_CHECKING:
    from pathlib import Path

_FENCED = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\[]*(?:`[^`]*`)?[^\]\[]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_GENERATED = re.compile(r"^::: (\S+)", re.MULTILINE)
_OTHERS = [ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *(ROOT / "examples").glob("*.md")]


def prose_of(path: Path) -> str:
    """Return a page without its code."""
    return _FENCED.sub("", text_of(path))


def anchors_of(path: Path) -> set[str]:
    """Return what can stand behind the # of a link to a page: its headings, and the names that mkdocstrings shows."""
    text = prose_of(path)
    slugs = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in _HEADING.findall(text)}
    return slugs | set(_GENERATED.findall(text))


@pytest.mark.parametrize("path", [*PAGES, *_OTHERS], ids=page_name)
def test_links(path: Path) -> None:
    """A relative link leads to a file of the project, and its anchor to a heading."""
    for target in _LINK.findall(prose_of(path)):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        shown = anchors_of(found) if anchor else set()
        assert not anchor or anchor in shown or any(anchor.startswith(f"{name}.") for name in shown), target


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody can reach is none."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for path in (ROOT / "docs").rglob("*.md"):
        assert f": {path.relative_to(ROOT / 'docs').as_posix()}\n" in navigation
