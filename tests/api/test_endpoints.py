"""Regions and endpoints: signed requests go to the right host and to no other."""

from __future__ import annotations

import ipaddress
import json
import re
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from alibabacloud_ecs20140526.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from ecs_waiter.api.endpoints import base_url, resolve_endpoint
from ecs_waiter.ids import check_region, resolve_region

EXCEPTIONS = json.loads((Path(__file__).parents[1] / "data" / "endpoints.json").read_text(encoding="utf-8"))
ORDINARY = [
    "cn-beijing",
    "cn-beijing-finance-1",
    "cn-shanghai",
    "cn-hongkong",
    "us-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "me-east-1",
]
NO_REGIONS = [
    "",
    "cn",
    "-cn",
    "cn-",
    "cn--hangzhou",
    "CN-HANGZHOU",
    "cn_hangzhou",
    "cn-hangzhou\n",
    " cn-hangzhou",
    "cn-hang zhou",
    "cn-hangzhou.evil.com/",
    "cn-hangzhou@evil.com",
    "cn-hangzhou/",
    "cn-hangzhou#",
    "cn-hangzhou%2e",
    "cn-hangzhoù",
    "cn-hangzhou-\u0661",  # a digit, but not an ASCII one
    "1cn-hangzhou",
    "cn-" + "a" * 61,
    "\ud800",
]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIBABA_CLOUD_REGION_ID", raising=False)
    monkeypatch.delenv("ECS_WAITER_ENDPOINT", raising=False)


def official_host(region_id: str) -> str:
    """The host that the official client would call."""
    client = Client(Config(access_key_id="id", access_key_secret="secret", region_id=region_id))
    host: str = client._endpoint
    return host


def test_every_exception_is_known() -> None:
    """The map is the official one, and the official client still has no other."""
    client = Client(Config(access_key_id="id", access_key_secret="secret", region_id="cn-hangzhou"))
    assert client._endpoint_map == EXCEPTIONS


@pytest.mark.parametrize("region_id", [*EXCEPTIONS, *ORDINARY])
def test_a_region_has_the_host_that_the_official_client_calls(region_id: str) -> None:
    """By the map of exceptions or else by the rule, always over https."""
    assert base_url(region_id, None) == URL(f"https://{official_host(region_id)}/")


@pytest.mark.parametrize("region_id", [*EXCEPTIONS, *ORDINARY])
def test_a_region_may_have_any_name_of_the_official_map(region_id: str) -> None:
    """No real region is refused."""
    assert check_region(region_id) == region_id


@pytest.mark.parametrize("region_id", NO_REGIONS)
def test_what_is_no_name_of_a_region_is_refused(region_id: str) -> None:
    """It would become part of a host name; the message shows what one looks like."""
    with pytest.raises(ValueError, match="looks like 'cn-hangzhou'"):
        check_region(region_id)
    with pytest.raises(ValueError, match="looks like 'cn-hangzhou'"):
        base_url(region_id, None)


@pytest.mark.parametrize("region_id", [None, 1, b"cn-hangzhou", ["cn-hangzhou"]])
def test_a_region_is_text(region_id: object) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="a region is text such as 'cn-hangzhou'"):
        check_region(region_id)


def test_a_refusal_can_be_printed_and_is_short() -> None:
    """However long and odd the input, the message is one short line of printable text."""
    with pytest.raises(ValueError, match="looks like") as caught:
        check_region("\x1b[2J\n" * 1000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_a_region_from_an_enum_is_its_value() -> None:
    """The host is made of the text itself, not of how an enum prints."""

    class Region(str, Enum):  # noqa: UP042 - StrEnum would print as its value; this one would not
        HANGZHOU = "cn-hangzhou"

    assert f"{check_region(Region.HANGZHOU)}" == "cn-hangzhou"


@given(region_id=st.text() | st.from_regex(r"[a-z]{2,3}-[a-z0-9.@/:-]+"))
def test_no_text_leads_out_of_the_official_domain(region_id: str) -> None:
    """Whatever passes for a region, its calls go to a host of aliyuncs.com."""
    try:
        url = base_url(region_id, None)
    except ValueError:
        return
    assert re.fullmatch(r"https://ecs[a-z0-9.-]*\.aliyuncs\.com/", str(url))


def test_the_region_falls_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """ALIBABA_CLOUD_REGION_ID counts where none is passed, and only there."""
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "us-west-1")
    assert resolve_region(None) == "us-west-1"
    assert resolve_region("cn-hangzhou") == "cn-hangzhou"


