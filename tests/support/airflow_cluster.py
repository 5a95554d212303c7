"""A whole Airflow of separate processes: api-server, scheduler, dag-processor and two triggerers, on loopback."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from pathlib import Path
from signal import Signals
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Cluster", "until"]

_AIRFLOW = str(Path(sys.executable).with_name("airflow"))
_DAGS = Path(__file__).parents[1] / "airflow" / "dags"
_NAMES = ("api-server", "scheduler", "dag-processor", "triggerer-1", "triggerer-2")


def until(what: str, done: Callable[[], Any], seconds: float = 120) -> Any:
    """Look every half second until `done` gives a true answer, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := done():
            return answer
        time.sleep(0.5)
    raise TimeoutError(f"not within {seconds:g} s: {what}")


class Cluster:
    """Starts the processes, speaks to their API, and ends every one of them.

    Args:
        home: An empty folder for everything that Airflow writes.
        endpoint: The ECS task API that the default connection leads to.
        database: SQLAlchemy's address of the metadata database; SQLite in `home` by default.
        settings: Further environment variables.
    """

    def __init__(
        self, home: Path, endpoint: str, *, database: str | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        url = f"http://127.0.0.1:{self._port}"
        self._api = f"{url}/api/v2"
        extra = {
            "access_key_id": "emulator-key-id",
            "access_key_secret": "emulator-key-secret",
            "region": "cn-hangzhou",
            "endpoint": endpoint,
        }
        self._environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "ALIBABA", "ECS_"))
            },
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(_DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{home}/airflow.db",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            # A triggerer that is gone is noticed after six seconds, not after thirty.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
            "AIRFLOW_CONN_ALIBABACLOUD_DEFAULT": json.dumps({"conn_type": "alibaba_cloud", "extra": extra}),
            "no_proxy": "127.0.0.1",
            **(settings or {}),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        """Bring everything up."""
        try:
            self.command("db", "migrate")
            for name in _NAMES:
                self.start(name)
            until("the cluster is healthy", self._is_healthy)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End every process, with all that it has started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes.values():
                self._signal(process, sign)
            end = time.monotonic() + 10
            for process in self._processes.values():
                try:
                    process.wait(max(0.1, end - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue
        for log in self._logs:
            log.close()

    def command(self, *arguments: str) -> str:
        """Run one of Airflow's commands to its end, and return what it printed."""
        done = subprocess.run(  # noqa: S603 - our own interpreter's
            [_AIRFLOW, *arguments], env=self._environment, check=True, capture_output=True
        )
        return done.stdout.decode()

    def start(self, name: str) -> None:
        """Start one of the processes, in a group of its own."""
        log = (self.home / f"{name}.log").open("ab")
        self._logs.append(log)
        kind = name.rpartition("-")[0] if name.startswith("triggerer") else name
        more = ["--skip-serve-logs"] if kind in {"triggerer", "scheduler"} else []
        self._processes[name] = subprocess.Popen(  # noqa: S603 - our own interpreter's
            [_AIRFLOW, kind, *more], env=self._environment, stdout=log, stderr=log, start_new_session=True
        )

    def signal(self, name: str, sign: Signals) -> None:
        """Send a signal to a process and all that it has started."""
        self._signal(self._processes[name], sign)

    def cost(self) -> dict[str, tuple[float, float]]:
        """Return, for each triggerer, the CPU seconds and the resident megabytes of the process that runs triggers."""
        costs = {}
        for name, process in self._processes.items():
            if name.startswith("triggerer") and process.poll() is None:
                [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                ticks = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
                pages = int(Path(f"/proc/{child}/statm").read_text().split()[1])
                seconds = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
                costs[name] = seconds, pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return costs

    def _signal(self, process: subprocess.Popen[bytes], sign: Signals) -> None:
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return

    def get(self, path: str, **query: str) -> Any:
        """Ask the API."""
        told = "&".join(f"{name}={value}" for name, value in query.items())
        return self._ask(urllib.request.Request(f"{self._api}/{path}?{told}"))  # noqa: S310 - loopback

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Have the API do something."""
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self._api}/{path}", data, headers, method=method)  # noqa: S310 - loopback
        return self._ask(request)

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{request.method} {request.full_url}: {error.code} {error.read()!r}") from error

    def trigger(self, dag_id: str) -> str:
        """Start a run of a DAG as soon as it is known, and return the run's ID."""

        def start() -> Any:
            try:
                return self.send("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None})
            except RuntimeError:
                return None

        run: dict[str, Any] = until(f"{dag_id} is known", start)
        return str(run["dag_run_id"])

    def instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit="100", offset=str(len(found)))
            found += page["task_instances"]
            if len(found) >= page["total_entries"]:
                return found

    def states(self, dag_id: str, run_id: str) -> list[str]:
        """Return the states of a run's task instances."""
        return [str(found["state"]) for found in self.instances(dag_id, run_id)]

    def log(self, instance: Mapping[str, Any]) -> str:
        """Return all that the log of a task instance says."""
        run = f"dags/{instance['dag_id']}/dagRuns/{instance['dag_run_id']}"
        path = f"{run}/taskInstances/{instance['task_id']}/logs/{instance['try_number']}"
        return json.dumps(self.get(path, map_index=str(instance["map_index"]), full_content="true")["content"])

    def _is_healthy(self) -> bool:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended: {(self.home / name).with_suffix('.log').read_text()[-2000:]}")
        try:
            health = self.get("monitor/health")
        except OSError:
            return False
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all(health[part]["status"] == "healthy" for part in parts)
