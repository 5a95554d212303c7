"""The blocking face: threads share one background loop and its calls, and each keeps its own wait in hand."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.helpers import every

from ecs_waiter import (
    Credentials,
    EcsWaiterError,
    PollPolicy,
    Task,
    TaskFailedError,
    TaskNotFoundError,
    TasksFailedError,
    WaitTimeoutError,
    blocking,
)
from ecs_waiter.blocking import wait_for_task, wait_for_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecs_waiter.emulator import EcsEmulator

# Real time passes here, so little of it is asked for.
SOON = every(0.02, not_found_grace=0.1, outage_budget=0.2)


def _set(**arguments: Any) -> Any:
    """Arguments that the type checker would refuse."""
    return arguments


def _in_threads(work: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=30) for future in [pool.submit(each) for each in work]]


def _within(work: Callable[[], Any]) -> Any:
    """What it returns or raises, in a thread that is given up if it hangs."""
    done: list[Any] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - it is what is looked at
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert done, "it hangs"
    return done[0]


def test_one(ecs_emulator: EcsEmulator) -> None:
    """A plain function waits for a task and returns it."""
    task_id = ecs_emulator.add_task(duration=0.05)
    task = wait_for_task(task_id, region_id="cn-hangzhou", policy=SOON)
    assert (task.task_id, task.task_status) == (task_id, "Finished")


def test_many(ecs_emulator: EcsEmulator) -> None:
    """Lists, generators and mappings are taken, and results come in the order asked."""
    ids = [ecs_emulator.add_task() for _ in range(5)]
    away = ecs_emulator.add_task(region_id="us-west-1")
    assert list(wait_for_tasks(reversed(ids), policy=SOON)) == ids[::-1]
    assert list(wait_for_tasks({"us-west-1": [away], "cn-hangzhou": ids}, policy=SOON)) == [away, *ids]
    assert wait_for_tasks([]) == {}


def test_threads_share_calls(ecs_emulator: EcsEmulator) -> None:
    """Fifty threads that each wait for their own task share their calls."""
    ids = [ecs_emulator.add_task(duration=0.4) for _ in range(50)]
    policy = every(0.1)
    tasks = _in_threads([partial(wait_for_task, task_id, policy=policy) for task_id in ids])
    assert [task.task_id for task in tasks] == ids
    # One poll a task would be fifty calls at the very first look.
    assert len(ecs_emulator.requests) < 50
    assert max(len(request.task_ids) for request in ecs_emulator.requests) > 25


def test_errors(ecs_emulator: EcsEmulator) -> None:
    """Errors are those of the awaited face."""
    failed = ecs_emulator.add_task(outcome="Failed", error=("C", "why"))
    running = ecs_emulator.add_task(duration=1000)
    with pytest.raises(TaskFailedError, match="C: why"):
        wait_for_task(failed, policy=SOON)
    with pytest.raises(TaskNotFoundError):
        wait_for_task("t-unknown", policy=SOON)
    with pytest.raises(WaitTimeoutError) as timeout:
        wait_for_tasks([running], policy=SOON, timeout=0.05)
    assert timeout.value.pending == (running,)
    with pytest.raises(TasksFailedError):
        wait_for_tasks([failed, running], policy=SOON, fail_fast=True)
    results = wait_for_tasks([failed], policy=SOON, return_exceptions=True)
    assert isinstance(results[failed], EcsWaiterError)


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (lambda: wait_for_tasks("t-1"), TypeError),
        (lambda: wait_for_task(""), ValueError),
        (lambda: wait_for_task("t-1", timeout=-1), ValueError),
        (lambda: wait_for_task("t-1", region_id="evil.example/"), ValueError),
        (lambda: wait_for_tasks(["t-1"], fail_fast=True, return_exceptions=True), ValueError),
        (partial(wait_for_task, "t-1", **_set(on_update=5)), TypeError),
        (partial(wait_for_task, "t-1", **_set(on_update=asyncio.sleep)), TypeError),
        (partial(wait_for_task, "t-1", **_set(session=None)), TypeError),
    ],
)
def test_misuse(ecs_emulator: EcsEmulator, work: Callable[[], Any], error: type[Exception]) -> None:
    """Misuse is told before any call, a session included, which would belong to another loop."""
    with pytest.raises(error):
        work()
    assert ecs_emulator.requests == []


@pytest.mark.parametrize("face", [wait_for_task, wait_for_tasks])
@pytest.mark.asyncio
async def test_inside_a_running_loop(face: Callable[..., Any]) -> None:
    """From inside a running loop it raises at once, and says to await."""
    with pytest.raises(RuntimeError, match="await"):
        face(["t-1"])


def test_from_a_worker_thread_of_a_loop(ecs_emulator: EcsEmulator) -> None:
    """A thread that a loop started may block."""
    task_id = ecs_emulator.add_task()
    assert asyncio.run(asyncio.to_thread(wait_for_task, task_id, policy=SOON)).task_id == task_id


def test_updates_come_in_the_callers_thread(ecs_emulator: EcsEmulator) -> None:
    """`on_update` is called in the thread that waits."""
    seen: list[tuple[str, int]] = []

    def note(task: Task) -> None:
        seen.append((task.task_status, threading.get_ident()))

    wait_for_task(ecs_emulator.add_task(duration=0.1), policy=SOON, on_update=note)
    assert seen == [("Processing", threading.get_ident()), ("Finished", threading.get_ident())]


def test_an_update_may_wait_itself(ecs_emulator: EcsEmulator) -> None:
    """`on_update` may block on another wait."""
    other = ecs_emulator.add_task(duration=0.1)
    found: list[Task] = []

    def note(_task: Task) -> None:
        found.append(wait_for_task(other, policy=SOON))

    _within(lambda: wait_for_task(ecs_emulator.add_task(duration=0.05), policy=SOON, on_update=note))
    assert {task.task_id for task in found} == {other}


def test_an_update_that_raises(ecs_emulator: EcsEmulator) -> None:
    """What `on_update` raises is raised from that wait and no other."""
    task_id = ecs_emulator.add_task(duration=0.2)

    def fail(_task: Task) -> None:
        raise KeyError(task_id)

    def failing() -> Any:
        with pytest.raises(KeyError):
            wait_for_task(task_id, policy=SOON, on_update=fail)

    assert _in_threads([failing, lambda: wait_for_task(task_id, policy=SOON)])[1].task_id == task_id


@pytest.mark.skipif(sys.platform == "win32", reason="it sends the process a signal")
def test_keyboard_interrupt(ecs_emulator: EcsEmulator) -> None:
    """Ctrl-C ends the wait, takes its task off the schedule, and others can go on waiting."""
    task_id = ecs_emulator.add_task(duration=1000)
    other = ecs_emulator.add_task(duration=0.1)

    def interrupt() -> None:
        while not ecs_emulator.requests:
            threading.Event().wait(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    killer = threading.Thread(target=interrupt)
    # A run in the background may have been started with SIGINT ignored.
    before_us = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        killer.start()
        with pytest.raises(KeyboardInterrupt):
            wait_for_task(task_id, timeout=30, policy=SOON)
        killer.join()
    finally:
        signal.signal(signal.SIGINT, before_us)
    assert wait_for_task(other, policy=SOON).task_id == other
    # The wait leaves in the background, while the first of the others may still be under way.
    before = len(ecs_emulator.requests)
    last = ecs_emulator.add_task(duration=0.1)
    assert wait_for_task(last, policy=SOON).task_id == last
    assert not any(task_id in request.task_ids for request in ecs_emulator.requests[before:])


def _ids_that_exit() -> Iterator[str]:
    yield "t-1"
    raise SystemExit(4)


def _exit(_state: object) -> float:
    raise SystemExit(4)


class Exiting:
    """A provider that ends the program."""

    async def get_credentials(self) -> Credentials:
        """Raise what asyncio lets through."""
        raise SystemExit(4)


@pytest.mark.parametrize(
    "work",
    [
        lambda: wait_for_tasks(_ids_that_exit(), policy=SOON),
        lambda: wait_for_task("t-1", policy=SOON, credentials=Exiting()),
        lambda: wait_for_task("t-1", policy=PollPolicy(wait=_exit, not_found_grace=0.1)),
    ],
    ids=["ids", "provider", "strategy"],
)
def test_the_background_loop_outlives_an_exit(ecs_emulator: EcsEmulator, work: Callable[[], Any]) -> None:
    """What asyncio lets through its loop ends the wait it came from, and the background loop goes on for others."""
    assert isinstance(_within(work), SystemExit | EcsWaiterError)
    task_id = ecs_emulator.add_task()
    assert _within(lambda: wait_for_task(task_id, policy=SOON)).task_id == task_id


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork(ecs_emulator: EcsEmulator) -> None:
    """A forked process waits by a background loop of its own, though its parent was waiting, and asking the chain."""
    code = f"""
        import os, signal, threading, time
        from ecs_waiter import PollPolicy, blocking
        from ecs_waiter.api.official_chain import OfficialChain
        asking = threading.Event()
        def fetch(chain):
            asking.set()
            time.sleep(0.3)
            return "example-key-id", "example-key-secret", None
        OfficialChain.fetch = fetch
        policy = PollPolicy(wait=lambda _: 0.02)
        ids = {[ecs_emulator.add_task(duration=0.2) for _ in range(2)]!r}
        parent = threading.Thread(target=blocking.wait_for_task, args=ids[:1], kwargs=dict(policy=policy))
        parent.start()
        asking.wait(5)
        child = os.fork()
        if not child:
            signal.alarm(10)
            os._exit(blocking.wait_for_task(ids[1], policy=policy).task_status != "Finished")
        parent.join()
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    keys = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    environment = {name: value for name, value in os.environ.items() if name not in keys}
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    assert (run.returncode, run.stderr) == (0, "")