@pytest.mark.parametrize("value", [None, ""])
def test_no_region_at_all_says_what_to_do(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """Neither passed nor set: the message names both ways."""
    if value is not None:
        monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", value)
    with pytest.raises(ValueError, match="pass region_id= or set ALIBABA_CLOUD_REGION_ID"):
        resolve_region(None)


def test_a_bad_region_in_the_environment_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, for the caller has passed nothing."""
    monkeypatch.setenv("ALIBABA_CLOUD_REGION_ID", "Hangzhou")
    with pytest.raises(ValueError, match="ALIBABA_CLOUD_REGION_ID: a region's name"):
        resolve_region(None)


@pytest.mark.parametrize(
    ("endpoint", "normal"),
    [
        ("https://ecs.example.com", "https://ecs.example.com"),
        ("https://ecs.example.com/", "https://ecs.example.com"),
        ("HTTPS://ECS.Example.COM:443/", "https://ecs.example.com"),
        ("https://ecs.example.com:80", "https://ecs.example.com:80"),
        ("https://proxy:08443", "https://proxy:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
        ("https://[2001:DB8::0:1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST/", "http://localhost"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:80", "http://[::1]"),
        ("http://[0:0:0:0:0:0:0:1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_endpoint_is_a_base_url(endpoint: str, normal: str) -> None:
    """It comes back in small letters, without the scheme's own port and without a slash at its end."""
    assert resolve_endpoint(endpoint) == normal
    assert resolve_endpoint(normal) == normal
    assert str(base_url("cn-hangzhou", normal)) == f"{normal}/"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        " ",
        "/",
        "ecs.example.com",
        "//ecs.example.com",
        "ftp://ecs.example.com",
        "https:/ecs.example.com",
        "https://",
        "https:///",
        "https://:443",
        "https://ecs.example.com:",
        "https://ecs.example.com:x",
        "https://ecs.example.com:-1",
        "https://ecs.example.com:\u0661",
        "https://ecs.example.com/path",
        "https://ecs.example.com//",
        "https://ecs.example.com?query",
        "https://ecs.example.com/#fragment",
        "https://user@ecs.example.com",
        "https://user:hunter2@ecs.example.com",
        "http://127.0.0.1@evil.com",
        "http://127.0.0.1:80@evil.com",
        "http://127.0.0.1\\@evil.com",
        "http://evil.com\\127.0.0.1",
        "http://127.0.0.1#@evil.com",
        "https://ecs.example.com\n",
        " https://ecs.example.com",
        "https://ecs.example.com\t.evil.com",
        "https://ecs.exam\u00adple.com",
        "https://b\u00fccher.example",
        "https://\u212aelvin.example",  # folds to an ASCII k
        "http\u017f://ecs.example.com",  # folds to an ASCII s
        "http://localhost\u3002",
        "https://ecs.example.com%2f.evil.com",
        "https://[::1",
        "https://::1",
        "https://[fe80::1%25eth0]",
        "https://[v1.a]",
        "\ud800",
    ],
)
def test_what_is_no_base_url_is_refused(endpoint: str) -> None:
    """Anything but scheme, host and port is refused, unrepeated: it may hold a password."""
    with pytest.raises(ValueError, match="endpoint takes a base URL such as") as caught:
        resolve_endpoint(endpoint)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://-ecs.example.com",
        "https://ecs-.example.com",
        "https://ecs..example.com",
        "https://.example.com",
        "https://ecs.example.com.",
        "https://" + "a" * 64 + ".com",
        "https://" + "a." * 127 + "com",
        "https://127.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://0x7f.0.0.0x1",
        "https://0177.0.0.1",
        "https://256.0.0.1",
        "https://[1::2::3]",
        "https://[127.0.0.1]",
        "https://[:::1]",
    ],
)
def test_a_host_that_resolvers_read_in_two_ways_is_refused(endpoint: str) -> None:
    """An address is written in full, and a name keeps to the rules of names."""
    with pytest.raises(ValueError, match="endpoint has an invalid"):
        resolve_endpoint(endpoint)


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_is_a_port(port: int) -> None:
    """1 to 65535."""
    with pytest.raises(ValueError, match="endpoint takes a port from 1 to 65535"):
        resolve_endpoint(f"https://ecs.example.com:{port}")


