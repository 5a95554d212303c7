"""The pytest plugin: `ecs_emulator` on loopback, `virtual_ecs` in memory and on virtual time.

Every test run loads it wherever this package is installed, so heavy imports wait until a test uses a fixture. Both
fixtures are synchronous, so they work in plain tests, under pytest-asyncio in either mode and under anyio's plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_waiter.emulator import EcsEmulator

_REGION = "cn-hangzhou"


def _point_at(patch: pytest.MonkeyPatch, url: str) -> None:
    """Provide endpoint, credentials and region through the environment."""
    patch.setenv("ECS_WAITER_ENDPOINT", url)
    patch.setenv("ALIBABA_CLOUD_REGION_ID", _REGION)
    patch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "emulator-key-id")
    patch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "emulator-key-secret")
    patch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    patch.delenv("ALIBABA_CLOUD_SECURITY_TOKEN", raising=False)


@pytest.fixture
def ecs_emulator() -> Iterator[EcsEmulator]:
    """An emulator that listens on loopback during the test, in its own thread."""
    from ecs_waiter.testing.background import serve  # noqa: PLC0415 - see the module's docstring

    with serve() as ecs, pytest.MonkeyPatch.context() as patch:
        _point_at(patch, ecs.url)
        yield ecs


@pytest.fixture
def virtual_ecs() -> Iterator[EcsEmulator]:
    """An emulator in memory; every event loop that this thread runs during the test is on virtual time."""
    from ecs_waiter.testing.virtual import virtual  # noqa: PLC0415 - see the module's docstring

    with virtual() as ecs, pytest.MonkeyPatch.context() as patch:
        _point_at(patch, ecs.url)
        yield ecs
