"""Programs: the Python of the documentation, run in this process, in memory and on virtual time where it can be."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

from ecs_waiter.testing.background import serve
from ecs_waiter.testing.plugin import _point_at  # the fixtures' own environment
from ecs_waiter.testing.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pytest

    from ecs_waiter.emulator import EcsEmulator
    from support.blocks import Block

__all__ = ["files_in", "prepare", "run", "service_for"]


@contextlib.contextmanager
def service_for(block: Block, patch: pytest.MonkeyPatch) -> Iterator[EcsEmulator]:
    """Have an emulator stand where the block's programs look for the service.

    It is in memory and on virtual time, unless the page asks for loopback: for what brings connections of its own.
    """
    with serve() if block.is_real else virtual() as ecs:
        _point_at(patch, ecs.url)
        prepare(block, ecs)
        with _official_sdk_at(ecs) if block.is_real else contextlib.nullcontext():
            yield ecs


def prepare(block: Block, ecs: EcsEmulator) -> None:
    """Run the comment that stands before a block: tasks that are there already, plans for those it starts, faults."""
    exec(compile(block.setup, f"{block} (set-up)", "exec"), {"ecs": ecs})  # noqa: S102 - our own pages


@contextlib.contextmanager
def files_in(directory: Path, blocks: Iterable[Block]) -> Iterator[None]:
    """Save the blocks that are files, for others to import; what was imported is forgotten afterwards."""
    for block in blocks:
        if block.title and not block.is_output:
            (directory / block.title).write_text(block.code, encoding="utf-8")
    before = set(sys.modules)
    with mock.patch.object(sys, "path", [str(directory), *sys.path]), contextlib.chdir(directory):
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(str(directory)):
                    del sys.modules[name]


def run(block: Block) -> object:
    """Run a block as a program; returns what it exits with. An `await` outside of any function runs in a coroutine."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = compile(block.code, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    try:
        left = eval(code, names)  # noqa: S307 - our own pages
        if left is not None:
            asyncio.run(left)
    except SystemExit as end:
        return end.code
    return None


@contextlib.contextmanager
def _official_sdk_at(ecs: EcsEmulator) -> Iterator[None]:
    """Lead the official SDK, which knows no environment variable for it, to the emulator."""
    from alibabacloud_ecs20140526.client import Client  # noqa: PLC0415 - it takes a second, and few blocks need it

    make = Client.__init__

    def make_here(client: Any, config: Any) -> None:
        config.endpoint, config.protocol = ecs.url.removeprefix("http://"), "http"
        make(client, config)

    with mock.patch.object(Client, "__init__", make_here):
        yield
