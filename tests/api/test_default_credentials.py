"""DefaultCredentials: one fetch serves all who wait, on whatever loop, and none of them stalls."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from ecs_waiter.api.credentials import Credentials, DefaultCredentials
from ecs_waiter.errors import AuthenticationError, EcsWaiterError, ServiceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 30  # seconds until a test that hangs is called failed
SECRET = "S3cr3tK3y/0123456789"


@dataclass
class Chains:
    """Makes chains whose every fetch waits for its turn, and says what `answers` says."""

    answers: list[str | Exception] = field(default_factory=list)
    made: int = 0
    asked: int = 0
    at_once: int = 0
    most_at_once: int = 0
    began: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    may_end: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> Chains:
        """Make one: this very object, for one count of all."""
        self.made += 1
        return self

    def fetch(self) -> tuple[str, str, str | None]:
        """Answer as an official chain would."""
        with self._lock:
            number = self.asked
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.release()
        self.may_end.acquire(timeout=PATIENCE)
        with self._lock:
            self.at_once -= 1
        answer = self.answers[number] if number < len(self.answers) else f"LTAI{number}"
        if isinstance(answer, Exception):
            raise answer
        return answer, SECRET, None

    async def begun(self) -> None:
        """Return once another fetch has begun."""
        assert await asyncio.to_thread(self.began.acquire, timeout=PATIENCE)


class Clock:
    """A clock that stands still until told."""

    now = 1000.0

    def __call__(self) -> float:
        """Tell the time, in seconds."""
        return self.now


@pytest.fixture(autouse=True)
def _no_access_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def chains() -> Chains:
    """Chains whose fetches do not wait, until a test says so."""
    chains = Chains()
    chains.may_end.release(1000)
    return chains


@pytest.fixture
def slow() -> Chains:
    """Chains whose fetches wait until the test releases them."""
    return Chains()


def id_of(credentials: Credentials) -> str:
    """Which answer this is."""
    return credentials.access_key_id


@pytest.mark.asyncio
async def test_concurrent_callers_share_one_fetch(slow: Chains) -> None:
    """A thousand callers at once cost one fetch, and the loop runs on meanwhile."""
    provider = DefaultCredentials(chain=slow)
    callers = [asyncio.create_task(provider.get_credentials()) for _ in range(1000)]
    await slow.begun()
    slow.may_end.release()
    answers = await asyncio.gather(*callers)
    assert {id_of(answer) for answer in answers} == {"LTAI0"}
    assert slow.asked == 1


@pytest.mark.asyncio
async def test_a_canceled_caller_takes_the_fetch_from_no_one(slow: Chains) -> None:
    """Whoever gives up leaves the fetch to the others, be it the one who began it."""
    provider = DefaultCredentials(chain=slow)
    first = asyncio.create_task(provider.get_credentials())
    await slow.begun()
    second = asyncio.create_task(provider.get_credentials())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    slow.may_end.release()
    assert id_of(await second) == "LTAI0"
    assert slow.asked == 1


@pytest.mark.asyncio
async def test_a_fetch_that_all_gave_up_still_counts(slow: Chains) -> None:
    """Its answer is held for the next caller."""
    provider = DefaultCredentials(chain=slow)
    only = asyncio.create_task(provider.get_credentials())
    await slow.begun()
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    slow.may_end.release()
    assert id_of(await provider.get_credentials()) == "LTAI0"
    assert slow.asked == 1


def test_loops_of_many_threads_share_one_fetch(slow: Chains) -> None:
    """The provider belongs to no loop: one that ends early does not harm the others."""
    provider = DefaultCredentials(chain=slow)
    ready = threading.Barrier(9)

    async def ask(*, and_leave: bool) -> Credentials | None:
        caller = asyncio.create_task(provider.get_credentials())
        await asyncio.sleep(0)
        await asyncio.to_thread(ready.wait, PATIENCE)
        if and_leave:
            caller.cancel()
            return None
        return await caller

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(lambda leave: asyncio.run(ask(and_leave=leave)), number < 4) for number in range(8)]
        ready.wait(PATIENCE)
        slow.may_end.release()
        answers = [answer.result(PATIENCE) for answer in asked]
    assert [answer and id_of(answer) for answer in answers] == [None] * 4 + ["LTAI0"] * 4
    assert slow.asked == 1


@pytest.mark.asyncio
async def test_an_answer_is_held_for_a_minute(chains: Chains) -> None:
    """Then the same chain is asked again, for it knows when its token is due."""
    clock = Clock()
    provider = DefaultCredentials(clock=clock, chain=chains)
    held = await provider.get_credentials()
    clock.now += 59.9
    assert await provider.get_credentials() is held
    clock.now += 0.1
    assert id_of(await provider.get_credentials()) == "LTAI1"
    assert (chains.made, chains.asked) == (1, 2)


@pytest.mark.asyncio
async def test_a_held_answer_comes_without_a_pause(chains: Chains) -> None:
    """A hot call does not even let the loop turn."""
    provider = DefaultCredentials(chain=chains)
    held = await provider.get_credentials()
    with pytest.raises(StopIteration) as returned:
        provider.get_credentials().send(None)
    assert returned.value.value is held


@pytest.mark.asyncio
async def test_a_refresh_that_fails_keeps_what_was_held(chains: Chains) -> None:
    """A hiccup of the metadata service does not end waits whose token is good; the chain is kept as well."""
    clock = Clock()
    chains.answers = ["LTAI0", OSError("hiccup"), "LTAI2"]
    provider = DefaultCredentials(clock=clock, chain=chains)
    await provider.get_credentials()
    clock.now += 60
    assert id_of(await provider.get_credentials()) == "LTAI0"
    clock.now += 60
    assert id_of(await provider.get_credentials()) == "LTAI2"
    assert chains.made == 1


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=["thread", "memory"])
@pytest.mark.asyncio
async def test_a_refresh_without_a_thread_keeps_what_was_held(
    chains: Chains, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Credentials that are held stay in use while no thread can be started, and are never reported as rejected."""
    clock = Clock()
    provider = DefaultCredentials(clock=clock, chain=chains)
    held = await provider.get_credentials()
    clock.now += 60
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", Mock(side_effect=error))
        for _ in range(3):
            assert await provider.get_credentials() is held
        provider.forget()
        with pytest.raises(ServiceUnavailableError, match="cannot be fetched now"):
            await provider.get_credentials()
    assert id_of(await provider.get_credentials()) == "LTAI1"


