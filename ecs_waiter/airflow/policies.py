"""Converts a PollPolicy to plain numbers, which an operator can pass to a trigger, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from tenacity import wait_fixed

from ecs_waiter.polling.policy import PollPolicy, WaitStrategy, wait_adaptive, wait_proportional

__all__ = ["PolicyArgument", "policy_from_numbers", "policy_to_numbers"]

PolicyArgument = PollPolicy | Mapping[str, Any] | None
"""What operators take: a PollPolicy, its numbers, or None for the default."""

_NAMES = frozenset(field.name for field in fields(PollPolicy))
_ADAPTIVE_NAMES = frozenset(field.name for field in fields(wait_adaptive))
_PROPORTIONAL_NAMES = frozenset(field.name for field in fields(wait_proportional))


def policy_to_numbers(policy: PolicyArgument) -> dict[str, Any] | None:
    """Return the policy as plain JSON; None stays None.

    Raises:
        TypeError: It is not a policy, or one of its values has the wrong type.
        ValueError: A value is invalid, or the wait strategy cannot be expressed in numbers.
    """
    checked = policy_from_numbers(policy) if isinstance(policy, Mapping) else policy
    if checked is None:
        return None
    if not isinstance(checked, PollPolicy):
        raise TypeError(f"policy takes a PollPolicy or its numbers, not {type(checked).__name__}")
    numbers = {name: getattr(checked, name) for name in sorted(_NAMES - {"wait"})}
    return {**numbers, "wait": asdict(_in_numbers(checked.wait))}


def policy_from_numbers(numbers: Mapping[str, Any] | None) -> PollPolicy | None:
    """Return the policy for the numbers of `policy_to_numbers`; a missing number takes its default.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A name is unknown, or a value is invalid.
    """
    if numbers is None:
        return None
    values = dict(_known("policy", numbers, _NAMES))
    if isinstance(wait := values.get("wait"), Mapping):
        if set(wait) <= _ADAPTIVE_NAMES:
            values["wait"] = wait_adaptive(**wait)
        else:
            values["wait"] = wait_proportional(**_known("wait", wait, _PROPORTIONAL_NAMES))
    return PollPolicy(**values)


def _known(what: str, numbers: object, names: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(numbers, Mapping):
        raise TypeError(f"{what} takes its numbers by name, not {type(numbers).__name__}")
    if unknown := set(numbers) - names:
        raise ValueError(f"{what} has no {', '.join(sorted(map(str, unknown)))}: it has {', '.join(sorted(names))}")
    return numbers


def _in_numbers(wait: WaitStrategy) -> wait_adaptive | wait_proportional:
    """Return a strategy that consists of numbers, because a trigger cannot carry code."""
    if type(wait) is wait_adaptive or type(wait) is wait_proportional:
        return wait
    if type(wait) is wait_fixed:
        return wait_proportional(factor=0, min=wait.wait_fixed, max=wait.wait_fixed, jitter=0)
    raise ValueError(
        f"a policy is passed to the trigger as plain numbers, and {type(wait).__name__} is code:"
        " use wait_adaptive(...), wait_proportional(...) or tenacity.wait_fixed(seconds)"
    )
