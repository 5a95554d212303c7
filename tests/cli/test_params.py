"""An operation's parameters, as the command line gives them."""

from __future__ import annotations

from typing import Any

import pytest

from ecs_waiter.cli.exit_codes import MisuseError
from ecs_waiter.cli.inputs import read_params, region_of_params


@pytest.mark.parametrize(
    ("pairs", "document", "params"),
    [
        ([], None, {}),
        (["Tag.1.Key=a", "Tag.1.Value=b=c", "Empty="], None, {"Tag.1.Key": "a", "Tag.1.Value": "b=c", "Empty": ""}),
        (["Name=mine"], '{"Name": "theirs", "Size": 5}', {"Name": "mine", "Size": 5}),
    ],
)
def test_params(pairs: list[str], document: str | None, params: dict[str, Any]) -> None:
    """Pairs split at the first equals sign, and take precedence over the document."""
    assert read_params(pairs, document) == params


@pytest.mark.parametrize(
    ("pairs", "document", "told"),
    [
        (["Name"], None, "takes Key=Value, not 'Name'"),
        (["=x"], None, "takes Key=Value"),
        (["A=1", "A=2"], None, "given twice: items of a list are numbered"),
        (["accesskeyid=x"], None, "credentials come from"),
        ([], '{"SecurityToken": "x"}', "credentials come from"),
        ([], "{", "invalid JSON"),
        ([], "[]", "takes a JSON object"),
    ],
)
def test_misuse(pairs: list[str], document: str | None, told: str) -> None:
    """What is no parameter is misuse."""
    with pytest.raises(MisuseError, match=told):
        read_params(pairs, document)


def test_region() -> None:
    """The parameter RegionId names the region where the option does not."""
    assert region_of_params({}, "cn-beijing") == "cn-beijing"
    assert region_of_params({"RegionId": "us-west-1"}, None) == "us-west-1"
    with pytest.raises(MisuseError, match="are two regions"):
        region_of_params({"RegionId": "us-west-1"}, "cn-beijing")
