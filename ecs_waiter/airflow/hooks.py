"""EcsTaskHook: connects tasks and triggers to ECS, by an Airflow connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import BaseHook
from asgiref.sync import sync_to_async

from ecs_waiter.airflow.trigger_events import event_of_error, event_of_results
from ecs_waiter.api.credentials import StaticCredentials
from ecs_waiter.api.proxies import read_flag, trust_env_variable
from ecs_waiter.errors import EcsWaiterError
from ecs_waiter.ids import resolve_region

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ecs_waiter.api.client import EcsClient
    from ecs_waiter.arguments import OnUpdate
    from ecs_waiter.polling.policy import PollPolicy
    from ecs_waiter.starting import Start, StartedTask

__all__ = ["EcsAccess", "EcsTaskHook"]


@dataclass(frozen=True, slots=True)
class EcsAccess:
    """The fields of a connection; its repr hides the secrets.

    Attributes:
        region_id: The default region.
        credentials: None for the default credentials chain of the machine.
        endpoint: One base URL for every region, or None for each region's own.
        trust_env: Whether to use the proxies of the environment.
    """

    region_id: str | None = None
    credentials: StaticCredentials | None = None
    endpoint: str | None = None
    trust_env: bool = False

    def region(self, region_id: str | None) -> str:
        """Return `region_id`, else the connection's region, else ``ALIBABA_CLOUD_REGION_ID``.

        Raises:
            TypeError: The region is not a string.
            ValueError: The region is invalid, or none is known.
        """
        return resolve_region(region_id or self.region_id)

    def options(self, policy: PollPolicy | None) -> dict[str, Any]:
        """Return the arguments for a client or a wait."""
        return {
            "credentials": self.credentials,
            "endpoint": self.endpoint,
            "policy": policy,
            "trust_env": self.trust_env,
        }


class EcsTaskHook(BaseHook):
    """Connects to ECS with the connection type of the official Alibaba provider.

    The connection's extra: ``access_key_id`` and ``access_key_secret``, or neither for the default credentials chain;
    ``region``; optionally ``security_token``, ``endpoint`` and ``trust_env`` (a bool, or text such as ``"true"``; the
    environment variable ``ECS_WAITER_TRUST_ENV`` by default). Other fields, such as ``auth_type``, are ignored.

    Args:
        alibabacloud_conn_id: The connection; None for the default credentials chain.
        region_id: The region; the connection's by default.
        policy: When to poll, and how long to retry.
    """

    conn_name_attr = "alibabacloud_conn_id"
    default_conn_name = "alibabacloud_default"
    conn_type = "alibaba_cloud"
    hook_name = "Alibaba Cloud ECS"

    def __init__(
        self,
        alibabacloud_conn_id: str | None = default_conn_name,
        region_id: str | None = None,
        policy: PollPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alibabacloud_conn_id = alibabacloud_conn_id
        self.region_id = region_id
        self.policy = policy
        self._access: EcsAccess | None = None

    # -- for triggers: these never block the loop ---------------------------------------------------------------------

    async def get_async_access(self) -> EcsAccess:
        """Return the fields of the connection as they are now; raises like `access`."""
        if not self.alibabacloud_conn_id:
            return _access(None, None)
        connection = await get_async_connection(self.alibabacloud_conn_id)
        # This runs in a thread: to mask the extra's secrets, Airflow may call its supervisor and block.
        extra = await sync_to_async(getattr)(connection, "extra_dejson")
        return _access(self.alibabacloud_conn_id, extra)

    async def get_async_conn(self) -> EcsClient:
        """Return a client: ``async with await hook.get_async_conn() as client``."""
        return self._client(await self.get_async_access())

    # -- for tasks ----------------------------------------------------------------------------------------------------

    @property
    def access(self) -> EcsAccess:
        """The fields of the connection, read once.

        Raises:
            AirflowNotFoundException: The connection does not exist.
            ValueError: The connection has only one half of a key, or its `trust_env` is not true or false.
        """
        if self._access is None:
            conn_id = self.alibabacloud_conn_id
            extra = self.get_connection(conn_id).extra_dejson if conn_id else None
            self._access = _access(conn_id, extra)
        return self._access

    def region(self) -> str:
        """Return the region of this hook: its own, the connection's or the environment's."""
        return self.access.region(self.region_id)

    def get_conn(self) -> EcsClient:
        """Return a client for one event loop: ``async with hook.get_conn() as client``."""
        return self._client(self.access)

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Make one call and return its parsed answer; raises like `EcsClient.call`."""
        return asyncio.run(self._call(operation, parameters))

    def start(self, start: Start) -> StartedTask:
        """Start an operation and return the IDs in the answer; raises like `Start.send`."""
        return asyncio.run(self._send(start))

    def wait(
        self, task_ids: Iterable[str], *, timeout: float | None = None, on_update: OnUpdate | None = None
    ) -> dict[str, Any]:
        """Block until the tasks have ended or `timeout` seconds have passed; return the event of a trigger."""
        from ecs_waiter import blocking  # noqa: PLC0415 - see `_client`

        try:
            results = blocking.wait_for_tasks(
                task_ids,
                region_id=self.region(),
                timeout=timeout,
                return_exceptions=True,
                on_update=on_update,
                **self.access.options(self.policy),
            )
        except EcsWaiterError as error:
            return event_of_error(error)
        return event_of_results(results)

    def test_connection(self) -> tuple[bool, str]:
        """Check keys and region: list one task of the region."""
        try:
            asyncio.run(self._list_one())
        except Exception as error:  # noqa: BLE001 - the user interface shows any error
            return False, str(error)
        return True, f"ECS answers in {self.region()}"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Hide the fields that the connection does not use."""
        return {"hidden_fields": ["host", "schema", "login", "password", "port"], "relabeling": {}}

    def _client(self, access: EcsAccess) -> EcsClient:
        # Importing the HTTP client takes 0.1 s, which is too long where DAGs are parsed.
        from ecs_waiter.api.client import EcsClient  # noqa: PLC0415

        return EcsClient(**access.options(self.policy))

    async def _call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        async with self.get_conn() as client:
            return await client.call(operation, region_id=self.region(), params=parameters)

    async def _send(self, start: Start) -> StartedTask:
        async with self.get_conn() as client:
            return await start.send(client)

    async def _list_one(self) -> None:
        async with self.get_conn() as client:
            await client.describe_tasks(region_id=self.region(), page_size=1)


def _access(conn_id: str | None, extra: object) -> EcsAccess:
    values = extra if isinstance(extra, Mapping) else {}
    key_id, secret, token, region, endpoint = (
        values.get(name) or None
        for name in ("access_key_id", "access_key_secret", "security_token", "region", "endpoint")
    )
    if (key_id is None) != (secret is None):
        missing = "access_key_id" if key_id is None else "access_key_secret"
        raise ValueError(
            f"connection {conn_id!r}: its extra lacks {missing}; omit both keys to use the default credentials chain"
        )
    credentials = None if key_id is None or secret is None else StaticCredentials(key_id, secret, token)
    if isinstance(endpoint, str) and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    trust_env = values.get("trust_env")
    if trust_env is None or trust_env == "":
        is_trusted = trust_env_variable()
    else:
        is_trusted = read_flag(f"connection {conn_id!r}: trust_env", trust_env)
    return EcsAccess(region, credentials, endpoint, is_trusted)
