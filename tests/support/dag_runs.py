"""Runs a DAG of the folder that Airflow reads with `dag.test()` and tells what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session


@dataclass(frozen=True)
class Ran:
    """A DAG run that has ended.

    Attributes:
        state: The DAG run's state.
        states: The states of its task instances, by task ID.
        tries: How often each was tried.
        xcoms: What each has pushed.
    """

    state: str
    states: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, dict[str, Any]]


def run_dag(dag_id: str, **conf: Any) -> Ran:
    """Run one DAG to its end, in this process."""
    dag = DagBag().dags.get(dag_id)
    assert dag is not None
    run = dag.test(run_conf=conf)
    xcoms: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        instances = run.get_task_instances(session=session)
        for row in session.query(XComModel).filter_by(dag_id=dag_id, run_id=run.run_id):
            xcoms.setdefault(row.task_id, {})[row.key] = XComModel.deserialize_value(row)
        return Ran(
            str(run.state),
            {ti.task_id: str(ti.state) for ti in instances},
            {ti.task_id: ti.try_number for ti in instances},
            xcoms,
        )
