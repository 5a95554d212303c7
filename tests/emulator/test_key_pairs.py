"""With key pairs given, only what is signed with one of them, now and once, is let in.

The requests are signed by the official SDKs' own signers and then changed, so the library does not test itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from alibabacloud_tea_openapi.utils import Utils
from aliyunsdkcore.auth.composer import rpc_signature_composer
from Tea.request import TeaRequest

from ecs_waiter.emulator import EcsEmulator

pytestmark = pytest.mark.asyncio

_HOST = "ecs.cn-hangzhou.aliyuncs.com"
_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_EMPTY = hashlib.sha256(b"").hexdigest()

Signed = tuple[dict[str, str], dict[str, str]]
Sign = Callable[[], Signed]


def acs3(key_id: str = "key", secret: str = "secret", token: str = "", **headers: str) -> Signed:
    """Sign DescribeTasks as the present SDK does; return query and headers."""
    request = TeaRequest()
    request.method, request.pathname = "POST", "/"
    request.query = {"RegionId": "cn-hangzhou", "TaskIds": "t-1,t-2", "TaskAction": "~a b+ü*/", "TaskStatus": ""}
    request.headers = {
        "host": _HOST,
        "x-acs-action": "DescribeTasks",
        "x-acs-version": "2014-05-26",
        "x-acs-date": datetime.now(UTC).strftime(_STAMP),
        "x-acs-signature-nonce": uuid4().hex,
        "x-acs-content-sha256": _EMPTY,
        **({"x-acs-security-token": token, "x-acs-accesskey-id": key_id} if token else {}),
        **headers,
    }
    authorization = Utils.get_authorization(request, "ACS3-HMAC-SHA256", _EMPTY, key_id, secret)
    return dict(request.query), {**request.headers, "Authorization": authorization}


def rpc(key_id: str = "key", secret: str = "secret", **more: str) -> Signed:
    """Sign DescribeTasks as the older SDK does; return query and headers."""
    params = {"Action": "DescribeTasks", "Version": "2014-05-26", "RegionId": "cn-hangzhou", "TaskAction": "~a b+ü*/"}
    rpc_signature_composer.get_signed_url(params := params | more, key_id, secret, "JSON", "POST", {})
    return params, {"host": _HOST}


async def send(ecs: EcsEmulator, signed: Signed, body: bytes = b"") -> str:
    """Send it and return the answer's code, or OK."""
    query, headers = signed
    async with (
        ecs.session() as session,
        session.post(f"{ecs.url}/?{urlencode(query)}", headers=headers, data=body) as response,
    ):
        data: dict[str, Any] = await response.json()
        return str(data["Code"]) if response.status != 200 else "OK"


def emulator() -> EcsEmulator:
    """Return one that accepts a lasting key pair and a temporary one."""
    return EcsEmulator(key_pairs=[("key", "secret"), ("sts", "other", "token")])


@pytest.mark.parametrize(
    "sign",
    [acs3, partial(acs3, "sts", "other", "token"), rpc, partial(rpc, "sts", "other", SecurityToken="token")],
    ids=["acs3", "acs3-sts", "rpc", "rpc-sts"],
)
async def test_well_signed_is_let_in_once(sign: Sign) -> None:
    """Both ways of signing are known, STS tokens too; a nonce is good for one request."""
    ecs, signed = emulator(), sign()
    assert await send(ecs, signed) == "OK"
    assert ecs.requests[0].access_key_id in {"key", "sts"}
    assert await send(ecs, signed) == "SignatureNonceUsed"


@pytest.mark.parametrize("sign", [acs3, rpc])
async def test_any_change_invalidates_the_signature(sign: Sign) -> None:
    """A parameter that was changed, added or taken away is noticed; the nonce stays unused."""
    ecs, signed = emulator(), sign()
    query, headers = signed
    for changed in (
        {**query, "RegionId": "us-west-1"},
        {**query, "PageSize": "100"},
        {name: value for name, value in query.items() if name != "TaskAction"},
    ):
        assert await send(ecs, (changed, headers)) == "SignatureDoesNotMatch"
    assert await send(ecs, signed) == "OK"


async def test_order_of_the_query_does_not_matter() -> None:
    """Parameters are signed in their sorted order, whatever the wire's order is."""
    query, headers = acs3()
    assert await send(emulator(), (dict(reversed(query.items())), headers)) == "OK"


