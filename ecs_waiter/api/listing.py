"""A DescribeTasks answer by the book, read from JSON into tasks in one pass; what is odd is left to `answers`."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pydantic_core import CoreConfig, SchemaValidator
from pydantic_core import core_schema as schemas

from ecs_waiter.api.answers import MOST_ROWS
from ecs_waiter.models import LONGEST, Task, TaskStatus, flag_in, moment_in

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["Listing", "read_listing"]


_PROOF = b'{"TaskSet":{"Task":[{"TaskId":"t-1","TaskStatus":"Finished","RegionId":"elsewhere"}]}}'


Listing: TypeAlias = tuple[list[Task], Any]
"""The tasks that an answer lists, and its ``TotalCount`` as it came."""


def read_listing(region_id: str, body: bytes) -> Listing | None:
    """Return what an answer of this region lists, the same that `answers` would make of it; None if it is odd."""
    reader = _reader(region_id)
    if reader is None:
        return None
    try:
        found = reader.validate_json(body)
    except ValueError:
        return None
    return found["TaskSet"]["Task"], found.get("TotalCount")


@lru_cache(maxsize=64)
def _reader(region_id: str) -> SchemaValidator | None:
    """The reader of a region's answers; None where pydantic does not make it as meant, and so for all before 2.13.

    Leaving Task's own validator out is no part of pydantic's documented interface.
    """
    try:
        rows = schemas.list_schema(_task_in(region_id), max_length=MOST_ROWS)
        page = schemas.typed_dict_schema({"Task": _required(rows)})
        total = schemas.typed_dict_field(schemas.any_schema(), required=False)
        answer = schemas.typed_dict_schema({"TaskSet": _required(page), "TotalCount": total})
        # IDs and resources are met once; a cache would only hold on to them.
        reader = SchemaValidator(answer, CoreConfig(cache_strings="keys"), _use_prebuilt=False)
        (task,) = reader.validate_json(_PROOF)["TaskSet"]["Task"]
    except Exception:  # noqa: BLE001 - whatever it does not like, answers can be read without it
        return None
    return reader if task == Task(region_id=region_id, task_id="t-1", task_status=TaskStatus.FINISHED) else None


def _required(schema: CoreSchema) -> schemas.TypedDictField:
    return schemas.typed_dict_field(schema, required=True)


def _task_in(region_id: str) -> CoreSchema:
    """Task's own schema, but for the region, which is the one asked, and with a quicker way to times and flags."""
    task = cast("dict[str, Any]", deepcopy(Task.__pydantic_core_schema__))
    task["config"] = {**task["config"], "validate_by_name": False}
    fields = task["schema"]["fields"]
    # Every row has an ID, and no ID is None: so each gets the region, as a value that was set.
    fields["region_id"]["validation_alias"] = "TaskId"
    fields["region_id"]["schema"] = _or_else(schemas.none_schema(), region_id)
    # Numbers are odd: pydantic spells those of JSON otherwise than Python does.
    for name in ("task_action", "resource_id"):
        fields[name]["schema"] = schemas.with_default_schema(schemas.str_schema(), default="")
    text = schemas.str_schema(max_length=LONGEST)
    time = schemas.no_info_after_validator_function(moment_in, text)
    fields["creation_time"]["schema"] = fields["finished_time"]["schema"] = _or_else(time, None)
    # A bare boolean is odd.
    flag = schemas.no_info_after_validator_function(flag_in, text)
    fields["support_cancel"]["schema"] = schemas.with_default_schema(flag, default=None)
    return cast("CoreSchema", task)


def _or_else(schema: CoreSchema, instead: object) -> CoreSchema:
    return schemas.with_default_schema(schema, default=instead, on_error="default")
