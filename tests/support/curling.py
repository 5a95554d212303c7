"""A plain HTTP client of the emulator, as independent of the library as curl."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.emulator import EcsEmulator


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    data: Any

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.data["Code"])

    @property
    def task_ids(self) -> list[str]:
        """The IDs of DescribeTasks' rows, in their order."""
        return [row["TaskId"] for row in self.data["TaskSet"]["Task"]]


async def curl(ecs: EcsEmulator, action: str | None = None, /, **options: Any) -> Reply:
    """Ask the emulator in memory, over a connection of its own.

    Options in lower case (method, path, headers, form, version, region) shape the request; the others, in the
    service's way of writing, are parameters.
    """
    given = {"version": "2014-05-26", "region": "cn-hangzhou", **options}
    params = {name: str(value) for name, value in given.items() if not name.islower()}
    named = {"Action": action, "Version": given["version"], "RegionId": given["region"]}
    params |= {name: value for name, value in named.items() if value is not None}
    form = given.get("form")
    async with (
        ecs.session() as session,
        session.request(
            given.get("method", "POST"),
            ecs.url + given.get("path", "/"),
            params=params,
            headers=given.get("headers"),
            data=io.BytesIO(form) if isinstance(form, bytes) else form,
        ) as response,
    ):
        body = await response.read()
        data = await response.json() if response.content_type == "application/json" and body else None
        return Reply(response.status, response.headers, body, data)
