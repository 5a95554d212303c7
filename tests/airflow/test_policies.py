"""A policy as plain numbers, and what cannot be one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tenacity

from ecs_waiter import PollPolicy, wait_adaptive, wait_proportional
from ecs_waiter.airflow.policies import policy_from_numbers, policy_to_numbers


@pytest.mark.parametrize(
    "policy",
    [
        PollPolicy(),
        PollPolicy(wait=wait_adaptive(share=0.2, first=1), history="off"),
        PollPolicy(wait=wait_proportional(factor=0.2, min=1, max=60, jitter=0), not_found_grace=5, max_in_flight=2),
    ],
)
def test_there_and_back(policy: PollPolicy) -> None:
    """A policy comes back from JSON equal, so that its triggers share."""
    numbers = json.loads(json.dumps(policy_to_numbers(policy)))
    assert policy_from_numbers(numbers) == policy
    assert policy_to_numbers(numbers) == numbers


def test_fixed() -> None:
    """The wait_fixed of tenacity is four numbers too."""
    back = policy_from_numbers(policy_to_numbers(PollPolicy(wait=tenacity.wait_fixed(15))))
    assert back == PollPolicy(wait=wait_proportional(factor=0, min=15, max=15, jitter=0))


def test_default() -> None:
    """No policy is the default's."""
    assert policy_to_numbers(None) is None
    assert policy_from_numbers(None) is None


@pytest.mark.parametrize(
    "policy",
    [
        PollPolicy(wait=tenacity.wait_exponential()),
        PollPolicy(wait=lambda _: 1.0),
        {"pace": 5},
        {"wait": {"step": 5}},
        {"wait": {"min": 9, "max": 3}},
        {"not_found_grace": -1},
    ],
)
def test_what_has_no_numbers(policy: Any) -> None:
    """A strategy that is code, or an invalid number, is rejected where the DAG is parsed."""
    with pytest.raises(ValueError, match=r"\w"):
        policy_to_numbers(policy)


@pytest.mark.parametrize("policy", [5, "brisk", {"wait": 5}, {"not_found_grace": "5"}])
def test_what_is_no_policy(policy: Any) -> None:
    """Something else altogether is a TypeError."""
    with pytest.raises(TypeError):
        policy_to_numbers(policy)
