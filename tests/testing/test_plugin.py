"""The pytest plugin works with each async plugin, beside others, and costs nothing where it is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

_SCOPE = ["-o", "asyncio_default_fixture_loop_scope=function"]

_BODY = """
import asyncio, os
import pytest
from ecs_waiter import TaskFailedError, wait_for_task

async def lives(ecs):
    loop = asyncio.get_running_loop()
    began = loop.time()
    task_id = ecs.add_task(duration=3600, outcome="Failed", error=("Bad", "luck"))
    with pytest.raises(TaskFailedError, match="Bad: luck"):
        await wait_for_task(task_id)
    assert 3600 <= loop.time() - began <= 3640
    assert {request.answered for request in ecs.requests} == {200}
"""
_STRICT = """
@pytest.mark.asyncio
async def test_strict(virtual_ecs):
    await lives(virtual_ecs)

@pytest.mark.asyncio(loop_scope="module")
async def test_shared_loop_is_virtual(virtual_ecs):
    await lives(virtual_ecs)

@pytest.mark.asyncio(loop_scope="module")
async def test_shared_loop_is_real_again():
    assert "time" not in vars(asyncio.get_running_loop())
"""
_AUTO = """
@pytest.fixture
async def started(virtual_ecs):
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(1000)
    yield began

async def test_auto(virtual_ecs, started):
    assert asyncio.get_running_loop().time() - started == 1000
    await lives(virtual_ecs)
"""
_ANYIO = """
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def started(virtual_ecs):
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(1000)
    yield began

async def test_anyio(virtual_ecs, started):
    assert asyncio.get_running_loop().time() - started == 1000
    await lives(virtual_ecs)
"""
_PLAIN = """
def test_plain(virtual_ecs):
    asyncio.run(lives(virtual_ecs))

def test_environment_is_provided(virtual_ecs):
    assert os.environ["ECS_WAITER_ENDPOINT"] == virtual_ecs.url
    assert os.environ["ALIBABA_CLOUD_REGION_ID"] == "cn-hangzhou"
    assert "ALIBABA_CLOUD_SECURITY_TOKEN" not in os.environ

def test_environment_is_as_it_was():
    assert os.environ.get("ALIBABA_CLOUD_SECURITY_TOKEN") == "of the developer"
    assert "ECS_WAITER_ENDPOINT" not in os.environ
"""
_LOOPBACK = """
@pytest.mark.asyncio
async def test_in_a_loop(ecs_emulator):
    task_id = ecs_emulator.add_task()
    task = await wait_for_task(task_id)
    assert task.task_status == "Finished"
    assert ecs_emulator.requests[0].task_ids == (task_id,)

def test_without_a_loop(ecs_emulator):
    from ecs_waiter import blocking
    task = blocking.wait_for_task(ecs_emulator.add_task())
    assert task.task_status == "Finished"
"""


@pytest.fixture(autouse=True)
def _developers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "of the developer")
    monkeypatch.delenv("ECS_WAITER_ENDPOINT", raising=False)


@pytest.mark.parametrize(
    ("code", "passed", "options"),
    [
        (_STRICT, 3, ["-o", "asyncio_mode=strict"]),
        (_AUTO, 1, ["-o", "asyncio_mode=auto"]),
        (_ANYIO, 1, ["-o", "asyncio_mode=strict"]),
        (_ANYIO, 1, ["-o", "asyncio_mode=auto"]),
        (_PLAIN, 3, []),
        (_LOOPBACK, 2, []),
    ],
    ids=["strict", "auto", "anyio", "anyio beside auto", "plain", "loopback"],
)
def test_beside_each_async_plugin(pytester: pytest.Pytester, code: str, passed: int, options: list[str]) -> None:
    """Tests and their async fixtures run on virtual time under every test runner."""
    pytester.makepyfile(_BODY + code)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *_SCOPE, *options)
    result.assert_outcomes(passed=passed)


def test_beside_xdist(pytester: pytest.Pytester) -> None:
    """Suites that run in parallel keep working."""
    pytester.makepyfile(_BODY + _STRICT + _PLAIN)
    result = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider", *_SCOPE)
    result.assert_outcomes(passed=6)


def test_costs_nothing_where_it_is_not_used() -> None:
    """Loading the plugin imports neither aiohttp nor anything else that is heavy."""
    code = """
import sys
import pytest
before = set(sys.modules)
import ecs_waiter.testing.plugin
heavy = {"aiohttp", "asyncio", "pydantic", "tenacity", "ecs_waiter.emulator", "ecs_waiter.api"}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert run.stdout == "[]\n"


def test_waiting_comes_out_the_same_on_every_run(pytester: pytest.Pytester) -> None:
    """Two hours of import, ten minutes of them throttled: the same calls at the same times, run after run."""
    pytester.makepyfile(
        _BODY
        + """
from ecs_waiter import PollPolicy

@pytest.mark.parametrize("run", [1, 2, 3])
def test_two_hours(virtual_ecs, run, record_property):
    async def main():
        start = virtual_ecs.now()
        task_id = virtual_ecs.add_task(duration=7200, outcome="Failed", error=("Bad", "luck"))
        virtual_ecs.inject("throttle", where=lambda request: 1000 <= (request.at - start).total_seconds() < 1600)
        with pytest.raises(TaskFailedError, match="Bad: luck"):
            await wait_for_task(task_id, policy=PollPolicy(outage_budget=900))
        assert 7200 <= (virtual_ecs.now() - start).total_seconds() < 7240

    asyncio.run(main())
    seen.append([(request.at, request.params, request.answered) for request in virtual_ecs.requests])
    assert 400 in {answered for *_, answered in seen[0]}
    assert all(each == seen[0] for each in seen)

seen = []
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *_SCOPE)
    result.assert_outcomes(passed=3)
