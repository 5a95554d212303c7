"""Host names that do not resolve, or not in time: they hold up nothing but their own region."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from typing import Any

import pytest

from ecs_waiter import EcsClient, PollPolicy, ServiceUnavailableError, StaticCredentials, TaskWaiter
from ecs_waiter.api import resolver as resolver_module
from ecs_waiter.api.daemons import DaemonCalls
from ecs_waiter.api.resolver import Resolver
from ecs_waiter.api.transport import new_connector
from ecs_waiter.emulator import EcsEmulator
from ecs_waiter.testing.virtual_time import virtual_time

LOOKUP = socket.getaddrinfo
CREDENTIALS = StaticCredentials("example-key-id", "example-key-secret")
REGION = "cn-hangzhou"
PATIENCE = 60
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class Names:
    """The name service of the machine: a list of what it says of any name, the last of it again and again.

    A lock means that it says nothing until the lock is released, and then the next.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.threads: set[threading.Thread] = set()
        self.says: list[str | Exception | threading.Lock] = ["127.0.0.1"]

    async def is_asked(self) -> None:
        """Wait until it has been asked for something."""
        while not self.asked:  # noqa: ASYNC110 - it is asked in a thread
            await asyncio.sleep(0)

    def look_up(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        """Stand in for `socket.getaddrinfo`."""
        self.asked[host] += 1
        self.threads.add(threading.current_thread())
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        if not isinstance(said, str):
            with said:
                return self.look_up(host, port, *arguments, **options)
        return LOOKUP(said, port, *arguments, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """The name service of this test, which remembers nothing of the tests before."""
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    monkeypatch.setattr(resolver_module, "_look_ups", DaemonCalls("resolver"))
    monkeypatch.setattr(resolver_module, "_failures", {})
    return names


def run_program(code: str, *, stderr: int | None = None) -> list[str]:
    """What a program prints that ends by itself, with names below `.hangs.example` that never resolve.

    It prints nothing on stderr, unless that goes elsewhere.
    """
    head = """
    import asyncio, socket, sys, threading
    from ecs_waiter import *
    from ecs_waiter.emulator import EcsEmulator

    lookup, hung = socket.getaddrinfo, threading.Semaphore(0)

    def getaddrinfo(host, *arguments, **options):
        if host.endswith(".hangs.example"):
            hung.release()
            threading.Event().wait()
        return lookup(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo
    CREDENTIALS = StaticCredentials("example-key-id", "example-key-secret")

    def wait(url, **options):
        return wait_for_task("t-1", region_id="cn-hangzhou", credentials=CREDENTIALS, endpoint=url, **options)

    async def hang(count):
        waits = [asyncio.create_task(wait(f"https://n{number}.hangs.example")) for number in range(count)]
        for _ in range(count):
            while not hung.acquire(blocking=False):
                await asyncio.sleep(0.01)
        return waits
    """
    program = textwrap.dedent(head) + textwrap.dedent(code)
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if stderr is None else stderr,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stderr if stderr is None else "", done.returncode) == ("", 0)
    return done.stdout.split()


def test_hanging_names_hold_up_nothing_else() -> None:
    """While the names of forty hosts hang, other waits go on, the program's own threads run, and the program ends."""
    code = """
    async def main():
        waits = await hang(40)
        print(await asyncio.to_thread(lambda: "threads"))
        async with EcsEmulator() as ecs:
            ecs.add_task(task_id="t-1")
            print((await wait(ecs.url)).task_status)
        print(sum(wait.done() for wait in waits))

    asyncio.run(main())
    print("ended")
    """
    assert run_program(code) == ["threads", "Finished", "0", "ended"]


def test_a_program_ends_while_names_hang() -> None:
    """Neither a deadline nor the end of the loop or of the interpreter waits for them."""
    code = """
    async def main():
        waits = await hang(10)
        try:
            await wait("https://last.hangs.example", timeout=0.1)
        except WaitTimeoutError:
            print("timeout")

    asyncio.run(main())
    print("ended")
    """
    assert run_program(code) == ["timeout", "ended"]


def test_blocking_waits_end_while_names_hang() -> None:
    """The blocking API reports the deadline, and its thread keeps no program from ending."""
    code = """
    from ecs_waiter import blocking

    try:
        blocking.wait_for_task("t-1", region_id="cn-hangzhou", credentials=CREDENTIALS, timeout=0.1,
                               endpoint="https://n.hangs.example")
    except WaitTimeoutError:
        print("timeout")
    """
    assert run_program(code) == ["timeout"]


@pytest.mark.parametrize(("ending", "code"), [("deadline", 124), ("SIGINT", 130)])
def test_the_command_ends_while_names_hang(ending: str, code: int) -> None:
    """A deadline and Ctrl-C end the command with its usual exit codes, without a traceback."""
    program = f"""
    import os, signal
    from ecs_waiter.cli import main

    os.environ["ECS_WAITER_ENDPOINT"] = "https://n.hangs.example"
    os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "example"

    def interrupt():
        hung.acquire()
        os.kill(os.getpid(), signal.SIGINT)

    deadline = "0.3s"
    if {ending!r} == "SIGINT":
        threading.Thread(target=interrupt, daemon=True).start()
        deadline = "1h"
    sys.argv = ["ecs-waiter", "wait", "--region", "cn-hangzhou", "--timeout", deadline, "t-1"]
    try:
        sys.exit(main())
    except SystemExit as end:
        print("ended", end.code)
    """
    output = run_program(program, stderr=subprocess.STDOUT)
    assert {"ended", str(code)} <= set(output)
    assert "Traceback" not in output


@pytest.mark.asyncio
async def test_connections_share_a_look_up(names: Names) -> None:
    """Calls of several sessions at once look a name up once, in a thread that nobody waits for."""
    gate = threading.Lock()
    gate.acquire()
    names.says = [gate, "127.0.0.1"]
    resolvers = [Resolver() for _ in range(5)]
    asked = [asyncio.create_task(each.resolve("a.example", 80)) for each in resolvers]
    await names.is_asked()
    asked[0].cancel()
    gate.release()
    first, *others = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert all(isinstance(found, list) and found[0]["host"] == "127.0.0.1" for found in others)
    # The gate asked for itself.
    assert names.asked["a.example"] == 2
    assert all(thread.daemon for thread in names.threads)


def test_loops_share_a_look_up(names: Names) -> None:
    """So do calls of several event loops."""
    gate = threading.Lock()
    gate.acquire()
    names.says = [gate, "127.0.0.1"]
    loops = threading.Barrier(3)

    async def resolve() -> None:
        asking = asyncio.ensure_future(Resolver().resolve("a.example", 80))
        await asyncio.sleep(0)
        await asyncio.to_thread(loops.wait, PATIENCE)
        await asking

    threads = [threading.Thread(target=asyncio.run, args=(resolve(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    loops.wait(PATIENCE)
    gate.release()
    for thread in threads:
        thread.join()
    assert names.asked["a.example"] == 2


def test_a_failure_counts_for_a_second(names: Names) -> None:
    """A name that was not found is asked for again a second later, and not before."""
    names.says = [NO_SUCH_NAME, OSError("another failure"), "127.0.0.1"]

    async def main() -> None:
        resolver = Resolver()
        errors = []
        for _ in range(3):
            with pytest.raises(socket.gaierror) as caught:
                await resolver.resolve("a.example", 80)
            errors.append(caught.value)
            await asyncio.sleep(0.3)
        assert len(set(map(id, errors))) == 3
        assert names.asked["a.example"] == 1
        await asyncio.sleep(0.2)
        with pytest.raises(OSError, match="another failure"):
            await resolver.resolve("a.example", 80)
        await asyncio.sleep(1)
        assert (await resolver.resolve("a.example", 80))[0]["host"] == "127.0.0.1"
        assert names.asked["a.example"] == 3

    with virtual_time():
        asyncio.run(main())


def test_failures_of_names_are_forgotten(names: Names) -> None:
    """What is remembered of names that failed does not grow."""
    names.says = [NO_SUCH_NAME]

    async def main() -> None:
        for number in range(50):
            with pytest.raises(socket.gaierror):
                await Resolver().resolve(f"n{number}.example", 80)
            await asyncio.sleep(1)

    with virtual_time():
        asyncio.run(main())
    assert len(resolver_module._failures) == 1


TROUBLE = [NO_SUCH_NAME, OSError(24, "Too many open files"), RuntimeError("x"), MemoryError(), KeyError("x")]


@pytest.mark.parametrize("error", TROUBLE, ids=[type(error).__name__ for error in TROUBLE])
@pytest.mark.asyncio
async def test_a_failing_name_is_a_fault(names: Names, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a look-up raises, the call is made again, and nothing was sent."""
    monkeypatch.setattr(resolver_module, "_FAILURE_COUNTS", 0.0)
    async with EcsEmulator() as ecs:
        task_id = ecs.add_task()
        url = ecs.url.replace("127.0.0.1", "localhost")
        names.says = [error]
        async with EcsClient(CREDENTIALS, url, PollPolicy(outage_budget=0)) as client:
            with pytest.raises(ServiceUnavailableError) as caught:
                await client.describe_tasks(region_id=REGION)
        assert not caught.value.sent
        # `localhost` is looked up in another way if it is not found.
        names.says = [error, *([error] if error is NO_SUCH_NAME else []), "127.0.0.1"]
        async with TaskWaiter(CREDENTIALS, url) as waiter:
            assert (await waiter.wait([task_id], region_id=REGION))[task_id].task_status == "Finished"
            assert waiter.stats.regions[REGION].retried == 1


@pytest.mark.asyncio
async def test_a_thread_that_cannot_start_is_a_fault(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without room for a thread looks the name up at the next try, and hangs in none."""
    start = threading.Thread.start
    failing = 1

    def fail_first(thread: threading.Thread) -> None:
        nonlocal failing
        if failing and thread.name.startswith("ecs_waiter-resolver"):
            failing -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_first)
    async with EcsEmulator() as ecs:
        task_id = ecs.add_task()
        async with TaskWaiter(CREDENTIALS, ecs.url.replace("127.0.0.1", "localhost")) as waiter:
            assert (await waiter.wait([task_id], region_id=REGION))[task_id].task_status == "Finished"
            assert waiter.stats.regions[REGION].retried == 1


ADDRESSES: list[tuple[Any, ...]] = [
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 80, 0, 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)),
    (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (b"\0", 80)),
]


@pytest.mark.asyncio
async def test_addresses_of_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6 and IPv4 are returned in the order of the system; what a Python without IPv6 returns is left out."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: ADDRESSES)
    found = await Resolver().resolve("both.example", 80, socket.AF_UNSPEC)
    assert [(each["family"], each["host"], each["port"]) for each in found] == [
        (socket.AF_INET6, "::1", 80),
        (socket.AF_INET, "127.0.0.1", 80),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: ADDRESSES[2:])
    with pytest.raises(OSError, match=r"no usable address of none\.example"):
        await Resolver().resolve("none.example", 80, socket.AF_UNSPEC)


@pytest.mark.asyncio
async def test_a_link_local_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is good on one network card only keeps the card's name."""
    index, card = socket.if_nameindex()[0]
    address = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, index))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [address])
    found = await Resolver().resolve("card.example", 80, socket.AF_UNSPEC)
    assert [(each["host"], each["port"]) for each in found] == [(f"fe80::1%{card}", 80)]


