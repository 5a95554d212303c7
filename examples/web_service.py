"""A web service that starts imports and tells how they go: one TaskWaiter for the life of the application.

    python examples/web_service.py
    curl -X POST localhost:8080/cn-hangzhou/imports -d '{"bucket": "my-bucket", "path": "base.qcow2"}'
    curl 'localhost:8080/cn-hangzhou/tasks/t-bp1?wait=30'    # answers when the task ends, or after 30 seconds

However many clients hang on for however many tasks: they share their polls, a hundred task IDs to a call.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler

from ecs_waiter import ApiError, TaskError, TaskWaiter, WaitTimeoutError

WAITER = web.AppKey("waiter", TaskWaiter)
LONGEST = 60.0


async def one_waiter(app: web.Application) -> AsyncIterator[None]:
    """Opened before the first request, closed after the last."""
    async with TaskWaiter() as app[WAITER]:
        yield


async def start_import(request: web.Request) -> web.Response:
    """Start an import, and answer at once with where to ask for it."""
    region_id = request.match_info["region_id"]
    try:
        wanted = await request.json()
        params = {
            "DiskDeviceMapping": [{"OSSBucket": wanted["bucket"], "OSSObject": wanted["path"]}],
            "ClientToken": uuid.uuid4().hex,  # with it a start that got no answer is repeated, and still starts once
        }
    except (json.JSONDecodeError, KeyError, TypeError):
        raise web.HTTPBadRequest(text="a JSON object with bucket and path is wanted") from None
    answer = await request.app[WAITER].client.call("ImportImage", region_id=region_id, params=params)
    location = f"/{region_id}/tasks/{answer['TaskId']}"
    return web.json_response({"task_id": answer["TaskId"]}, status=202, headers={"Location": location})


async def tell_task(request: web.Request) -> web.Response:
    """Answer when the task has ended: 200, or 409 with the reason; or 202 if it takes longer than is waited."""
    region_id, task_id = request.match_info["region_id"], request.match_info["task_id"]
    patience = min(float(request.query.get("wait", 0)), LONGEST)
    try:
        tasks = await request.app[WAITER].wait([task_id], region_id=region_id, timeout=patience)
    except WaitTimeoutError:
        return web.json_response({"status": "Processing"}, status=202)
    except TaskError as error:
        return web.json_response({"error": str(error)}, status=409)
    return web.json_response({"status": tasks[task_id].task_status, "resource_id": tasks[task_id].resource_id})


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the caller got wrong is 400, what the service refuses 502."""
    try:
        return await handler(request)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    except ApiError as error:
        raise web.HTTPBadGateway(text=str(error)) from error


def make_app() -> web.Application:
    """The application."""
    app = web.Application(middlewares=[errors])
    app.cleanup_ctx.append(one_waiter)
    app.router.add_post("/{region_id}/imports", start_import)
    app.router.add_get("/{region_id}/tasks/{task_id}", tell_task)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=8080)
