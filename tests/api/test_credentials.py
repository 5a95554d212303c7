"""Credentials: what signs is shown to no one, and what gives it is told from what does not."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from ecs_waiter.api.credentials import Credentials, DefaultCredentials, StaticCredentials, check_provider

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "S3cr3tK3y/0123456789"
TOKEN = "CAIS3cur1tyT0k3n+/=="

Holder = type[Credentials] | type[StaticCredentials]
both = pytest.mark.parametrize("holder", [Credentials, StaticCredentials])


@both
@pytest.mark.parametrize("shown", [repr, str, lambda value: f"{value}", lambda value: repr({"nested": [value]})])
def test_only_the_key_id_is_shown(holder: Holder, shown: Callable[[object], str]) -> None:
    """A repr names the key, hides what must not be known, and tells whether there is a token."""
    name = holder.__name__
    expected = f"{name}(access_key_id='LTAI', access_key_secret=***, security_token=***)"
    assert expected in shown(holder("LTAI", SECRET, TOKEN))
    assert f"{name}(access_key_id='LTAI', access_key_secret=***, security_token=None)" in shown(holder("LTAI", SECRET))


@both
def test_a_failed_comparison_shows_no_secret(holder: Holder) -> None:
    """Test runners explain a failed comparison of dataclasses field by field; not here."""
    one, other = holder("LTAI", SECRET, TOKEN), holder("LTAI", SECRET[:-1], TOKEN[:-1])
    with pytest.raises(AssertionError) as caught:
        assert one == other
    assert SECRET[:-1] not in str(caught.value)
    assert TOKEN[:-1] not in str(caught.value)


@both
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused(holder: Holder, protocol: int) -> None:
    """A pickle would hold the secret in plain text, however deep inside it."""
    with pytest.raises(TypeError, match=f"{holder.__name__} does not pickle"):
        pickle.dumps({"nested": [holder("LTAI", SECRET)]}, protocol)


@both
def test_a_copy_is_the_object_itself(holder: Holder) -> None:
    """Nothing about it can change, so there is nothing to copy."""
    value = holder("LTAI", SECRET)
    assert copy.copy(value) is value
    assert copy.deepcopy([value])[0] is value


@both
def test_equality_is_by_value(holder: Holder) -> None:
    """Waits that pass equal credentials share their polls."""
    assert holder("LTAI", SECRET, TOKEN) == holder("LTAI", SECRET, TOKEN)
    assert len({holder("LTAI", SECRET), holder("LTAI", SECRET, None), holder("LTAI", SECRET, "")}) == 1
    others = [("LTAJ", SECRET, TOKEN), ("LTAI", SECRET + "x", TOKEN), ("LTAI", SECRET, None)]
    assert holder("LTAI", SECRET, TOKEN) not in [holder(*other) for other in others]
    assert holder("LTAI", SECRET) != ("LTAI", SECRET, None)


def test_credentials_and_their_provider_are_two_things() -> None:
    """What signs is not equal to what gives it."""
    assert Credentials("LTAI", SECRET) != StaticCredentials("LTAI", SECRET)
    assert len({Credentials("LTAI", SECRET), StaticCredentials("LTAI", SECRET)}) == 2


def test_credentials_do_not_change() -> None:
    """A call signs with what it was given."""
    with pytest.raises(AttributeError):
        Credentials("LTAI", SECRET).access_key_secret = "other"  # type: ignore[misc]


@both
def test_an_empty_token_is_none(holder: Holder) -> None:
    """An unset variable often arrives as empty text."""
    assert holder("LTAI", SECRET, "") == holder("LTAI", SECRET, None)
    assert Credentials("LTAI", SECRET, "").security_token is None


@both
@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("access_key_id", ("", SECRET, None)),
        ("access_key_id", ("LT AI", SECRET, None)),
        ("access_key_secret", ("LTAI", "", None)),
        ("access_key_secret", ("LTAI", SECRET + "\n", None)),
        ("access_key_secret", ("LTAI", " " + SECRET, None)),
        ("access_key_secret", ("LTAI", SECRET + "\x00", None)),
        ("access_key_secret", ("LTAI", SECRET + "é", None)),
        ("access_key_secret", ("LTAI", SECRET + "\ud800", None)),
        ("security_token", ("LTAI", "ok", SECRET + "\r\nX-Evil: 1")),
        ("security_token", ("LTAI", "ok", " ")),
    ],
)
def test_what_cannot_go_into_a_header_is_refused(
    holder: Holder, part: str, values: tuple[str, str, str | None]
) -> None:
    """The message names the part and does not repeat it."""
    with pytest.raises(ValueError, match=part) as caught:
        holder(*values)
    assert SECRET not in str(caught.value)


@both
@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("access_key_id", (None, SECRET, None)),
        ("access_key_secret", ("LTAI", SECRET.encode(), None)),
        ("security_token", ("LTAI", "ok", [SECRET])),
    ],
)
def test_every_part_is_text(holder: Holder, part: str, values: tuple[Any, Any, Any]) -> None:
    """Anything else is a TypeError that names the part and does not repeat it."""
    with pytest.raises(TypeError, match=f"{part} takes text") as caught:
        holder(*values)
    assert SECRET not in str(caught.value)


@pytest.mark.asyncio
async def test_static_credentials_give_what_they_were_given() -> None:
    """The same every time."""
    provider = StaticCredentials("LTAI", SECRET, TOKEN)
    assert await provider.get_credentials() == Credentials("LTAI", SECRET, TOKEN)


def test_none_is_the_one_default_of_the_process() -> None:
    """Waits that pass no credentials share their polls."""
    assert isinstance(check_provider(None), DefaultCredentials)
    assert check_provider(None) is check_provider(None)


def test_any_object_with_the_method_is_a_provider() -> None:
    """It need not inherit from anything."""

    class Mine:
        async def get_credentials(self) -> Credentials:
            return Credentials("LTAI", SECRET)

    for provider in (Mine(), StaticCredentials("LTAI", SECRET), DefaultCredentials()):
        assert check_provider(provider) is provider


def official_client() -> object:
    """The official package's object, with a method of that name that is another."""
    from alibabacloud_credentials.client import Client  # noqa: PLC0415 - slow to import, and wanted once
    from alibabacloud_credentials.models import Config  # noqa: PLC0415

    return Client(Config(type="access_key", access_key_id="LTAI", access_key_secret=SECRET))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Credentials("LTAI", SECRET), r"wrap them as StaticCredentials\("),
        (lambda: StaticCredentials, "not the class StaticCredentials: make an object of it"),
        (lambda: {"access_key_id": "LTAI"}, r"StaticCredentials\(.*get_credentials.*not dict"),
        (lambda: ("LTAI", SECRET), r"StaticCredentials\(.*get_credentials.*not tuple"),
        (lambda: SECRET, r"StaticCredentials\(.*get_credentials.*not str"),
        (lambda: MagicMock(get_credentials=None), "get_credentials"),
        (official_client, "alibabacloud_credentials have none"),
    ],
)
def test_what_is_no_provider_is_refused_with_what_to_pass(make: Callable[[], object], told: str) -> None:
    """A TypeError before any call, without the secrets that it may hold."""
    with pytest.raises(TypeError, match=told) as caught:
        check_provider(make())
    assert SECRET not in str(caught.value)
