"""What a task instance remembers of its start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ecs_waiter.airflow.state import Earlier, client_token, recall, remember


class Store(dict[str, Any]):
    """The task state store, as far as it is used."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = value


class Instance(SimpleNamespace):
    """A task instance, on its second try."""

    def __init__(self, **more: Any) -> None:
        known = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 2}
        super().__init__(**{**known, **more}, xcoms={})

    def xcom_push(self, key: str, value: Any) -> None:
        """Push an XCom."""
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        """Pull an XCom of its own."""
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)


def context(store: Store | None, **more: Any) -> Any:
    """What a try is given: all but the store is new."""
    kept = {} if store is None else {"task_state_store": store}
    return {"ti": Instance(**more), **kept}


def test_store_outlives_a_try() -> None:
    """The next try knows the task, though its XComs are gone."""
    store = Store()
    remember(context(store), "t-1")
    assert recall(context(store)) == Earlier("t-1")


def test_end_is_remembered() -> None:
    """A cleared task instance starts a new task if a try has seen the end of the old one."""
    store = Store()
    remember(context(store), "t-1")
    remember(context(store), "t-1", ended=True)
    assert recall(context(store)) == Earlier(ended="t-1")


def test_xcom_is_enough() -> None:
    """Without a store, an XCom that still exists has the task's ID."""
    kept = context(None)
    remember(kept, "t-1")
    assert recall(kept) == Earlier("t-1")


def test_nothing_known() -> None:
    """Without either, nothing was started."""
    assert recall(context(None)) == recall(context(Store())) == Earlier()


@pytest.mark.parametrize("more", [{"dag_id": "e"}, {"run_id": "s"}, {"task_id": "u"}, {"map_index": 1}])
def test_token_belongs_to_the_task_instance(more: dict[str, Any]) -> None:
    """Every task instance has its own token, the same in each of its tries."""
    token = client_token(Instance(), "")
    assert token == client_token(Instance(try_number=5), "")
    assert token != client_token(Instance(**more), "")
    assert token.isascii()
    assert len(token) <= 64


def test_token_changes_when_a_task_has_ended() -> None:
    """The start of another task in place of one that has ended has another token."""
    assert client_token(Instance(), "") != client_token(Instance(), "t-1")
