"""Secrets: none reaches a log, a repr, a pickle or an exception's text, though the service echoes the whole request."""

from __future__ import annotations

import asyncio
import copy
import html
import json
import logging
import os
import pickle
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from aiohttp import web
from support.helpers import every
from support.hostile import Asked, Raw, hostile, page, row
from support.telling import CREDENTIALS, KEY_ID, SECRET, TOKEN, forms, locals_of, told_of
from yarl import URL

from ecs_waiter import (
    AuthenticationError,
    Credentials,
    EcsClient,
    PollPolicy,
    ServiceUnavailableError,
    StaticCredentials,
    TaskWaiter,
    wait_for_task,
    wait_for_tasks,
)
from ecs_waiter.api.exchange import Reply
from ecs_waiter.api.signing import Signer
from ecs_waiter.api.transport import read_reply
from ecs_waiter.slices import at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

POLICY = PollPolicy(wait=every(1).wait, outage_budget=5, not_found_grace=5)


def _echo(asked: Asked) -> str:
    """The whole request, as a service that is too talkative would quote it, and the secrets in other spellings."""
    spelled = (SECRET, TOKEN, quote(SECRET, safe=""), quote(TOKEN, safe=""), quote(SECRET, safe="").lower())
    return f"{' '.join(spelled)} {dict(asked.headers)}"


def _error(status: int, **parts: Callable[[Asked], str]) -> Callable[[Asked], web.Response]:
    def answer(asked: Asked) -> web.Response:
        body = {"Code": "A.B", "Message": "m", "RequestId": "R"}
        return web.json_response(body | {name: part(asked) for name, part in parts.items()}, status=status)

    return answer


def _raw(head: Callable[[str], str]) -> Callable[[Asked], Raw]:
    return lambda asked: Raw(head(_echo(asked)).encode("latin-1", "replace"))


def _failing(asked: Asked) -> Any:
    if asked.action == "DescribeTasks":
        return page(row("t-1", "Failed"))
    items = {"RelatedItem": [{"Name": _echo(asked), "Value": _echo(asked)}]}
    step = {"ErrorCode": _echo(asked), "ErrorMsg": _echo(asked), "RelatedItemSet": items}
    return {**row("t-1", "Failed"), "OperationProgressSet": {"OperationProgress": [step]}}


