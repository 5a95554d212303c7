"""A DescribeTasks answer by the book, read from JSON into tasks in one pass; what is odd is left to `answers`."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as schemas

from ecs_waiter.models import LONGEST, Task, flag_in, moment_in

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

__all__ = ["Listing", "read_listing"]


class Listing(NamedTuple):
    """The tasks that an answer lists, and its ``TotalCount`` as it came."""

    tasks: list[Task]
    total_count: Any


def read_listing(region_id: str, body: bytes) -> Listing | None:
    """Return what an answer of this region lists, to the letter what `answers` would make of it; None if it is odd."""
    try:
        found = _reader(region_id).validate_json(body)
    except ValueError:
        return None
    return Listing(found["TaskSet"]["Task"], found.get("TotalCount"))


@lru_cache(maxsize=64)
def _reader(region_id: str) -> SchemaValidator:
    rows = schemas.typed_dict_schema({"Task": _required(schemas.list_schema(_task_in(region_id)))})
    total = schemas.typed_dict_field(schemas.any_schema(), required=False)
    answer = schemas.typed_dict_schema({"TaskSet": _required(rows), "TotalCount": total})
    try:
        # Or pydantic would read tasks as their class does, and ask each row for its region.
        return SchemaValidator(answer, _use_prebuilt=False)
    except TypeError:  # an older one, which builds always
        return SchemaValidator(answer)


def _required(schema: CoreSchema) -> schemas.TypedDictField:
    return schemas.typed_dict_field(schema, required=True)


def _task_in(region_id: str) -> CoreSchema:
    """Task's own schema, but for the region, which is the one asked, and for a quicker way to times and flags."""
    task = cast("dict[str, Any]", deepcopy(Task.__pydantic_core_schema__))
    task["config"] = {**task["config"], "validate_by_name": False}
    fields = task["schema"]["fields"]
    # Every row has an ID, and no ID is None: so each gets the region, as a value that was set.
    fields["region_id"]["validation_alias"] = "TaskId"
    fields["region_id"]["schema"] = _or_else(schemas.none_schema(), region_id)
    text = schemas.str_schema(max_length=LONGEST)
    time = schemas.no_info_after_validator_function(moment_in, text)
    fields["creation_time"]["schema"] = fields["finished_time"]["schema"] = _or_else(time, None)
    # A bare boolean is odd.
    flag = schemas.no_info_after_validator_function(flag_in, text)
    fields["support_cancel"]["schema"] = schemas.with_default_schema(flag, default=None)
    return cast("CoreSchema", task)


def _or_else(schema: CoreSchema, instead: object) -> CoreSchema:
    return schemas.with_default_schema(schema, default=instead, on_error="default")