@pytest.mark.asyncio
async def test_a_refresh_that_hangs_keeps_what_was_held(slow: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call waits a little for a refresh, then it and later calls use what is held until the refresh ends."""
    monkeypatch.setattr("ecs_waiter.api.credentials._REFRESH_WITHIN", 0.0)
    clock = Clock()
    slow.may_end.release()
    provider = DefaultCredentials(clock=clock, chain=slow)
    held = await provider.get_credentials()
    await slow.begun()
    clock.now += 60
    assert await provider.get_credentials() is held
    await slow.begun()
    assert await provider.get_credentials() is held
    assert slow.asked == 2
    slow.may_end.release()
    async with asyncio.timeout(PATIENCE):
        while await provider.get_credentials() is held:  # noqa: ASYNC110 - it is fetched in a thread
            await asyncio.sleep(0)
    assert id_of(await provider.get_credentials()) == "LTAI1"


@pytest.mark.asyncio
async def test_a_fault_is_told_as_one(chains: Chains) -> None:
    """A chain that could not ask makes a ServiceUnavailableError, before anything was sent; then it is asked again."""
    chains.answers = [ServiceUnavailableError(None, "down", sent=False), OSError("words of others")]
    provider = DefaultCredentials(chain=chains)
    for words in ("^down$", "^the credentials cannot be fetched now: OSError$"):
        with pytest.raises(ServiceUnavailableError, match=words) as caught:
            await provider.get_credentials()
        assert not caught.value.sent
    assert id_of(await provider.get_credentials()) == "LTAI2"


@pytest.mark.asyncio
async def test_a_clock_that_is_set_back_holds_nothing_for_ever(chains: Chains) -> None:
    """What was held by a clock that is ahead, such as that of another loop, is fetched again."""
    clock = Clock()
    provider = DefaultCredentials(clock=clock, chain=chains)
    await provider.get_credentials()
    clock.now -= 1
    assert id_of(await provider.get_credentials()) == "LTAI1"


@pytest.mark.asyncio
async def test_what_was_forgotten_is_fetched_anew(chains: Chains) -> None:
    """By a new chain, for the old one may remember the token that the service has refused."""
    provider = DefaultCredentials(chain=chains)
    await provider.get_credentials()
    provider.forget()
    assert id_of(await provider.get_credentials()) == "LTAI1"
    assert chains.made == 2


@pytest.mark.asyncio
async def test_what_was_forgotten_is_not_kept_for_a_failing_fetch(chains: Chains) -> None:
    """Once the service has refused it, it is no better than nothing."""
    chains.answers = ["LTAI0", EcsWaiterError("none")]
    provider = DefaultCredentials(chain=chains)
    await provider.get_credentials()
    provider.forget()
    with pytest.raises(AuthenticationError):
        await provider.get_credentials()


@pytest.mark.asyncio
async def test_a_fetch_begun_before_forgetting_does_not_serve_later_calls(slow: Chains) -> None:
    """It answers those who asked before, is not held, and the next fetch begins after it has ended."""
    provider = DefaultCredentials(chain=slow)
    before = asyncio.create_task(provider.get_credentials())
    await slow.begun()
    provider.forget()
    after = asyncio.create_task(provider.get_credentials())
    await asyncio.sleep(0)
    slow.may_end.release(2)
    assert id_of(await before) == "LTAI0"
    assert id_of(await after) == "LTAI1"
    assert id_of(await provider.get_credentials()) == "LTAI1"
    assert (slow.asked, slow.most_at_once) == (2, 1)


@pytest.mark.asyncio
async def test_many_who_forget_at_once_cost_one_fetch(slow: Chains) -> None:
    """Every call in flight may learn of the same expired token; those after the first find a fetch not yet begun."""
    provider = DefaultCredentials(chain=slow)
    before = asyncio.create_task(provider.get_credentials())
    await slow.begun()
    callers = []
    for _ in range(100):
        provider.forget()
        callers.append(asyncio.create_task(provider.get_credentials()))
        await asyncio.sleep(0)
    slow.may_end.release(1000)
    answers = await asyncio.gather(before, *callers)
    assert [id_of(answer) for answer in answers] == ["LTAI0"] + ["LTAI1"] * 100


@pytest.mark.asyncio
async def test_the_environment_counts_as_it_is_at_each_call(chains: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    """An access key set, changed or removed between two calls counts at once, and without a fetch."""
    provider = DefaultCredentials(chain=chains)
    assert id_of(await provider.get_credentials()) == "LTAI0"
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "ENV1")
    assert id_of(await provider.get_credentials()) == "LTAI1"  # half a key is none
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    assert await provider.get_credentials() == Credentials("ENV1", SECRET)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "token")
    assert await provider.get_credentials() == Credentials("ENV1", SECRET, "token")
    assert await provider.get_credentials() is await provider.get_credentials()
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "ENV2")
    assert id_of(await provider.get_credentials()) == "ENV2"
    provider.forget()
    assert id_of(await provider.get_credentials()) == "ENV2"
    assert chains.asked == 2
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    assert id_of(await provider.get_credentials()) == "LTAI2"


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["ALIBABA_CLOUD_PROFILE", "ALIBABA_CLOUD_CREDENTIALS_URI", "HOME"])
async def test_an_answer_for_another_environment_is_none(
    chains: Chains, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What the chain was made for has changed, so another one is asked."""
    provider = DefaultCredentials(chain=chains)
    await provider.get_credentials()
    monkeypatch.setenv(name, "another")
    assert id_of(await provider.get_credentials()) == "LTAI1"
    assert chains.made == 2


@pytest.mark.asyncio
async def test_an_unusable_environment_is_said_to_be(chains: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret with the line break of a file is refused in so many words, and not shown."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "ENV1")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", f"{SECRET}\n")
    with pytest.raises(AuthenticationError, match=r"environment's .* access_key_secret holds white space") as caught:
        await DefaultCredentials(chain=chains).get_credentials()
    assert_no_secret_in(caught.value)


@pytest.mark.asyncio
async def test_nothing_found_says_what_to_do(chains: Chains) -> None:
    """With the chain's reasons as the cause, and the next call looks again."""
    chains.answers = [EcsWaiterError("looked in vain")]
    provider = DefaultCredentials(chain=chains)
    with pytest.raises(AuthenticationError, match=r"ALIBABA_CLOUD_ACCESS_KEY_ID.*StaticCredentials\(") as caught:
        await provider.get_credentials()
    assert (caught.value.code, str(caught.value.__cause__)) == (None, "looked in vain")
    assert id_of(await provider.get_credentials()) == "LTAI1"
    assert chains.made == 2


@pytest.mark.asyncio
async def test_each_caller_gets_an_error_of_its_own(slow: Chains) -> None:
    """One failure told to many does not pile up their tracebacks."""
    slow.answers = [EcsWaiterError("looked in vain")]
    provider = DefaultCredentials(chain=slow)
    callers = [asyncio.create_task(provider.get_credentials()) for _ in range(3)]
    await slow.begun()
    slow.may_end.release()
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    assert {str(error.__cause__) for error in errors if isinstance(error, AuthenticationError)} == {"looked in vain"}


@pytest.mark.asyncio
async def test_an_error_not_known_to_be_harmless_is_not_quoted(chains: Chains) -> None:
    """Its kind is told, its words are not: they may hold the secret."""
    chains.answers = [RuntimeError(f"bad answer: {SECRET}")]
    with pytest.raises(AuthenticationError) as caught:
        await DefaultCredentials(chain=chains).get_credentials()
    assert str(caught.value.__cause__) == "RuntimeError"
    assert_no_secret_in(caught.value)


@pytest.mark.asyncio
async def test_a_broken_installation_is_told(chains: Chains) -> None:
    """What is missing stands in the cause."""
    chains.answers = [ImportError("No module named 'alibabacloud_credentials'")]
    with pytest.raises(AuthenticationError) as caught:
        await DefaultCredentials(chain=chains).get_credentials()
    assert isinstance(caught.value.__cause__, ImportError)


@pytest.mark.asyncio
async def test_a_found_key_that_cannot_be_sent_is_refused(chains: Chains) -> None:
    """The message says which part, and not what it is."""
    chains.answers = ["LTAI with a blank"]
    with pytest.raises(AuthenticationError, match="found cannot be used: access_key_id holds white space"):
        await DefaultCredentials(chain=chains).get_credentials()


@pytest.mark.asyncio
@pytest.mark.parametrize("spoil", [pickle.dumps, copy.deepcopy])
async def test_a_provider_that_holds_secrets_does_not_pickle(chains: Chains, spoil: Callable[[object], object]) -> None:
    """Nor does it show them."""
    provider = DefaultCredentials(chain=chains)
    await provider.get_credentials()
    assert SECRET not in repr(provider)
    with pytest.raises(TypeError):
        spoil(provider)


def assert_no_secret_in(error: BaseException | None) -> None:
    """Neither in the error nor in what led to it."""
    while error is not None:
        assert SECRET not in repr(error)
        error = error.__cause__ or error.__context__


def in_an_interpreter_of_its_own(code: str) -> str:
    """What the code prints, given that its interpreter ends by itself."""
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_chain_that_hangs_holds_up_nobodys_end() -> None:
    """Neither the loop's nor the interpreter's end waits for it."""
    code = """
import asyncio, threading
from ecs_waiter.api.credentials import DefaultCredentials

class Hung:
    def fetch(self):
        threading.Event().wait()

async def main():
    asked = asyncio.ensure_future(DefaultCredentials(chain=Hung).get_credentials())
    await asyncio.sleep(0)
    asked.cancel()
    print(*await asyncio.gather(asked, return_exceptions=True))

asyncio.run(main())
print("ended")
"""
    assert in_an_interpreter_of_its_own(code).split() == ["ended"]


def test_the_official_package_loads_only_where_it_is_asked() -> None:
    """Neither importing us nor a key in the environment needs it."""
    code = """
import asyncio, os, sys
os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] = os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] = "LTAI"
from ecs_waiter.api.credentials import check_provider
print(asyncio.run(check_provider(None).get_credentials()).access_key_id)
print([name for name in sys.modules if name.partition(".")[0] in {"alibabacloud_credentials", "Tea", "requests"}])
"""
    assert in_an_interpreter_of_its_own(code).split() == ["LTAI", "[]"]