@pytest.mark.parametrize("offset", [-timedelta(minutes=16), timedelta(minutes=16)])
async def test_wrong_clock_is_expired(offset: timedelta) -> None:
    """A time stamp more than a quarter of an hour off, either way, is InvalidTimeStamp.Expired."""
    stamp = (datetime.now(UTC) + offset).strftime(_STAMP)
    assert await send(emulator(), acs3(**{"x-acs-date": stamp})) == "InvalidTimeStamp.Expired"
    for sign in (acs3, rpc):
        ecs = emulator()
        ecs.inject("clock", offset=offset.total_seconds())
        assert await send(ecs, sign()) == "InvalidTimeStamp.Expired"


@pytest.mark.parametrize(
    ("sign", "code"),
    [
        (lambda: ({"Action": "DescribeTasks", "Version": "2014-05-26"}, {}), "IncompleteSignature"),
        (partial(acs3, "nobody"), "InvalidAccessKeyId.NotFound"),
        (partial(rpc, "nobody"), "InvalidAccessKeyId.NotFound"),
        (partial(acs3, secret="wrong"), "SignatureDoesNotMatch"),
        (partial(rpc, secret="wrong"), "SignatureDoesNotMatch"),
        (partial(acs3, "sts", "other"), "MissingSecurityToken"),
        (partial(rpc, "sts", "other"), "MissingSecurityToken"),
        (partial(acs3, "sts", "other", "stale"), "InvalidSecurityToken.MismatchWithAccessKey"),
        (partial(acs3, "key", "secret", "token"), "InvalidSecurityToken.MismatchWithAccessKey"),
        (partial(acs3, **{"x-acs-date": "today"}), "InvalidTimeStamp.Format"),
        (partial(acs3, **{"x-acs-signature-nonce": ""}), "IncompleteSignature"),
    ],
)
async def test_refusals(sign: Sign, code: str) -> None:
    """Each thing that can be wrong with a signer has its own code."""
    assert await send(emulator(), sign()) == code


async def test_body_must_be_the_one_signed() -> None:
    """The hash in x-acs-content-sha256 must be the body's."""
    assert await send(emulator(), acs3(), body=b"more") == "IncompleteSignature"


async def test_headers_of_the_service_must_be_signed() -> None:
    """An x-acs header that was added after signing is refused, and so is a header signed but not sent."""
    query, headers = acs3()
    assert await send(emulator(), (query, {**headers, "x-acs-extra": "1"})) == "IncompleteSignature"
    del headers["x-acs-signature-nonce"]
    assert await send(emulator(), (query, headers)) == "IncompleteSignature"


async def test_unreadable_signatures() -> None:
    """A request with an unreadable signature is IncompleteSignature."""
    query, headers = acs3()
    assert await send(emulator(), (query, {**headers, "Authorization": "Basic abc"})) == "IncompleteSignature"
    query, headers = rpc()
    assert await send(emulator(), ({**query, "SignatureMethod": "MD5"}, headers)) == "IncompleteSignature"


async def test_mismatch_echoes_what_was_signed() -> None:
    """The service returns its string to sign, which a client must not log."""
    query, headers = rpc(secret="wrong")
    ecs = emulator()
    async with ecs.session() as session, session.post(ecs.url, params=query, headers=headers) as response:
        message = (await response.json())["Message"]
    assert "server string to sign is:POST&%2F&AccessKeyId%3Dkey%26Action" in message


async def test_nonces_are_forgotten_in_time() -> None:
    """A nonce is remembered for as long as its time stamp could pass."""
    now = datetime.now(UTC).timestamp()
    ecs = EcsEmulator(key_pairs=[("key", "secret")], time=lambda: now, start=datetime.now(UTC))

    def sign() -> Signed:
        return acs3(**{"x-acs-date": ecs.now().strftime(_STAMP), "x-acs-signature-nonce": "always the same"})

    assert await send(ecs, sign()) == "OK"
    now += 29 * 60
    assert await send(ecs, sign()) == "SignatureNonceUsed"
    now += 2 * 60
    assert await send(ecs, sign()) == "OK"


async def test_without_key_pairs_anything_goes() -> None:
    """An emulator without key pairs asks for no signature."""
    ecs = EcsEmulator()
    signed = acs3("nobody", "knows")
    assert [await send(ecs, signed) for _ in range(2)] == ["OK", "OK"]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("key",)], "a key pair is .*; got 1 values"),
        ([("key", "secret", "token", "more")], "got 4 values"),
        ([("key", "a"), ("key", "b")], "the key ID 'key' is given twice"),
    ],
)
async def test_impossible_key_pairs(pairs: list[tuple[str, ...]], message: str) -> None:
    """A key pair has two or three parts, and a key ID is given once."""
    with pytest.raises(ValueError, match=message):
        EcsEmulator(key_pairs=pairs)
