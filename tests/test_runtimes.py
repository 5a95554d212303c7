"""Under trio, gevent or eventlet a wait is refused at once, and the message names what works: here it is proven."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel
from support.helpers import every

from ecs_waiter import EcsClient, TaskWaiter, blocking, wait_for_task, wait_for_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ecs_waiter.emulator import EcsEmulator

POLICY = every(0.02, not_found_grace=0.1)


def _under_trio(work: Callable[[], Awaitable[object]]) -> str:
    """The message of the RuntimeError that awaiting this in a trio program raises."""

    async def main() -> None:
        await work()

    with pytest.raises(RuntimeError) as caught:
        trio.run(main)
    return str(caught.value)


async def _enter_a_waiter() -> None:
    async with TaskWaiter():
        pass


async def _call(method: str, *arguments: Any) -> None:
    async with EcsClient() as client:
        await getattr(client, method)(*arguments)


async def _iterate() -> None:
    async with EcsClient() as client:
        async for _ in client.iter_tasks():
            pass


async def _plain(function: Callable[[], object]) -> None:
    function()


AWAITED: dict[str, Callable[[], Awaitable[object]]] = {
    "wait_for_task": lambda: wait_for_task("t-1"),
    "wait_for_tasks": lambda: wait_for_tasks(["t-1"]),
    "nothing to wait for": lambda: wait_for_tasks([]),
    "async with TaskWaiter": _enter_a_waiter,
    "wait": lambda: TaskWaiter().wait(["t-1"]),
    "run": lambda: TaskWaiter().run("ExportImage"),
    "aclose": lambda: TaskWaiter().aclose(),
    "submit": lambda: _plain(lambda: TaskWaiter().submit("t-1")),
    "updates": lambda: _plain(lambda: TaskWaiter().updates(["t-1"])),
    "as_completed": lambda: _plain(lambda: TaskWaiter().as_completed(["t-1"])),
    "describe_tasks": lambda: _call("describe_tasks"),
    "call": lambda: _call("call", "DescribeRegions"),
    "iter_tasks": _iterate,
}


@pytest.mark.parametrize("work", AWAITED.values(), ids=AWAITED)
def test_awaited_under_trio(ecs_emulator: EcsEmulator, work: Callable[[], Awaitable[object]]) -> None:
    """Under trio everything that is awaited raises a RuntimeError: asyncio is needed, or a thread. No call is made."""
    message = _under_trio(work)
    assert "asyncio" in message
    assert "trio" in message
    assert "trio.to_thread.run_sync(ecs_waiter.blocking.wait_for_tasks" in message
    assert ecs_emulator.requests == []


@pytest.mark.parametrize("wait", [blocking.wait_for_task, blocking.wait_for_tasks])
def test_blocking_under_trio(ecs_emulator: EcsEmulator, wait: Callable[[Any], object]) -> None:
    """The blocking functions do not block a trio program: they raise and name the way to a thread."""
    message = _under_trio(lambda: _plain(lambda: wait("t-1")))
    assert "trio.to_thread.run_sync" in message
    assert ecs_emulator.requests == []


def test_a_thread_of_trio(ecs_emulator: EcsEmulator) -> None:
    """What the messages recommend works: a thread of trio waits by the blocking functions."""
    ids = [ecs_emulator.add_task(duration=0.1) for _ in range(2)]

    async def main() -> object:
        return await trio.to_thread.run_sync(lambda: blocking.wait_for_tasks(ids, policy=POLICY))

    assert list(trio.run(main)) == ids  # type: ignore[call-overload]


def test_trio_as_a_guest_of_asyncio(ecs_emulator: EcsEmulator) -> None:
    """A trio task on top of an asyncio loop is a trio task, while the asyncio tasks beside it wait as ever."""
    messages: list[str] = []

    async def guest() -> None:
        for work in (lambda: wait_for_task("t-1"), lambda: _plain(lambda: blocking.wait_for_task("t-1"))):
            with pytest.raises(RuntimeError) as caught:
                await work()
            messages.append(str(caught.value))

    async def host() -> object:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=ended.set_result
        )
        task = await wait_for_task(ecs_emulator.add_task(), policy=POLICY)
        (await ended).unwrap()
        return task

    assert asyncio.run(host())
    assert ["trio" in message for message in messages] == [True, True]


def test_no_loop_at_all() -> None:
    """Outside of any event loop the message says what to do."""
    with pytest.raises(RuntimeError, match=r"from a coroutine, or use `ecs_waiter\.blocking`"):
        TaskWaiter().submit("t-1", region_id="cn-hangzhou")


def _run(code: str) -> tuple[str, str]:
    """What a program prints; threads are patched in a process of its own, for the whole of it."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own
    assert run.returncode == 0, run.stderr
    return run.stdout, run.stderr


PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent without threads": "from gevent import monkey; monkey.patch_all(thread=False)",
    "gevent without queues": "from gevent import monkey; monkey.patch_all(queue=False)",
    "gevent, threads alone": "from gevent import monkey; monkey.patch_thread()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "eventlet, threads alone": "import eventlet; eventlet.monkey_patch(all=False, thread=True)",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("is_first", [True, False], ids=["patched first", "imported first"])
def test_patched_threads(ecs_emulator: EcsEmulator, patch: str, is_first: bool) -> None:
    """Where threads are monkey-patched, the first blocking call raises a RuntimeError: who patched, and what to do."""
    library = "gevent" if "gevent" in patch else "eventlet"
    out, _ = _run(f"""
        {patch if is_first else ""}
        from ecs_waiter import blocking
        {patch}
        for wait in (blocking.wait_for_task, blocking.wait_for_tasks) * 2:
            try:
                print(wait("t-1"))
            except RuntimeError as error:
                print(error)
    """)
    lines = out.splitlines()
    assert len(lines) == 4
    assert len(set(lines)) == 1
    assert library in lines[0]
    assert {"gevent": "gevent.get_hub().threadpool", "eventlet": "eventlet.tpool"}[library] in lines[0]
    assert "another process" in lines[0]
    assert ecs_emulator.requests == []


NATIVE = {
    "gevent": """
        from gevent import monkey; monkey.patch_all()
        import gevent
        run, spawn, join = gevent.get_hub().threadpool.apply, gevent.spawn, gevent.joinall
    """,
    "eventlet": """
        import eventlet; eventlet.monkey_patch()
        import eventlet.tpool
        run, spawn = eventlet.tpool.execute, eventlet.spawn
        def join(threads):
            [thread.wait() for thread in threads]
    """,
}


@pytest.mark.parametrize("library", NATIVE)
def test_native_threads(ecs_emulator: EcsEmulator, library: str) -> None:
    """What the message recommends works, again and again: `asyncio.run` in a native thread; green threads go on."""
    ids = [ecs_emulator.add_task(duration=0.3) for _ in range(6)]
    code = f"""
        import asyncio, time
        from tenacity import wait_fixed
        from ecs_waiter import PollPolicy, wait_for_tasks
        ids, turns, statuses = {ids!r}, [], []
        def wait(part):
            def function():
                tasks = asyncio.run(wait_for_tasks(part, policy=PollPolicy(wait=wait_fixed(0.05))))
                statuses.extend(task.task_status for task in tasks.values())
            run(function)
        def turn():
            while len(turns) < 10:
                turns.append(time.sleep(0.01))
        for _ in range(2):
            join([spawn(turn), spawn(wait, ids[:3]), spawn(wait, ids[3:])])
        print(len(turns), len(statuses), *set(statuses))
    """
    assert _run(textwrap.dedent(NATIVE[library]) + textwrap.dedent(code)) == ("10 12 Finished\n", "")


def test_another_process(ecs_emulator: EcsEmulator) -> None:
    """The other recommendation works, too: the command in a process of its own, started by a patched program."""
    task_id = ecs_emulator.add_task()
    out, _ = _run(f"""
        from gevent import monkey; monkey.patch_all()
        import subprocess, sys
        command = [sys.executable, "-m", "ecs_waiter.cli", "wait", "--output", "jsonl", {task_id!r}]
        print(subprocess.run(command, capture_output=True, text=True).stdout)
    """)
    assert '"outcome": "finished"' in out


def test_unpatched_threads(ecs_emulator: EcsEmulator) -> None:
    """Waits work if gevent and eventlet are imported but patch nothing."""
    task_id = ecs_emulator.add_task()
    out, _ = _run(f"""
        import gevent.monkey, eventlet.patcher
        from ecs_waiter.blocking import wait_for_task
        print(*(wait_for_task({task_id!r}).task_status for _ in range(3)))
    """)
    assert out == "Finished Finished Finished\n"


def test_nothing_of_them_is_imported() -> None:
    """The library imports neither of these libraries to find out whether it runs."""
    out, _ = _run("""
        import sys
        from ecs_waiter import blocking
        try:
            blocking.wait_for_task("")
        except ValueError:
            print(*({"trio", "sniffio", "gevent", "eventlet", "greenlet"} & sys.modules.keys()))
    """)
    assert out == "\n"