def _no_more_threads(refusals: int) -> str:
    """Code that lets so many background threads of ours fail to start, as a full process or its end does."""
    return f"""
        import threading
        refused, start = [], threading.Thread.start
        def refuse(thread):
            if thread.name == "ecs_waiter" and len(refused) < {refusals}:
                refused.append(thread)
                raise RuntimeError("can't start new thread")
            start(thread)
        threading.Thread.start = refuse
    """


def _program(*parts: str) -> subprocess.CompletedProcess[str]:
    code = "".join(map(textwrap.dedent, parts))
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603


def test_a_thread_that_cannot_start(ecs_emulator: EcsEmulator) -> None:
    """A wait whose background thread cannot start raises at once, and the next wait starts it."""
    waits = f"""
        from ecs_waiter import blocking
        for _ in range(3):
            try:
                print(blocking.wait_for_task({ecs_emulator.add_task()!r}, timeout=10).task_status)
            except RuntimeError as error:
                print(error)
    """
    run = _program(_no_more_threads(2), waits)
    *refusals, last = run.stdout.splitlines()
    assert (run.returncode, run.stderr, last) == (0, "", "Finished")
    assert len(refusals) == 2
    assert all("can't start new thread" in words and "call again" in words for words in refusals)


def test_a_wait_at_exit(ecs_emulator: EcsEmulator) -> None:
    """In `atexit`, where no thread starts any more, a wait without a timeout raises at once and the program ends."""
    waits = f"""
        import atexit
        from ecs_waiter import blocking
        def wait():
            try:
                blocking.wait_for_tasks([{ecs_emulator.add_task()!r}])
            except RuntimeError as error:
                print(error)
        atexit.register(wait)
    """
    run = _program(_no_more_threads(1000), waits)
    assert (run.returncode, run.stderr) == (0, "")
    assert "before the main thread ends" in run.stdout


