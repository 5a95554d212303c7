"""One attempt at a call: what goes over the wire, and what each answer means."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
import re
import socket
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from ecs_waiter.api.call_policy import CallPolicy
from ecs_waiter.api.credentials import Credentials, StaticCredentials
from ecs_waiter.api.limiter import RegionLimiter
from ecs_waiter.api.signing import EMPTY_SHA256, sign
from ecs_waiter.api.transport import Transport, new_connector
from ecs_waiter.errors import ApiError, AuthenticationError, ServiceUnavailableError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.stand_ins import Sent, Service, Wire

    from ecs_waiter.testing.virtual_time import VirtualTime

pytestmark = pytest.mark.asyncio

REGION = "cn-hangzhou"
ID, SECRET = "LTAI5tExample", "s3cr3t/Of+A=Key~30"
TOKEN = "CAIS/token+with=odd/characters"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()
GOOD = {"RequestId": "R-1", "Value": 1}
CONTENT = json.dumps(GOOD).encode()
LARGEST = 4 * 2**20


class Provider:
    """A provider of one of several credentials; `forget` moves on to the next."""

    def __init__(self, *credentials: Credentials) -> None:
        self.left = list(credentials)
        self.forgotten = 0

    async def get_credentials(self) -> Credentials:
        """Return the current credentials."""
        return self.left[0]

    def forget(self) -> None:
        """Return the next credentials from now on."""
        self.forgotten += 1
        if len(self.left) > 1:
            self.left.pop(0)


class Failing:
    """A provider that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def get_credentials(self) -> Credentials:
        """Raise."""
        raise self.error