def _unicode(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


ECHOES: dict[str, Callable[[Asked], Any]] = {
    **{f"{status} {part}": _error(status, **{part: _echo})
       for status in (200, 302, 400, 401, 403, 404, 429, 500) for part in ("Code", "Message", "RequestId", "Detail")},
    "string to sign": lambda asked: web.json_response(
        {"Code": "SignatureDoesNotMatch", "Message": f"no match. server string to sign is:{_echo(asked)}"}, status=400
    ),
    "HTML": lambda asked: web.Response(status=403, body=f"<html>{html.escape(_echo(asked))}</html>".encode()),
    "XML": lambda asked: web.Response(
        status=400, body=f"<Error><Code>A</Code><Message>{html.escape(_echo(asked))}</Message></Error>".encode()
    ),
    "escaped": lambda asked: web.Response(
        status=400, body=f'{{"Code":"A.B","Message":"{_unicode(_echo(asked))}"}}'.encode()
    ),
    **{f"row {name}": lambda asked, name=name: page(row("t-1", **{name: _echo(asked)}))  # type: ignore[misc]
       for name in ("TaskAction", "ResourceId", "CreationTime", "SupportCancel", "Extra")},
    "canceled": lambda asked: page(row("t-1", "Deleted", TaskAction=_echo(asked))),
    "status": lambda asked: page(row("t-1", _echo(asked))),
    "key": lambda asked: page(row(), **{_echo(asked): 1}),
    "reason": _failing,
    "status line": _raw(lambda echo: f"{echo}\r\n\r\n"),
    "reason phrase": _raw(lambda echo: f"HTTP/1.1 500 {echo[:200]}\r\nContent-Length: 0\r\n\r\n"),
    "no header": _raw(lambda echo: f"HTTP/1.1 200 OK\r\n{echo}\r\n\r\n"),
    "bad header": _raw(lambda echo: f"HTTP/1.1 200 OK\r\nX\0Y: {echo}\r\n\r\n"),
    "long header": _raw(lambda echo: f"HTTP/1.1 200 OK\r\nX: {echo * 50}\r\n\r\n"),
    "length": _raw(lambda echo: f"HTTP/1.1 200 OK\r\nContent-Length: {echo}\r\n\r\n"),
    "chunk": _raw(lambda echo: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{echo}\r\n"),
    "encoding": _raw(lambda echo: f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: {echo}\r\n\r\n{{}}"),
    "location": _raw(lambda echo: f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://x/?{echo}\r\n\r\n"),
    "date": _raw(lambda echo: f"HTTP/1.1 500 No\r\nContent-Length: 0\r\nDate: {echo}\r\n\r\n"),
    "retry": _raw(lambda echo: f"HTTP/1.1 429 No\r\nContent-Length: 0\r\nx-acs-retry-after: {echo}\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("answer", ECHOES.values(), ids=ECHOES)
@pytest.mark.asyncio
async def test_no_echo_gets_through(answer: Callable[[Asked], Any], caplog: pytest.LogCaptureFixture) -> None:
    """Wherever the service echoes the request, neither what is raised or returned nor a log holds a secret of it."""
    with hostile(answer) as service, caplog.at_level(1):
        (outcome,) = await asyncio.gather(
            wait_for_task("t-1", credentials=CREDENTIALS, policy=POLICY, timeout=60), return_exceptions=True
        )
        async with EcsClient(CREDENTIALS, policy=POLICY) as client:
            listed, detail = await asyncio.gather(
                client.call("DescribeTasks"), client.describe_task_attribute("t-1"), return_exceptions=True
            )
    assert all(asked.headers["x-acs-security-token"] == TOKEN for asked in service.asked)
    signatures = {asked.headers["authorization"].rpartition("=")[2] for asked in service.asked}
    told = "\n".join([told_of(outcome), told_of(listed), told_of(detail), caplog.text])
    assert [form for form in forms(SECRET, TOKEN) | signatures if form in told] == []


BREAKS: dict[str, Callable[[Asked], Any]] = {
    **ECHOES,
    "broken connection": lambda _: Raw(b""),
    "cut short": lambda _: Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}"),
    "unknown encoding": lambda _: Raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}"),
}


@pytest.mark.parametrize("answer", BREAKS.values(), ids=BREAKS)
@pytest.mark.asyncio
async def test_no_frame_shows_them(answer: Callable[[Asked], Any]) -> None:
    """Tools that record the local variables of a traceback find no secret in those of an error of a wait or a call."""
    with hostile(answer) as service:
        outcomes: list[Any] = []
        outcomes += await asyncio.gather(
            wait_for_task("t-1", credentials=CREDENTIALS, policy=POLICY, timeout=60), return_exceptions=True
        )
        async with EcsClient(CREDENTIALS, policy=POLICY) as client:
            outcomes += await asyncio.gather(
                client.call("DescribeTasks"), client.describe_task_attribute("t-1"), return_exceptions=True
            )
    signatures = {asked.headers["authorization"].rpartition("=")[2] for asked in service.asked}
    shown = "\n".join(locals_of(outcome) for outcome in outcomes if isinstance(outcome, BaseException))
    assert [form for form in forms(SECRET, TOKEN) | signatures if form in shown] == []


@pytest.mark.parametrize("trouble", ["canceled", "timeout"])
@pytest.mark.asyncio
async def test_no_frame_of_a_call_that_is_left_shows_them(virtual_ecs: EcsEmulator, trouble: str) -> None:
    """Nor do those of a cancellation that comes while the request is under way."""
    virtual_ecs.inject("hang")
    async with EcsClient(CREDENTIALS, policy=POLICY) as client:
        work = asyncio.ensure_future(client.call("DescribeDisks"))
        if trouble == "canceled":
            await asyncio.sleep(1)
            work.cancel()
        outcomes: list[Any] = await asyncio.gather(asyncio.wait_for(work, 2), return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError if trouble == "canceled" else TimeoutError)
    assert [form for form in forms(SECRET, TOKEN) if form in locals_of(outcomes[0])] == []


@pytest.mark.asyncio
async def test_no_frame_shows_the_environments_secret(
    virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do those of an error about credentials of the environment that cannot be used."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", f"{SECRET} and a blank")
    (outcome,) = await asyncio.gather(wait_for_task("t-1"), return_exceptions=True)
    assert isinstance(outcome, AuthenticationError)
    assert SECRET not in locals_of(outcome)
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
async def test_what_is_redacted_is_still_told() -> None:
    """The rest of a message stays."""
    with hostile(_error(400, Message=lambda _: f"before {SECRET} after")):
        (outcome,) = await asyncio.gather(wait_for_task("t-1", credentials=CREDENTIALS), return_exceptions=True)
    assert "before *** after" in str(outcome)


@pytest.mark.asyncio
async def test_the_key_id_is_no_secret() -> None:
    """The access key's ID stays, for it tells which key was refused."""
    refused = _error(403, Code=lambda _: "InvalidAccessKeyId.NotFound", Message=lambda _: f"no {KEY_ID}")
    with hostile(refused):
        (outcome,) = await asyncio.gather(wait_for_task("t-1", credentials=CREDENTIALS), return_exceptions=True)
    assert KEY_ID in str(outcome)


@pytest.mark.parametrize("kind", ["reset", "hang", "truncate", "bad_gzip"])
@pytest.mark.asyncio
async def test_broken_connections(virtual_ecs: EcsEmulator, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The faults of connections hold no secret, with all that they were caused by."""
    virtual_ecs.inject(kind)
    with caplog.at_level(1):
        (outcome,) = await asyncio.gather(
            wait_for_task("t-1", credentials=CREDENTIALS, policy=POLICY), return_exceptions=True
        )
    assert isinstance(outcome, ServiceUnavailableError)
    assert not [form for form in forms(SECRET, TOKEN) if form in told_of(outcome) + caplog.text]


@pytest.mark.parametrize("thing", [Credentials(KEY_ID, SECRET, TOKEN), CREDENTIALS])
def test_reprs(thing: object) -> None:
    """Credentials show their ID and hide the secrets, however they are printed."""
    for told in (repr(thing), str(thing), f"{thing}", f"{thing!a}", "%s" % (thing,), repr([thing]), repr({"x": thing})):  # noqa: UP031
        assert KEY_ID in told
        assert SECRET not in told
        assert TOKEN not in told


@pytest.mark.parametrize("thing", [Credentials(KEY_ID, SECRET, TOKEN), CREDENTIALS])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle(thing: object, protocol: int) -> None:
    """Pickling credentials raises TypeError, which does not tell them."""
    with pytest.raises(TypeError) as refused:
        pickle.dumps(thing, protocol)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_copies(way: Callable[[Any], Any]) -> None:
    """A copy of a provider is as good as the provider."""
    assert way(CREDENTIALS) == CREDENTIALS


def test_a_failed_comparison_tells_nothing() -> None:
    """A test runner that explains a failed comparison has nothing to print."""
    assert not hasattr(CREDENTIALS, "__dict__")
    one, two = Credentials(KEY_ID, SECRET), Credentials(KEY_ID, TOKEN)
    with pytest.raises(AssertionError) as failed:
        assert one == two
    assert SECRET not in str(failed.value)


@pytest.mark.parametrize("bad", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}\u00e9", f"{SECRET}\0"])
def test_misuse_does_not_repeat_them(bad: str) -> None:
    """Credentials that cannot go into a header are refused without being repeated."""
    for make in (lambda: Credentials(KEY_ID, bad), lambda: StaticCredentials(KEY_ID, SECRET, bad)):
        with pytest.raises(ValueError, match=r"access_key_secret|security_token") as refused:
            make()
        assert SECRET not in str(refused.value)


@pytest.mark.asyncio
async def test_faces_hide_them(virtual_ecs: EcsEmulator) -> None:
    """Neither waiter nor client shows the credentials in its repr, and neither can be pickled."""
    async with TaskWaiter(CREDENTIALS) as waiter, EcsClient(CREDENTIALS) as client:
        future = waiter.submit(virtual_ecs.add_task(duration=5))
        await asyncio.sleep(1)
        told = f"{waiter!r} {client!r} {waiter.stats!r} {waiter.pollers!r} {future!r}"
        assert SECRET not in told
        assert TOKEN not in told
        for face in (waiter, client):
            with pytest.raises(TypeError):
                pickle.dumps(face)


@pytest.mark.asyncio
async def test_the_environments_secret(virtual_ecs: EcsEmulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of the environment that cannot be used is not repeated."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", f"{SECRET} and a blank")
    (outcome,) = await asyncio.gather(wait_for_task("t-1"), return_exceptions=True)
    assert SECRET not in told_of(outcome)
    assert virtual_ecs.requests == []


@pytest.mark.asyncio
async def test_a_chain_that_finds_nothing(
    ecs_emulator: EcsEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What the official chain quotes of a file or an environment it could not use is not told."""
    for name in [name for name in os.environ if name.startswith("ALIBABA_CLOUD_") and "METADATA" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "cn-hangzhou")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".alibabacloud").mkdir()
    (tmp_path / ".alibabacloud" / "credentials.ini").write_text(
        f"[default]\ntype = access_key\naccess_key_secret = {SECRET}\n[client]\n{SECRET}\n"
    )
    with caplog.at_level(1):
        (outcome,) = await asyncio.gather(wait_for_tasks(["t-1"]), return_exceptions=True)
    assert isinstance(outcome, AuthenticationError)
    assert not [form for form in forms(SECRET) if form in told_of(outcome) + caplog.text]


@pytest.mark.asyncio
async def test_logs_at_debug_are_useful(virtual_ecs: EcsEmulator, caplog: pytest.LogCaptureFixture) -> None:
    """With the log wide open a wait tells its calls, and none of its secrets."""
    with caplog.at_level(logging.DEBUG):
        await wait_for_task(virtual_ecs.add_task(), credentials=CREDENTIALS)
    assert "DescribeTasks" in caplog.text
    assert not [form for form in forms(SECRET, TOKEN) if form in caplog.text]


def test_what_an_error_says_is_kept_redacted() -> None:
    """The parsed words of an error, a local variable while it is judged, repeat no echoed secret."""
    signed = Signer(URL("https://ecs.cn-hangzhou.aliyuncs.com/"), clock=lambda: 1e9, nonce=lambda: "nonce")
    request = signed.sign("DescribeTasks", "", Credentials(KEY_ID, SECRET, TOKEN))
    echo = f"{TOKEN} {SECRET} {request.headers['authorization']}"
    for body in (
        json.dumps({"Code": f"A.{echo}", "Message": echo, "RequestId": echo}),
        f"<E><Code>{html.escape(echo)}</Code><Message>{html.escape(echo)}</Message></E>",
    ):
        response = at_once(read_reply(Reply(400, {}, body.encode()), request))
        assert response.error is not None
        assert response.error.message.startswith("*** ***")
        shown = f"{response!r} {response.error!r} {vars(response.error)}"
        assert not [form for form in {*forms(TOKEN, SECRET), request.signature} if form in shown]