def test_a_program_ends_with_a_wait_under_way(ecs_emulator: EcsEmulator) -> None:
    """A program whose main thread is done ends, though a daemon thread still waits, and prints nothing."""
    code = f"""
        import threading, time
        from ecs_waiter import blocking
        blocking.wait_for_task({ecs_emulator.add_task()!r})
        threading.Thread(target=blocking.wait_for_task, args=({ecs_emulator.add_task(duration=1000)!r},), daemon=True).start()
        time.sleep(0.1)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_one_background_thread(ecs_emulator: EcsEmulator) -> None:
    """However many wait, there is one thread of ours behind them, and it holds no program up."""
    ids = [ecs_emulator.add_task(duration=0.1) for _ in range(10)]
    _in_threads([partial(wait_for_task, task_id, policy=SOON) for task_id in ids])
    ours = [thread for thread in threading.enumerate() if thread.name == "ecs_waiter"]
    assert len(ours) == 1
    assert ours[0].daemon


def test_ids_are_read_in_the_calling_thread(ecs_emulator: EcsEmulator) -> None:
    """An iterable belongs to its caller: the background loop does not run it."""
    task_id = ecs_emulator.add_task()
    read_in: list[threading.Thread] = []

    def ids() -> Iterator[str]:
        read_in.append(threading.current_thread())
        yield task_id

    wait_for_tasks(ids(), policy=SOON)
    wait_for_tasks({"cn-hangzhou": ids()}, policy=SOON)
    assert read_in == [threading.current_thread()] * 2


def test_iterators(ecs_emulator: EcsEmulator) -> None:
    """The iterators give what the awaited ones give, in the calling thread."""
    ids = [ecs_emulator.add_task(duration=0.05), ecs_emulator.add_task(outcome="Failed", error=("C", "why"))]
    given = list(blocking.events(ids, policy=SOON))
    assert sorted(event.task_id for event in given if event.final) == sorted(ids)
    outcomes = list(blocking.as_completed((task_id for task_id in ids), policy=SOON))
    assert {type(outcome) for outcome in outcomes} == {Task, TaskFailedError}
    assert {task.task_status for task in blocking.updates(ids, policy=SOON)} == {"Finished", "Failed"}


@pytest.mark.parametrize("name", ["events", "as_completed", "updates"])
def test_what_an_iterator_raises(ecs_emulator: EcsEmulator, name: str) -> None:
    """Misuse raises where the iterator is made, a deadline where it is read."""
    iterate = getattr(blocking, name)
    with pytest.raises(ValueError, match="comma"):
        iterate(["a,b"])
    iteration = iterate([ecs_emulator.add_task(duration=1000)], timeout=0.2, policy=SOON)
    with pytest.raises(WaitTimeoutError):
        list(iteration)


def test_an_iterator_that_is_left(ecs_emulator: EcsEmulator) -> None:
    """Who leaves an iteration early leaves the rest unpolled."""
    task_id = ecs_emulator.add_task(duration=1000)
    for _event in blocking.events([task_id], policy=SOON):
        break
    time.sleep(0.2)
    calls = len(ecs_emulator.requests)
    time.sleep(0.2)
    assert len(ecs_emulator.requests) == calls


def test_starting_and_canceling(ecs_emulator: EcsEmulator) -> None:
    """A start returns the IDs, `run` waits, too, and `cancel_task` says whether it came in time."""
    ecs_emulator.plan("ImportImage", duration=1000)
    started = blocking.start("ImportImage", params={"ImageName": "a"}, policy=SOON)
    assert started.task_id is not None
    assert blocking.cancel_task(started.task_id) is True
    assert blocking.cancel_task(started.task_id) is False
    seen: list[tuple[str, threading.Thread]] = []
    task = blocking.run(
        "RedeployInstance",
        params={"InstanceId": "i-1"},
        policy=SOON,
        on_update=lambda task: seen.append((task.task_status, threading.current_thread())),
    )
    assert task.task_status == "Finished"
    assert seen[-1] == ("Finished", threading.current_thread())


def test_an_iterator_left_at_the_end_of_the_program(ecs_emulator: EcsEmulator) -> None:
    """A program whose iteration is left open ends, and prints nothing."""
    code = f"""
        from ecs_waiter import blocking
        iteration = blocking.events([{ecs_emulator.add_task(duration=1000)!r}])
        next(iteration)
    """
    run = _program(code)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
