"""An Airflow of its own for the tests: its home and its DAGs in a temporary folder, its database SQLite.

The DAGs are those of the folder `dags` and those of the documentation's page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_waiter.emulator import EcsEmulator

# Airflow reads its configuration while it is imported, so that a fixture would come too late.
_HOME = Path(tempfile.mkdtemp(prefix="ecs_waiter-airflow-"))
os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_HOME / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    }
)
shutil.copytree(Path(__file__).parent / "dags", _HOME / "dags", ignore=shutil.ignore_patterns("__pycache__"))
_PAGE = Path(__file__).parents[2] / "docs" / "airflow.md"
for _dag in re.finditer(r"^```python\n(.*?)^```$", _PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
    (_HOME / "dags" / f"page_{_dag.start()}.py").write_text(_dag[1], encoding="utf-8")
# However the run is ended, the processes that it has started are to end too.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """The metadata database, once for all tests."""
    from airflow.utils.db import initdb  # noqa: PLC0415 - after the configuration above

    initdb()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Make the default connection say something else."""

    def connect(endpoint: str, **extra: Any) -> str:
        known = {
            "access_key_id": "emulator-key-id",
            "access_key_secret": "emulator-key-secret",
            "region": "cn-hangzhou",
            "endpoint": endpoint,
            "auth_type": "AK",
        }
        extra_fields = {name: value for name, value in {**known, **extra}.items() if value is not None}
        uri = json.dumps({"conn_type": "alibaba_cloud", "extra": extra_fields})
        monkeypatch.setenv("AIRFLOW_CONN_ALIBABACLOUD_DEFAULT", uri)
        return "alibabacloud_default"

    # Only the connection may name the emulator.
    for name in ("ECS_WAITER_ENDPOINT", "ALIBABA_CLOUD_REGION_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    return connect


@pytest.fixture
def virtual(virtual_ecs: EcsEmulator, connect: Callable[..., str]) -> EcsEmulator:
    """The emulator in memory and on virtual time, behind the default connection."""
    connect(virtual_ecs.url)
    return virtual_ecs


@pytest.fixture
def connection(ecs_emulator: EcsEmulator, connect: Callable[..., str]) -> str:
    """The default connection, to the emulator on loopback."""
    return connect(ecs_emulator.url)
