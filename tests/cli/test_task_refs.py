"""IDs, REGION:ID, and what other commands print."""

from __future__ import annotations

import json

import pytest

from ecs_waiter.cli.failure import MisuseError
from ecs_waiter.cli.task_refs import read_refs


def read(text: str, region_id: str | None = "cn-hangzhou") -> list[str]:
    """The tasks that stdin names."""
    return [str(ref) for ref in read_refs(["-"], region_id, lambda: text)]


def test_arguments() -> None:
    """Each task once, in the order named, stdin in the place of its dash."""
    refs = read_refs(["us-west-1:t-2", "-", "t-1", "-"], "cn-hangzhou", lambda: "t-3\nt-1\n")
    assert [str(ref) for ref in refs] == ["us-west-1:t-2", "cn-hangzhou:t-3", "cn-hangzhou:t-1"]


def test_no_dash_no_stdin() -> None:
    """Without a dash stdin is left alone."""

    def fail() -> str:
        raise AssertionError

    assert len(read_refs(["t-1"], "cn-hangzhou", fail)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "t-1\nus-west-1:t-2",
        "\n# a comment\n  t-1  \r\n\n us-west-1:t-2\n",
        '{"TaskId": "t-1"}{"TaskId": "t-2", "RegionId": "us-west-1"}',
        '{\n  "TaskId": "t-1"\n}\nus-west-1:t-2\n',
        '[{"TaskId": "t-1"}, {"task_id": "t-2", "region_id": "us-west-1"}]',
        '"t-1"\n"us-west-1:t-2"',
    ],
)
def test_layouts(text: str) -> None:
    """Lists and JSON in any layout, mixed, name the same tasks."""
    assert read(text) == ["cn-hangzhou:t-1", "us-west-1:t-2"]


def test_answers_of_the_service_and_of_this_command() -> None:
    """A list of tasks as DescribeTasks or this command prints it names its tasks."""
    answer = {"RegionId": "eu-central-1", "TaskSet": {"Task": [{"TaskId": "t-1"}, {"TaskId": "t-2"}]}}
    assert read(json.dumps(answer, indent=2), None) == ["eu-central-1:t-1", "eu-central-1:t-2"]
    ours = {"tasks": [{"region_id": "us-west-1", "task_id": "t-1"}], "summary": {"pending": 1}}
    assert read(json.dumps(ours), None) == ["us-west-1:t-1"]


def test_many_lines() -> None:
    """A long list is read in a time that grows with its length only."""
    text = "\n".join(f'{{"TaskId": "t-{number}"}}' for number in range(30_000))
    assert len(read(text)) == 30_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "stdin named no task"),
        ("# nothing\n", "stdin named no task"),
        ("t-1\n\nt-2,t-3\n", "line 3 of stdin: .*commas"),
        ("t-1\nt 2\n", "line 2 of stdin: .*white space"),
        ("t-1\n{broken", "line 2 of stdin: it begins like JSON but is none"),
        ("[" * 100_000, "line 1 of stdin"),
        ('{"RequestId": "1"}', "line 1 of stdin: the JSON has no TaskId"),
        ('{"TaskId": 7}', "line 1 of stdin: a task ID is text"),
        ("[7]", "line 1 of stdin: JSON that names tasks is an object"),
        ("Shanghai:t-1", "a region's name looks like"),
        ("cn-hangzhou:", "a task ID is empty"),
        ("us-west-1:t-1\nt-1\n", "t-1 is named in two regions, us-west-1 and cn-hangzhou"),
    ],
)
def test_misuse(text: str, told: str) -> None:
    """What names no task is misuse, and where it stands is told."""
    with pytest.raises(MisuseError, match=told):
        read(text)


def test_no_region() -> None:
    """Without any region the message says how to name one."""
    with pytest.raises(MisuseError, match="no region is known for t-1: write REGION:ID, or name the region with"):
        read_refs(["t-1"], None, str)
