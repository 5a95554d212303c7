"""Blocks: every fenced block of the documentation, with what the reader does not see and what it is to print."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "blocks_of", "page_name", "text_of"]

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")], key=lambda path: path.as_posix()
)
"""Every page that a reader may copy from."""

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)(?P<words>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_SETUP = re.compile(r"<!-- setup(?P<where>, over loopback)?:(?P<code>(?:(?!-->).)*)-->\s*\Z", re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_OUTPUT = "Output"


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The page's path from the root of the project.
        line: Where its code begins.
        language: What stands behind the fence.
        title: The file that the reader saves it as; None for none.
        code: Its code.
        setup: Python of the comment before the block, in which `ecs` is the emulator: what is to be there beforehand.
        is_real: Whether the comment asks for a service over loopback and real time.
        output: What it is to print, from the block titled "Output" behind it; None where the page does not say.
    """

    page: str
    line: int
    language: str
    title: str | None
    code: str
    setup: str
    is_real: bool
    output: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_output(self) -> bool:
        """Whether it is what the block before it prints."""
        return self.title == _OUTPUT

    @property
    def is_test(self) -> bool:
        """Whether it is for pytest to run."""
        return self.language == "python" and "def test_" in self.code


def text_of(path: Path) -> str:
    """Return a page's text."""
    return path.read_text(encoding="utf-8")


def page_name(path: Path) -> str:
    """Return a page's path from the root of the project."""
    return path.relative_to(ROOT).as_posix()


@cache
def blocks_of(path: Path) -> tuple[Block, ...]:
    """Return a page's blocks."""
    text = text_of(path)
    found = list(_FENCE.finditer(text))
    blocks = []
    for match, following in zip_longest(found, found[1:]):
        title = _TITLE.search(match["words"])
        setup = _SETUP.search(text, 0, match.start())
        output = None
        if following is not None and not text[match.end() : following.start()].strip():
            after = _TITLE.search(following["words"])
            if after is not None and after[1] == _OUTPUT:
                output = textwrap.dedent(following["code"])
        blocks.append(
            Block(
                page=page_name(path),
                line=text.count("\n", 0, match.start("code")) + 1,
                language=match["language"],
                title=title[1] if title else None,
                code=textwrap.dedent(match["code"]),
                setup=textwrap.dedent(setup["code"]).strip() if setup else "",
                is_real=bool(setup and setup["where"]),
                output=output,
            )
        )
    return tuple(blocks)
