"""IDs, REGION:ID, and what other commands print."""

from __future__ import annotations

import json

import pytest

from ecs_waiter import TaskDetail
from ecs_waiter.cli.exit_codes import MisuseError
from ecs_waiter.cli.inputs import read_refs


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
    old = {"RegionId": "eu-central-1", "TaskSet": [{"Task": [{"TaskId": "t-1"}, {"TaskId": "t-2"}]}]}
    assert read(json.dumps(old)) == read(json.dumps(answer))
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
        ('t-1\n""\n', "line 2 of stdin: a task ID is empty"),
        ("t-\u061c1", "line 1 of stdin: .*control characters"),
        ("t-1\nt 2\n", "line 2 of stdin: .*white space"),
        ("t-1\n{broken", "line 2 of stdin: invalid JSON"),
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


FAILED_COMMAND = """\
ERROR: SDK.ServerError
ErrorCode: InvalidImageName.Duplicated
Recommend: https://error-center.aliyun.com/status/search?Keyword=InvalidImageName.Duplicated
RequestId: 473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E
Message: The specified Image name has already been used.
RespHeaders: map[Content-Type:[application/json]]
"""


@pytest.mark.parametrize(
    "text",
    [
        *FAILED_COMMAND.splitlines(),
        "ERROR:",
        "ERROR:SDK.ServerError",
        "[error] no such profile",
        "[ERROR]",
        "error",
        "   StatusCode: 404",
        "WARN: the profile has expired",
    ],
)
def test_messages_of_other_commands(text: str) -> None:
    """A line of an error message is refused with its number, and the command before the pipe is suspected."""
    with pytest.raises(
        MisuseError, match=r"^line 3 of stdin: '.*' is a message of a command.*before the pipe"
    ) as caught:
        read(f"t-1\n\n{text}\n")
    assert text.split(maxsplit=1)[0] in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "------",
        "- -",
        "+-----+--------+",
        "==========",
        "| TaskId |",
        "|t-1|",
        "| t-1 | Finished |",
        "TaskId | TaskStatus",
        "------ | ----------",
        "t-1 | Finished",
        "\u250c\u2500\u2500\u2510",
        "\u2502 TaskId \u2502",
        "\u2502t-1\u2502",
        "\u2501\u2501\u2501",
        "***",
    ],
)
def test_lines_of_tables(text: str) -> None:
    """A ruler or a row of a table is refused with its number, and the way to JSON is shown."""
    with pytest.raises(MisuseError, match=r"^line 2 of stdin: '.*' is a line of a table, not a task ID: pipe JSON"):
        read(f"t-1\n{text}\n")


FIELDS = {
    *(field.alias for field in TaskDetail.model_fields.values()),
    *(
        "RequestId",
        "TaskIds",
        "TaskSet",
        "Task",
        "PageSize",
        "PageNumber",
        "TaskGroupId",
        "ImageId",
        "task_id",
        "region_id",
    ),
}


@pytest.mark.parametrize(
    "text",
    [
        *sorted(filter(None, FIELDS)),
        "null",
        "None",
        "<nil>",
        "undefined",
        "SDK.ServerError",
        "'t-1'",
        "<TaskId>t-1</TaskId>",
    ],
)
def test_words_that_are_no_ids(text: str) -> None:
    """A field's name as a table's header has it, or another word, is refused, in JSON and with a region too."""
    told = r"^line 2 of stdin: .* is a table header or other text, not a task ID: pipe JSON"
    for line in (text, f"  {text}\t", json.dumps(text), json.dumps([text]), f"us-west-1:{text}"):
        with pytest.raises(MisuseError, match=told):
            read(f"\n{line}\n------\nt-1\n")


@pytest.mark.parametrize(
    "text", ["TaskId TaskStatus", "TaskId\tRegionId", "TaskId,TaskStatus", "t-1  finished", "cn-hangzhou: t-1"]
)
def test_several_words(text: str) -> None:
    """A line of several words is refused, and the way to JSON is shown."""
    with pytest.raises(MisuseError, match=r"^line 1 of stdin: .*white space.*: pipe JSON"):
        read(text)


@pytest.mark.parametrize(
    "task_id",
    [
        "t-1",
        "t-bp1hvgwromzv32iq****",
        "t-23ym4abcd",
        "t-abc",
        "task_7",
        "7",
        "473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E",
        "error-1",
        "a.b~c-d",
        "t-\xe9",
    ],
)
def test_ids(task_id: str) -> None:
    """Whatever has a hyphen or a digit may be an ID, as may what JSON calls a TaskId."""
    for text in (task_id, f"cn-hangzhou:{task_id}", json.dumps(task_id), json.dumps({"TaskId": task_id})):
        assert read(text) == [f"cn-hangzhou:{task_id}"]
    assert read('{"TaskId": "plain"}') == ["cn-hangzhou:plain"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("TaskId", "'TaskId' is a table header or other text, not a task ID$"),
        ("------", "'------' is a line of a table, not a task ID$"),
        ("ERROR: SDK.ServerError", "'ERROR: SDK.ServerError' is a message of a command, not a task ID$"),
    ],
)
def test_arguments_that_are_no_ids(word: str, told: str) -> None:
    """The same words are refused as arguments, where there is no line to name and no pipe to suspect."""
    with pytest.raises(MisuseError, match=told):
        read_refs([word], "cn-hangzhou", str)


def test_a_long_line_is_cut() -> None:
    """A message shows the beginning of a long line only."""
    for text in ("word " * 100_000, "t-1" * 100_000, "\u202e" * 100_000):
        with pytest.raises(MisuseError) as caught:
            read(text)
        assert len(str(caught.value)) < 1000


def test_no_region() -> None:
    """Without any region the message says how to name one."""
    with pytest.raises(MisuseError, match="no region is known for t-1: write REGION:ID, or name the region with"):
        read_refs(["t-1"], None, str)
