"""The thread of the emulator on loopback hands every error to the test that uses it."""

from __future__ import annotations

from unittest import mock

import pytest

from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.testing import background

_ERRORS = pytest.mark.parametrize(
    "error", [OSError("no port"), ValueError("no"), MemoryError(), KeyboardInterrupt(), SystemExit(3)], ids=repr
)


@_ERRORS
def test_an_error_at_the_start_reaches_the_test(error: BaseException) -> None:
    """Whatever keeps the emulator from starting is raised to the caller."""
    broken = mock.Mock(side_effect=error)
    with mock.patch.object(background, "EcsEmulator", broken), pytest.raises(type(error)) as caught:
        background.serve().__enter__()
    assert caught.value is error


@_ERRORS
def test_an_error_at_the_end_reaches_the_test(error: BaseException) -> None:
    """Whatever goes wrong as the emulator stops is raised when the block ends."""

    class Broken(EcsEmulator):
        async def __aexit__(self, *args: object) -> None:
            await super().__aexit__(None, None, None)
            raise error

    with mock.patch.object(background, "EcsEmulator", Broken), pytest.raises(type(error)) as caught:  # noqa: SIM117
        with background.serve() as ecs:
            assert ecs.url.startswith("http://127.0.0.1:")
    assert caught.value is error