@pytest.mark.asyncio
async def test_this_machine_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost` resolves even where no address is configured."""

    def offline(host: Any, port: Any, family: Any, kind: Any, _protocol: int = 0, flags: int = 0) -> Any:
        if flags & socket.AI_ADDRCONFIG:
            raise NO_SUCH_NAME
        return LOOKUP(host, port, socket.AF_INET, kind)

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    assert [each["host"] for each in await Resolver().resolve("localhost", 80)] == ["127.0.0.1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_looks_names_up_itself() -> None:
    """A look-up that the parent has under way is not one of the child's."""
    code = """
    import os
    from ecs_waiter.api.resolver import Resolver

    def fork():
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        socket.getaddrinfo = lambda host, *arguments: lookup("127.0.0.1", *arguments)
        try:
            asyncio.run(Resolver().resolve("n0.hangs.example", 443))
            os._exit(7)
        finally:
            os._exit(1)

    async def main():
        waits = await hang(1)
        print(await asyncio.to_thread(fork))

    asyncio.run(main())
    """
    assert run_program(code) == ["7"]


@pytest.mark.parametrize("force_close", [False, True])
@pytest.mark.asyncio
async def test_sessions_of_our_own_use_it(names: Names, force_close: bool) -> None:
    """Both of them resolve names like this, and remember for ten seconds what was found."""
    connector = new_connector(force_close=force_close)
    try:
        for _ in range(2):
            await connector._resolve_host("a.example", 80)  # type: ignore[attr-defined]
    finally:
        await connector.close()
    assert names.asked == {"a.example": 1}
    assert [thread.name for thread in names.threads] == ["ecs_waiter-resolver"]