def bare(content: bytes, *, level: int = 9, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """Pack with deflate alone, without zlib's header and check sum."""
    packer = zlib.compressobj(level, wbits=-zlib.MAX_WBITS, strategy=strategy)
    return packer.compress(content) + packer.flush()


@contextlib.asynccontextmanager
async def opened(endpoint: str | None, **options: Any) -> AsyncIterator[Transport]:
    """A transport with a fixed clock and counted nonces, closed in the end."""
    numbers = iter(range(1, 100))
    settings = {
        "provider": StaticCredentials(ID, SECRET),
        "policy": CallPolicy(),
        "clock": lambda: NOW,
        "nonce": lambda: f"nonce-{next(numbers)}",
        **options,
    }
    transport = Transport(endpoint=endpoint, **settings)
    try:
        yield transport
    finally:
        await transport.aclose()


async def called(transport: Transport, region_id: str = REGION, **options: Any) -> dict[str, Any]:
    """The answer to one attempt."""
    options.setdefault("limiter", RegionLimiter(CallPolicy()))
    return (await transport.send(region_id, "DescribeTasks", "RegionId=cn-hangzhou&TaskIds=a%2Cb", **options)).data


async def failed(transport: Transport, **options: Any) -> ApiError:
    """The error of one attempt."""
    with pytest.raises(ApiError) as caught:
        await called(transport, **options)
    return caught.value


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and all that a report of it would show."""
    while error is not None:
        yield error
        yield from chain(error.__context__ if error.__context__ is not error.__cause__ else None)
        error = error.__cause__


def shown(error: BaseException) -> str:
    """Everything that a log could print about an error."""
    return "\n".join(f"{link!r}\n{link}\n{link.args}\n{vars(link)}" for link in chain(error))


def resigned(sent: Sent, secret: str = SECRET) -> str:
    """The Authorization value that is right for a request that reached the server."""
    names = sent.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    return sign(
        method="POST",
        path="/",
        query=sent.target.partition("?")[2],
        headers={name: sent.headers[name] for name in names},
        body_sha256=EMPTY_SHA256,
        access_key_id=ID,
        access_key_secret=secret,
    )


class TestRequest:
    async def test_what_is_sent(self, service: Service) -> None:
        """All parameters are in the query, as they were signed; the headers are those that the service requires."""
        service.answer(GOOD)
        async with opened(service.url) as transport:
            assert await called(transport) == GOOD
        (sent,) = service.sent
        assert sent.target == "/?RegionId=cn-hangzhou&TaskIds=a%2Cb"
        assert {name.lower(): value for name, value in sent.headers.items()} == {
            "host": service.url.removeprefix("http://"),
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "authorization": resigned(sent),
            "content-length": "0",
            "user-agent": f"ecs-waiter aiohttp/{aiohttp.__version__}",
            "x-acs-action": "DescribeTasks",
            "x-acs-content-sha256": EMPTY_SHA256,
            "x-acs-date": "2026-03-01T12:00:00Z",
            "x-acs-signature-nonce": "nonce-1",
            "x-acs-version": "2014-05-26",
        }

    async def test_what_is_signed(self, service: Service) -> None:
        """Every header that matters is signed, and none that aiohttp or a proxy may change."""
        service.answer(GOOD)
        async with opened(service.url, provider=StaticCredentials(ID, SECRET, TOKEN)) as transport:
            await called(transport)
        (sent,) = service.sent
        assert sent.headers["authorization"] == resigned(sent)
        assert (
            "SignedHeaders=accept;host;user-agent;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;"
            "x-acs-security-token;x-acs-signature-nonce;x-acs-version,"
        ) in sent.headers["authorization"]
        assert (sent.headers["x-acs-accesskey-id"], sent.headers["x-acs-security-token"]) == (ID, TOKEN)

    async def test_a_region_has_its_host(self, wire: Wire) -> None:
        """Without an endpoint, each region is called at its own host, over https."""
        wire.answer(GOOD, repeat=True)
        async with opened(None) as transport:
            await called(transport, "us-west-1")
        (sent,) = wire.sent
        assert sent.target == "https://ecs.us-west-1.aliyuncs.com/?RegionId=cn-hangzhou&TaskIds=a,b"
        assert sent.headers["host"] == "ecs.us-west-1.aliyuncs.com"

    async def test_each_attempt_is_signed_afresh(self, service: Service) -> None:
        """No nonce is used twice; it is random by default."""
        service.answer(GOOD)
        async with opened(service.url) as transport:
            await called(transport)
            await called(transport)
        async with Own(service.url) as own:
            await called(own)
            await called(own)
        nonces = [sent.headers["x-acs-signature-nonce"] for sent in service.sent]
        assert nonces[:2] == ["nonce-1", "nonce-2"]
        assert len(set(nonces)) == 4

    async def test_each_attempt_asks_for_credentials(self, service: Service) -> None:
        """New credentials of the provider are used from the next attempt on."""
        service.answer(GOOD)
        provider = Provider(Credentials(ID, SECRET), Credentials(ID, "another-secret"))
        async with opened(service.url, provider=provider) as transport:
            await called(transport)
            provider.forget()
            await called(transport)
        first, second = service.sent
        assert first.headers["authorization"] == resigned(first)
        assert second.headers["authorization"] == resigned(second, "another-secret")

    async def test_no_redirect_is_followed(self, service: Service) -> None:
        """A signed request does not follow a redirect, which is a fault."""
        service.answer({}, status=307, headers={"Location": f"{service.url}/elsewhere"})
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert error.http_status == 307
        assert len(service.sent) == 1

    async def test_no_cookie_is_kept(self, service: Service) -> None:
        """A cookie in an answer is not sent back."""
        service.answer(GOOD, headers={"Set-Cookie": "a=b; Path=/"})
        async with opened(service.url) as transport:
            await called(transport)
            await called(transport)
        assert not any("cookie" in sent.headers for sent in service.sent)


@contextlib.asynccontextmanager
async def Own(url: str) -> AsyncIterator[Transport]:  # noqa: N802
    """A transport with its own clock and nonces."""
    transport = Transport(provider=StaticCredentials(ID, SECRET), endpoint=url, policy=CallPolicy())
    yield transport
    await transport.aclose()


class TestConnections:
    async def test_calls_share_a_connection(self, service: Service) -> None:
        """An idle connection is used again."""
        service.answer(GOOD)
        async with opened(service.url) as transport:
            await called(transport)
            await called(transport)
        assert len(service.connections) == 1

    async def test_a_fresh_call_has_a_connection_of_its_own(self, service: Service) -> None:
        """A call that must not be repeated never uses an idle connection, and leaves none."""
        service.answer(GOOD)
        async with opened(service.url) as transport:
            await called(transport)
            await called(transport, fresh=True)
            await called(transport, fresh=True)
        assert len(service.connections) == 3

    async def test_none_outlives_it(self, service: Service) -> None:
        """Closing it closes its connections, and further calls raise."""
        service.answer(GOOD)
        async with opened(service.url) as transport:
            await called(transport)
            await called(transport, fresh=True)
            await transport.aclose()
            for _ in service.connections:
                await service.gone.acquire()
            with pytest.raises(RuntimeError, match="closed"):
                await called(transport)

    async def test_a_session_given_is_used_and_left_open(self, service: Service) -> None:
        """A user's session sends every call, with its own headers added, and is not closed."""
        service.answer(GOOD)
        async with aiohttp.ClientSession(headers={"x-of-mine": "1"}, raise_for_status=True) as session:
            async with opened(service.url, session=session) as transport:
                await called(transport)
                await called(transport, fresh=True)
                service.script.clear()
                service.answer({"Code": "InvalidRegionId.NotFound", "Message": "no"}, status=404)
                assert (await failed(transport)).code == "InvalidRegionId.NotFound"
            assert not session.closed
        assert len(service.connections) == 1
        assert service.sent[0].headers["x-of-mine"] == "1"

    async def test_a_session_of_theirs_that_is_closed(self, service: Service) -> None:
        """It is not a transient fault: it raises at once."""
        session = aiohttp.ClientSession()
        await session.close()
        async with opened(service.url, session=session) as transport:
            with pytest.raises(RuntimeError, match="closed"):
                await called(transport)

    async def test_regions_do_not_queue_for_connections(self) -> None:
        """The connectors have no limit, and the fresh one keeps nothing alive."""
        for force_close in (False, True):
            connector = new_connector(force_close=force_close)
            assert (connector.limit, connector.force_close) == (0, force_close)
            await connector.close()


class TestFaults:
    async def test_refused(self) -> None:
        """Without a connection nothing was started."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            async with opened(f"http://127.0.0.1:{unused.getsockname()[1]}") as transport:
                error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert not error.sent
        assert isinstance(error.__cause__, aiohttp.ClientConnectorError)

    async def test_broken(self, service: Service) -> None:
        """A connection that broke after the request may have started something."""
        service.script.append(None)
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert error.sent
        assert isinstance(error.__cause__, aiohttp.ServerDisconnectedError)
        assert service.url.removeprefix("http://") in str(error)

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
            b"HTTP/1.1 twohundred OK\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n{}",
            b"\x00\xff\x00garbage\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            f"HTTP/1.1 200 OK\r\n{SECRET} {TOKEN}\r\n\r\n".encode(),
            f"{SECRET} {TOKEN}\r\n\r\n".encode(),
            f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n".encode(),
        ],
        ids=[
            "short",
            "chunk cut",
            "chunk odd",
            "length odd",
            "status odd",
            "header bomb",
            "garbage",
            "empty",
            "echo",
            "bare echo",
            "chunked echo",
        ],
    )
    async def test_no_http(self, service: Service, answer: bytes) -> None:
        """Anything but a well-formed answer is a fault, whose text holds no secret."""
        service.script.append(answer)
        async with opened(service.url, provider=StaticCredentials(ID, SECRET, TOKEN)) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert error.sent
        assert_no_secret(error, service)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b'"text"',
            b"{",
            b"<html>ok</html>",
            b"\xff\xfe\xfa",
            b'{"a": "\xed\xa0\x80"}',
            '{"a": 1}'.encode("utf-16"),
            b"[" * 100_000,
            b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
            b'{"a": 1' + b"0" * 5_000 + b"}",
            b'{"Code": "Forbidden.RAM", "Message": "no", "RequestId": "R", "HostId": "h"}',
            b'{"code": "Odd"}',
        ],
    )
    async def test_a_success_that_is_no_answer(self, service: Service, body: bytes) -> None:
        """Status 200 without a JSON object, or with an error only, is a fault."""
        service.answer(body=body)
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert error.http_status == 200

    async def test_a_success_that_has_a_code_too(self, service: Service) -> None:
        """An answer with other fields than those of an error is a success."""
        answers = [{"Code": "200", "RequestId": "R"}, {"Code": "PartlyDone", "TaskId": "t-1"}]
        for answer in answers:
            service.answer(answer)
        async with opened(service.url) as transport:
            assert [await called(transport), await called(transport)] == answers

    @pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 500, 502, 503])
    @pytest.mark.parametrize(
        "body",
        [
            b"<html><body>Blocked <code>E1</code><Code>E1</Code></body></html>",
            b"nope",
            b"",
            b'{"code": 403, "message": "no"}',
            b'{"Code": " ", "Message": "no"}',
            b"[1]",
        ],
    )
    async def test_a_gateways_page(self, service: Service, status: int, body: bytes) -> None:
        """An error without a code of the service is a transient fault, whatever its status."""
        service.answer(body=body, status=status)
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert (error.code, error.http_status, error.sent) == (None, status, True)

    async def test_patience_with_the_service(self, wire: Wire) -> None:
        """A late answer is a fault, after which something may have started."""
        wire.answer(exception=TimeoutError())
        async with opened(None) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert (str(error), error.sent) == ("ecs-cn-hangzhou.aliyuncs.com: no answer within 30 s", True)
        assert isinstance(error.__cause__, TimeoutError)

    async def test_patience_with_the_connection(self, wire: Wire) -> None:
        """Without a connection in half of the time, nothing was started."""
        wire.answer(exception=aiohttp.ConnectionTimeoutError())
        async with opened(None) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert (str(error), error.sent) == ("ecs-cn-hangzhou.aliyuncs.com: no connection within 15 s", False)

    async def test_an_attempt_ends_exactly_in_time(self, wire: Wire, clock: VirtualTime) -> None:
        """The time limit is exact, although aiohttp rounds timeouts over five seconds up by default."""
        wire.stay_silent()
        clock.jump(0.3)
        began = clock.time()
        async with opened(None, policy=CallPolicy(call_timeout=7.25)) as transport:
            error = await failed(transport)
        assert clock.time() - began == 7.25
        assert str(error) == "ecs-cn-hangzhou.aliyuncs.com: no answer within 7.25 s"

    async def test_a_deadline_of_the_callers_is_theirs(self, wire: Wire, clock: VirtualTime) -> None:
        """A cancellation in the iteration of the loop in which the attempt times out is not swallowed."""
        wire.stay_silent()
        async with opened(None) as transport:
            task = asyncio.create_task(called(transport))
            asyncio.get_running_loop().call_later(30, task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task


class TestSize:
    async def test_packed(self, service: Service) -> None:
        """Both gzip and deflate are unpacked."""
        content = json.dumps(GOOD).encode()
        service.answer(body=gzip.compress(content), headers={"Content-Encoding": "gzip"})
        service.answer(body=zlib.compress(content), headers={"Content-Encoding": "deflate"})
        async with opened(service.url) as transport:
            assert [await called(transport), await called(transport)] == [GOOD, GOOD]

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (b"".join(gzip.compress(bytes([byte])) for byte in CONTENT), "gzip"),
            (gzip.compress(CONTENT[:5]) + gzip.compress(b"") + gzip.compress(CONTENT[5:]), "x-gzip"),
            (gzip.compress(CONTENT.ljust(100_000)) + gzip.compress(b" " * 100_000), "gzip"),
            (gzip.compress(CONTENT) + b"\0" * 100_000, "gzip"),
            (gzip.compress(CONTENT) + b"\r\n", "gzip"),
            (gzip.compress(CONTENT) + b"\x1f", "gzip"),
            (bare(CONTENT), "deflate"),
            (bare(CONTENT, level=0), "deflate"),
            (bare(CONTENT) + b"\r\n", "deflate"),
            (bare(CONTENT, strategy=zlib.Z_FIXED), "deflate"),
            (zlib.compress(CONTENT, wbits=9), "deflate"),
            (gzip.compress(CONTENT), "deflate"),
            (zlib.compress(CONTENT), "gzip"),
        ],
        ids=[
            "a member for each byte",
            "three members",
            "long members",
            "padding",
            "a line's end behind it",
            "half a header behind it",
            "bare",
            "bare and stored",
            "bare with a line's end behind it",
            "bare with fixed codes",
            "a small window",
            "gzip called deflate",
            "deflate called gzip",
        ],
    )
    async def test_unusually_packed(self, service: Service, body: bytes, encoding: str) -> None:
        """What other clients unpack is unpacked: several members, no header, and data after the last member."""
        service.answer(body=body, headers={"Content-Encoding": encoding})
        async with opened(service.url) as transport:
            assert await called(transport) == GOOD

    @pytest.mark.parametrize(
        ("body", "encoding", "words"),
        [
            (gzip.compress(b" ") + gzip.compress(b" " * LARGEST), "gzip", "larger than 4194304 bytes"),
            (gzip.compress(b" " * (LARGEST // 2)) * 3, "gzip", "larger than 4194304 bytes"),
            (gzip.compress(CONTENT) + gzip.compress(b" " * 200_000_000), "gzip", "larger than 4194304 bytes"),
            (bare(b" " * (LARGEST + 1)), "deflate", "larger than 4194304 bytes"),
            (gzip.compress(b"") * 200_000, "gzip", "more than 1000 gzip members"),
            (gzip.compress(CONTENT) + gzip.compress(b" ")[:-1], "gzip", "in the middle"),
            (gzip.compress(CONTENT) + gzip.compress(b" ")[:2], "gzip", "in the middle"),
            (gzip.compress(CONTENT) + b"\x1f\x8bnonsense", "gzip", "Error -3"),
            (bare(CONTENT)[:-1], "deflate", "in the middle"),
            (bare(CONTENT), "gzip", "Error -3"),
        ],
        ids=[
            "one byte too many",
            "together too large",
            "a bomb in the second member",
            "a bare bomb",
            "too many members",
            "the second member cut",
            "the second member's header cut",
            "the second member broken",
            "bare and cut",
            "bare but called gzip",
        ],
    )
    async def test_unusually_packed_and_bad(self, service: Service, body: bytes, encoding: str, words: str) -> None:
        """The limits hold for all members together, and no member may be cut."""
        service.answer(body=body, headers={"Content-Encoding": encoding})
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert words in str(error)

    @pytest.mark.parametrize("own", [True, False])
    async def test_a_bomb(self, service: Service, own: bool) -> None:
        """200 kB that would inflate to 200 MB are a fault, and are not inflated; in a session given too."""
        bomb = gzip.compress(b" " * 200_000_000, compresslevel=9)
        assert len(bomb) < 250_000
        service.answer(body=bomb, headers={"Content-Encoding": "gzip"})
        async with contextlib.AsyncExitStack() as stack:
            session = None if own else await stack.enter_async_context(aiohttp.ClientSession())
            transport = await stack.enter_async_context(opened(service.url, session=session))
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert "larger than 4194304 bytes" in str(error)

    async def test_a_flood(self, service: Service) -> None:
        """More than 4 MiB are not read to the end."""
        service.answer(body=b" " * 5_000_000)
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert "larger than 4194304 bytes" in str(error)

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (gzip.compress(b'{"a": 1}', mtime=0)[:-9], "gzip"),
            (b"no gzip at all", "gzip"),
            (b"{}", "br"),
            (b"{}", "\tgzip, gzip"),
        ],
    )
    async def test_badly_packed(self, service: Service, body: bytes, encoding: str) -> None:
        """A body that cannot be unpacked is a fault."""
        service.answer(body=body, headers={"Content-Encoding": encoding})
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert error.__cause__ is not None


def coded(code: str) -> dict[str, str]:
    """An error as the service sends it."""
    return {"Code": code, "Message": "words", "RequestId": "R-9", "HostId": "h", "Recommend": "url"}


class TestCodes:
    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [
            (400, "Throttling", ThrottledError),
            (400, "Throttling.User", ThrottledError),
            (429, "Throttling.Api", ThrottledError),
            (503, "Throttling.User", ThrottledError),
            (429, "TooMany", ThrottledError),
            (200, "Throttling.User", ThrottledError),
            (500, "InternalError", ServiceUnavailableError),
            (503, "ServiceUnavailable", ServiceUnavailableError),
            (400, "ServiceUnavailable", ServiceUnavailableError),
            (400, "InternalError.Odd", ServiceUnavailableError),
            (400, "UnknownError", ServiceUnavailableError),
            (502, "Whatever", ServiceUnavailableError),
            (400, "SignatureNonceUsed", ServiceUnavailableError),
            (400, "InvalidTimeStamp.Expired", ServiceUnavailableError),
            (404, "InvalidAccessKeyId.NotFound", AuthenticationError),
            (400, "InvalidAccessKeyId.Inactive", AuthenticationError),
            (400, "SignatureDoesNotMatch", AuthenticationError),
            (400, "IncompleteSignature", AuthenticationError),
            (400, "InvalidSecurityToken.Malformed", AuthenticationError),
            (400, "MissingSecurityToken", AuthenticationError),
            (403, "Forbidden.RAM", AuthenticationError),
            (403, "Forbidden", AuthenticationError),
            (400, "NoPermission", AuthenticationError),
            (401, "Odd", AuthenticationError),
            (403, "InvalidTaskId.IncorrectTaskStatus", ApiError),
            (403, "CancelTaskFailed", ApiError),
            (404, "InvalidRegionId.NotFound", ApiError),
            (400, "MissingParameter", ApiError),
        ],
    )
    async def test_an_error_is_known_by_its_code(
        self, service: Service, status: int, code: str, kind: type[ApiError]
    ) -> None:
        """The status counts only if the code says nothing."""
        service.answer(coded(code), status=status)
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert type(error) is kind
        assert (error.code, error.message, error.request_id, error.http_status) == (code, "words", "R-9", status)

    @pytest.mark.parametrize(
        "body",
        [
            b'{"code": "Forbidden.RAM", "message": "words", "requestId": "R-9"}',
            b'{"CODE": "Forbidden.RAM", "Message": "words", "request_id": "R-9"}',
            b"<?xml version='1.0'?><Error><RequestId>R-9</RequestId><Code>Forbidden.RAM</Code><Message>words</Message></Error>",
            b"<Error><Code><![CDATA[Forbidden.RAM]]></Code><Message>wo&#114;ds\n</Message><RequestId>R-9</RequestId></Error>",
        ],
    )
    async def test_its_spelling_varies(self, service: Service, body: bytes) -> None:
        """Keys in either case and XML mean the same."""
        service.answer(body=body, status=403)
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert type(error) is AuthenticationError
        assert (error.code, error.message, error.request_id) == ("Forbidden.RAM", "words", "R-9")

    async def test_an_empty_body_needs_no_unpacking(self, service: Service) -> None:
        """The status of an answer without a body counts, whatever its headers say of the body."""
        service.answer(body=b"", status=429, headers={"Content-Encoding": "gzip"})
        async with opened(service.url) as transport:
            assert type(await failed(transport)) is ThrottledError

    async def test_throttled_without_a_code(self, service: Service) -> None:
        """Status 429 is enough."""
        service.answer(body=b"slow down", status=429)
        async with opened(service.url) as transport:
            assert type(await failed(transport)) is ThrottledError

    async def test_an_error_without_words(self, service: Service) -> None:
        """There is always a message."""
        service.answer({"Code": "Odd", "Message": None, "RequestId": 7}, status=400)
        async with opened(service.url) as transport:
            assert str(await failed(transport)) == "Odd: HTTP status 400"

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"x-acs-retry-after": "2500"}, 2.5),
            ({"x-acs-retry-after": " 2500 ", "Retry-After": "9"}, 2.5),
            ({"x-acs-retry-after": "0"}, None),
            ({"x-acs-retry-after": "-5"}, None),
            ({"x-acs-retry-after": "2.5"}, None),
            ({"x-acs-retry-after": "soon", "Retry-After": "9"}, 9),
            ({"x-acs-retry-after": "٣"}, None),
            ({"x-acs-retry-after": "9" * 15}, 86_400),
            ({"x-acs-retry-after": "9" * 400}, None),
            ({"x-ratelimit-user-api": "Limit:10,Remain:0,TimeLeft:1500,Reset:20"}, 1.5),
            ({"x-ratelimit-user": "TimeLeft:700", "x-ratelimit-user-api": "TimeLeft:300"}, 0.7),
            ({"x-ratelimit-user": "TimeLeft:0"}, None),
            ({"x-ratelimit-user-api": "Limit:10,Remain:3,TimeLeft:1500,TimeWindow:60000"}, None),
            ({"x-ratelimit-user-api": "TimeLeft:1500, Remain: 3"}, None),
            ({"x-ratelimit-user": "Remain:1,TimeLeft:700", "x-ratelimit-user-api": "Remain:0,TimeLeft:300"}, 0.3),
            ({"x-ratelimit-user": "Remain:1,TimeLeft:700", "Retry-After": "9"}, 9),
            ({"Retry-After": "0"}, None),
            ({"Retry-After": "-5"}, None),
            ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
            ({"Retry-After": "Wednesday, 21-Oct-26 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
            ({"Retry-After": "Wed Oct 21 07:28:30 2026", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
            ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
            ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:29:00 GMT"}, None),
            ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 86_400),
            ({"Retry-After": "Wed, 99 Oct 2099 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ],
    )
    async def test_how_long_to_wait(self, wire: Wire, headers: dict[str, str], seconds: float | None) -> None:
        """The service's header is in milliseconds, HTTP's own in seconds or a date; anything else is ignored."""
        wire.answer(coded("Throttling"), status=400, headers=headers)
        async with opened(None) as transport:
            error = await failed(transport)
        assert isinstance(error, ThrottledError)
        assert error.retry_after == seconds

    async def test_a_date_without_the_services_clock(self, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        """The date of a wait counts from the answer's Date, or from the local clock if it has none."""
        monkeypatch.setattr("time.time", lambda: 784_111_777.0 - 12)
        wire.answer(coded("Throttling"), status=400, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"})
        async with opened(None) as transport:
            error = await failed(transport)
        assert isinstance(error, ThrottledError)
        assert error.retry_after == 12

    @pytest.mark.parametrize("status", [500, 503])
    async def test_a_rate_limit_is_for_throttling_alone(self, wire: Wire, status: int) -> None:
        """A fault other than throttling asks for no wait, whatever its rate limit headers say."""
        limit = "Limit:100,Remain:0,TimeLeft:30000,TimeWindow:60000"
        wire.answer(coded("ServiceUnavailable"), status=status, headers={"x-ratelimit-user-api": limit})
        wire.answer("", status=status, headers={"x-ratelimit-user-api": limit, "x-acs-retry-after": "2000"})
        async with opened(None) as transport:
            first, second = await failed(transport), await failed(transport)
        assert isinstance(first, ServiceUnavailableError)
        assert isinstance(second, ServiceUnavailableError)
        assert (first.retry_after, second.retry_after) == (None, 2)

    async def test_the_limiter_and_the_counters_are_told(self, wire: Wire, clock: VirtualTime) -> None:
        """A throttled answer pauses the operation at once; the next good answer ends the pause."""
        wire.answer(coded("Throttling"), status=400, headers={"x-acs-retry-after": "3000"})
        wire.answer(GOOD, repeat=True)
        limiter = RegionLimiter(CallPolicy())
        async with opened(None) as transport:
            await failed(transport, limiter=limiter)
            assert limiter.next_at == limiter.blocked_until == clock.time() + 3
            await asyncio.sleep(3)
            await called(transport, limiter=limiter)
            assert limiter.next_at <= clock.time()
            counters = transport.counters(REGION)
        assert (counters.calls, counters.throttled, counters.retried) == (2, 1, 0)


class TestClock:
    DATE = "Sun, 01 Mar 2026 13:30:00 GMT"

    async def test_it_is_corrected(self, service: Service) -> None:
        """A wrong local clock is corrected by the answer's Date and the request sent again; later ones are right at once."""
        service.answer(coded("InvalidTimeStamp.Expired"), status=400, headers={"Date": self.DATE})
        service.answer(GOOD)
        async with opened(service.url) as transport:
            assert await called(transport) == GOOD
            await called(transport)
            assert transport.counters(REGION).calls == 3
        dates = [sent.headers["x-acs-date"][11:] for sent in service.sent]
        assert dates == ["12:00:00Z", "13:30:00Z", "13:30:00Z"]
        assert [sent.headers["authorization"] for sent in service.sent] == [resigned(sent) for sent in service.sent]

    async def test_for_its_region_only(self, service: Service) -> None:
        """The time of one region's service does not affect other regions."""
        service.answer(coded("InvalidTimeStamp.Expired"), status=400, headers={"Date": self.DATE})
        service.answer(GOOD)
        async with opened(service.url) as transport:
            await called(transport)
            await called(transport, "us-west-1")
        assert service.sent[-1].headers["x-acs-date"] == "2026-03-01T12:00:00Z"

    async def test_a_date_without_a_zone_is_utc(self, service: Service) -> None:
        """It is never read as local time."""
        service.answer(GOOD, headers={"Date": "Thu, 01 Jan 1970 00:01:40 -0000"})
        async with opened(service.url) as transport:
            limiter = RegionLimiter(CallPolicy())
            assert (await transport.send(REGION, "Odd", "RegionId=cn-hangzhou", limiter=limiter)).date == 100

    @pytest.mark.parametrize("date", [DATE, None, "yesterday", "Sun, 99 Mar 2026 13:30:00 GMT"])
    async def test_once(self, service: Service, date: str | None) -> None:
        """A clock that cannot be corrected is a transient fault, not a rejection."""
        service.answer(coded("InvalidTimeStamp.Expired"), status=400, headers={} if date is None else {"Date": date})
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert type(error) is ServiceUnavailableError
        assert len(service.sent) == (2 if date == self.DATE else 1)

    async def test_the_second_request_is_paced(self, wire: Wire, clock: VirtualTime) -> None:
        """Sending once more counts against the region's rate."""
        wire.answer(coded("InvalidTimeStamp.Expired"), status=400, headers={"Date": self.DATE})
        wire.answer(GOOD)
        limiter = RegionLimiter(CallPolicy(max_calls_per_second=1))
        began = clock.time()
        async with opened(None) as transport:
            await limiter.acquire()
            await called(transport, limiter=limiter)
        assert clock.time() - began == 1


class TestCredentials:
    EXPIRED = coded("InvalidSecurityToken.Expired")

    async def test_an_expired_token_is_renewed_once(self, service: Service) -> None:
        """The provider has to forget, and the call is sent again with its new credentials."""
        service.answer(self.EXPIRED, status=400)
        service.answer(GOOD)
        provider = Provider(Credentials(ID, SECRET, "old-token"), Credentials(ID, SECRET, "new-token"))
        async with opened(service.url, provider=provider) as transport:
            assert await called(transport) == GOOD
        assert [sent.headers["x-acs-security-token"] for sent in service.sent] == ["old-token", "new-token"]
        assert provider.forgotten == 1

    async def test_one_that_was_renewed_meanwhile(self, service: Service) -> None:
        """If the provider has other credentials by now, it does not have to forget them."""

        class Renewing(Provider):
            async def get_credentials(self) -> Credentials:
                return self.left.pop(0) if len(self.left) > 1 else self.left[0]

        service.answer(self.EXPIRED, status=400)
        service.answer(GOOD)
        provider = Renewing(Credentials(ID, SECRET, "old-token"), Credentials(ID, SECRET, "new-token"))
        async with opened(service.url, provider=provider) as transport:
            await called(transport)
        assert provider.forgotten == 0

    async def test_one_that_builds_on_ours(self, service: Service) -> None:
        """A provider derived from StaticCredentials is asked like any other."""

        class Rotating(StaticCredentials):
            async def get_credentials(self) -> Credentials:
                return Credentials("LTAI5tRotated", SECRET)

        service.answer(GOOD)
        async with opened(service.url, provider=Rotating(ID, SECRET)) as transport:
            await called(transport)
        assert "Credential=LTAI5tRotated," in service.sent[0].headers["authorization"]

    async def test_nothing_new_is_refused(self, service: Service) -> None:
        """Credentials that stay the same are not tried again."""
        service.answer(self.EXPIRED, status=400)
        async with opened(service.url, provider=StaticCredentials(ID, SECRET, TOKEN)) as transport:
            error = await failed(transport)
        assert type(error) is AuthenticationError
        assert len(service.sent) == 1

    async def test_refused_again(self, service: Service) -> None:
        """New credentials get one try."""
        service.answer(self.EXPIRED, status=400)
        provider = Provider(*(Credentials(ID, SECRET, f"token-{number}") for number in range(5)))
        async with opened(service.url, provider=provider) as transport:
            assert type(await failed(transport)) is AuthenticationError
        assert len(service.sent) == 2

    async def test_clock_and_token_in_one_attempt(self, service: Service) -> None:
        """Each is fixed once."""
        service.answer(coded("InvalidTimeStamp.Expired"), status=400, headers={"Date": TestClock.DATE})
        service.answer(self.EXPIRED, status=400)
        service.answer(GOOD)
        provider = Provider(Credentials(ID, SECRET, "old-token"), Credentials(ID, SECRET, "new-token"))
        async with opened(service.url, provider=provider) as transport:
            assert await called(transport) == GOOD
        assert len(service.sent) == 3

    @pytest.mark.parametrize("code", ["InvalidAccessKeyId.NotFound", "SignatureDoesNotMatch", "InvalidSecurityToken.X"])
    async def test_a_key_without_a_token_is_renewed_too(self, service: Service, code: str) -> None:
        """A key may have been rotated."""
        service.answer(coded(code), status=400)
        service.answer(GOOD)
        provider = Provider(Credentials(ID, SECRET), Credentials(ID, "another"))
        async with opened(service.url, provider=provider) as transport:
            assert await called(transport) == GOOD
        assert provider.forgotten == 1

    async def test_a_permission_is_not_renewed(self, service: Service) -> None:
        """A missing permission is missing for the user's other keys, too."""
        service.answer(coded("Forbidden.RAM"), status=403)
        provider = Provider(Credentials(ID, SECRET), Credentials(ID, "another"))
        async with opened(service.url, provider=provider) as transport:
            assert type(await failed(transport)) is AuthenticationError
        assert provider.forgotten == 0

    @pytest.mark.parametrize("error", [ValueError("words of theirs"), TimeoutError(), KeyError("AccessKey")])
    async def test_a_provider_that_raises(self, error: Exception) -> None:
        """It is a fault with the provider's error as the cause; the error's text is not repeated."""
        async with opened(None, provider=Failing(error)) as transport:
            caught = await failed(transport)
        assert isinstance(caught, ServiceUnavailableError)
        assert not caught.sent
        assert caught.__cause__ is error
        assert str(caught) == f"the credentials provider raised {type(error).__name__} (see the cause)"

    async def test_a_provider_that_raises_ours(self) -> None:
        """An AuthenticationError is raised as a copy for each call, because a call notes its region in it."""
        error = AuthenticationError("NoRole", "no credentials anywhere", "R-1", 403)
        error.__cause__ = LookupError("sealed")
        async with opened(None, provider=Failing(error)) as transport:
            caught = [await failed(transport) for _ in range(2)]
        assert len({id(one) for one in (error, *caught)}) == 3
        for one in caught:
            assert (type(one), str(one), one.__cause__) == (AuthenticationError, str(error), error.__cause__)

    async def test_a_provider_that_is_canceled(self) -> None:
        """A cancellation that the caller did not request is a fault of the provider like any other exception."""
        async with opened(None, provider=Failing(asyncio.CancelledError())) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert not error.sent
        assert isinstance(error.__cause__, asyncio.CancelledError)

    async def test_a_provider_that_gives_something_else(self) -> None:
        """A provider that returns something else is an AuthenticationError."""

        class Odd:
            async def get_credentials(self) -> Any:
                return ("id", "secret-words")

        async with opened(None, provider=Odd()) as transport:
            error = await failed(transport)
        assert type(error) is AuthenticationError
        assert isinstance(error.__cause__, TypeError)
        assert "secret-words" not in shown(error)

    async def test_a_provider_that_stalls(self, clock: VirtualTime) -> None:
        """It may take as long as an attempt; then it is a fault, before anything was sent."""

        class Stalling:
            async def get_credentials(self) -> Credentials:
                await asyncio.Event().wait()
                raise AssertionError

        began = clock.time()
        async with opened(None, provider=Stalling()) as transport:
            error = await failed(transport)
        assert isinstance(error, ServiceUnavailableError)
        assert not error.sent
        assert clock.time() - began == 30


def assert_no_secret(error: BaseException, service: Service) -> None:
    """Neither the error nor its causes show a secret, a signature or an Authorization value."""
    words = shown(error)
    for sent in service.sent:
        authorization = sent.headers["authorization"]
        assert authorization not in words
        assert authorization.rpartition("=")[2] not in words
    for secret in (SECRET, TOKEN):
        assert secret not in words
        assert secret.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D") not in words
        assert secret.replace("/", "\\/") not in words


def spelled(text: str) -> list[str]:
    """The ways in which an echo may spell a secret."""
    percent = "".join(char if char.isalnum() or char in "-_.~" else f"%{ord(char):02X}" for char in text)
    return [
        text,
        percent,
        re.sub("%..", lambda octet: octet[0].lower(), percent),
        percent.replace("%", "%25"),
        text.replace("/", "\\/"),
        "".join(char if char.isalnum() else f"\\u{ord(char):04x}" for char in text),
    ]


class TestSecrets:
    @pytest.mark.parametrize("spelling", range(6))
    @pytest.mark.parametrize("secret", [SECRET, TOKEN])
    async def test_an_echo_in_an_error(self, service: Service, secret: str, spelling: int) -> None:
        """A secret in any part of an error, in any spelling, is removed."""
        echo = spelled(secret)[spelling]
        service.answer({"Code": f"Odd.{echo}", "Message": f"you said {echo}, {echo}", "RequestId": echo}, status=400)
        async with opened(service.url, provider=StaticCredentials(ID, SECRET, TOKEN)) as transport:
            error = await failed(transport)
        assert (error.code, error.message, error.request_id) == ("Odd.***", "you said ***, ***", "***")
        assert_no_secret(error, service)

    @pytest.mark.parametrize("spelling", range(6))
    async def test_an_echo_in_an_answer(self, service: Service, spelling: int) -> None:
        """A secret in an answer's data is removed at any depth, in keys too, because the data may end up in an error."""
        echo = spelled(SECRET)[spelling]
        service.answer({"TaskSet": {"Task": [{"TaskId": "t-1", "Odd": f"<{echo}>", echo: 1}]}, "Count": 1.5})
        async with opened(service.url) as transport:
            data = await called(transport)
        assert data == {"TaskSet": {"Task": [{"TaskId": "t-1", "Odd": "<***>", "***": 1}]}, "Count": 1.5}

    async def test_no_lone_surrogates(self, service: Service) -> None:
        """A lone surrogate is replaced; a pair stays."""
        service.answer(body=rb'{"Odd": "a\ud800b", "Even": "\ud83d\ude00"}')
        async with opened(service.url) as transport:
            assert await called(transport) == {"Odd": "a\ufffdb", "Even": "\U0001f600"}

    async def test_json_may_spell_any_character(self, service: Service) -> None:
        """A secret written in escapes only is found."""
        escaped = "".join(f"\\u{ord(char):04x}" for char in SECRET)
        service.answer(body=f'{{"Odd": "{escaped}"}}'.encode())
        async with opened(service.url) as transport:
            assert await called(transport) == {"Odd": "***"}

    async def test_a_signature_echoed(self, service: Service) -> None:
        """The string to sign that the service quotes is cut off; a signature anywhere is removed."""
        async with opened(service.url, provider=StaticCredentials(ID, SECRET, TOKEN)) as transport:
            service.answer(GOOD)
            await called(transport)
            authorization = service.sent[0].headers["authorization"]
            service.script[:] = []
            message = (
                "Specified signature does not match our calculation. server StringToSign is [ACS3-HMAC-SHA256\nabc], "
                f"server CanonicalRequest is [POST\nx-acs-security-token:{TOKEN}\n{authorization}]"
            )
            service.answer({**coded("SignatureDoesNotMatch"), "Message": message}, status=400)
            error = await failed(transport)
        assert error.message == "Specified signature does not match our calculation."
        assert_no_secret(error, service)

    async def test_this_attempts_signature(self, service: Service) -> None:
        """The signature of the request is removed wherever it is repeated."""
        requests = service.sent

        class Echo(list[bytes | None]):
            def __getitem__(self, index: Any) -> Any:
                body = json.dumps({"Code": "Odd", "Message": f"got {requests[-1].headers['authorization']}"}).encode()
                return b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

        service.script = Echo([b""])
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert error.message == "got ***"

    async def test_no_control_codes(self, service: Service) -> None:
        """The service's text cannot forge a log line or control a terminal, and is cut."""
        service.answer({"Code": "Odd", "Message": "a\nERROR b\x1b[2J\u202e\ud800" + "c" * 5000}, status=400)
        async with opened(service.url) as transport:
            error = await failed(transport)
        assert error.message.startswith(r"a\nERROR b\x1b[2J\u202e\ud800ccc")
        assert len(error.message) == 1000
        str(error).encode()

    async def test_the_log(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        """A call is one line at DEBUG, without a secret."""
        caplog.set_level(logging.DEBUG, "ecs_waiter.api")
        service.answer(GOOD)
        service.script.append(None)
        async with opened(service.url, provider=StaticCredentials(ID, SECRET, TOKEN)) as transport:
            await called(transport)
            await failed(transport)
        lines = [record.getMessage() for record in caplog.records if record.name == "ecs_waiter.api"]
        assert len(lines) == 2
        assert lines[0] == "DescribeTasks in cn-hangzhou: HTTP status 200"
        assert not any(secret in line for line in lines for secret in (SECRET, TOKEN, "Signature"))