@pytest.mark.parametrize(
    "host",
    [
        "ecs.example.com",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "evil.localhost",
        "128.0.0.1",
        "10.0.0.1",
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "[::]",
        "[::2]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
    ],
)
def test_plain_http_stays_on_this_machine(host: str) -> None:
    """Whoever listens on the way would see the requests."""
    with pytest.raises(ValueError, match=r"plain http for loopback only.*: use https"):
        resolve_endpoint(f"http://{host}:8080")


@pytest.mark.parametrize("endpoint", [1, b"https://ecs.example.com", URL("https://ecs.example.com")])
def test_an_endpoint_is_text(endpoint: Any) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match="endpoint takes a base URL as text"):
        resolve_endpoint(endpoint)


def test_the_endpoint_falls_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """ECS_WAITER_ENDPOINT counts where none is passed, and only there."""
    monkeypatch.setenv("ECS_WAITER_ENDPOINT", "http://127.0.0.1:8080/")
    assert resolve_endpoint(None) == "http://127.0.0.1:8080"
    assert resolve_endpoint("https://ecs.example.com") == "https://ecs.example.com"


@pytest.mark.parametrize("value", [None, ""])
def test_no_endpoint_means_each_region_its_own(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """An empty variable is no endpoint."""
    if value is not None:
        monkeypatch.setenv("ECS_WAITER_ENDPOINT", value)
    assert resolve_endpoint(None) is None


def test_a_bad_endpoint_in_the_environment_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable, for the caller has passed nothing."""
    monkeypatch.setenv("ECS_WAITER_ENDPOINT", "http://ecs.example.com")
    with pytest.raises(ValueError, match="ECS_WAITER_ENDPOINT takes plain http for loopback only"):
        resolve_endpoint(None)


odd_hosts = st.text(st.sampled_from("a1.-:@/\\[]%#?x7f0\t\n \u3002"), max_size=20) | st.sampled_from(
    ["127.0.0.1", "localhost", "[::1]", "evil.com"]
)


@given(scheme=st.sampled_from(["http://", "https://", "HTTP://"]), parts=st.lists(odd_hosts, max_size=3))
@example(scheme="http://", parts=["127.0.0.1", ":80"])
@example(scheme="http://", parts=["127.0.0.1", "\\@", "evil.com"])
def test_every_parser_sees_the_same_host(scheme: str, parts: list[str]) -> None:
    """What passes means one host and port to all, and over plain http that is this machine."""
    try:
        endpoint = resolve_endpoint(scheme + "".join(parts))
    except ValueError:
        return
    assert endpoint is not None
    seen, also = urlsplit(endpoint), URL(endpoint)
    assert seen.hostname == also.host
    assert (seen.port or {"http": 80, "https": 443}[seen.scheme]) == also.port
    assert seen.netloc == endpoint.partition("://")[2]
    if also.scheme == "http":
        assert also.host == "localhost" or ipaddress.ip_address(also.host or "").is_loopback
