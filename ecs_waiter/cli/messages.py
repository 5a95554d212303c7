"""Messages: what happened and what to do about it, on one line."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ecs_waiter.api.credentials import SET_CREDENTIALS
from ecs_waiter.api.service_errors import concerns_credentials
from ecs_waiter.errors import (
    ApiError,
    AuthenticationError,
    ServiceUnavailableError,
    TaskError,
    TaskNotFoundError,
    ThrottledError,
)
from ecs_waiter.escaping import escape_control

if TYPE_CHECKING:
    from ecs_waiter.errors import EcsWaiterError
    from ecs_waiter.polling.durations import Eta

__all__ = ["explain", "explain_outage", "format_duration", "format_eta", "outage_reason"]

_SET_CREDENTIALS = (
    "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or name a profile of the official command"
    " line with --profile or ALIBABA_CLOUD_PROFILE"
)

_ETA_UNITS = (("s", 1, 100.0), ("min", 60, 6000.0), ("h", 3600, math.inf))
"""Units of the time left, their seconds, and the time from which on the next unit is used."""

# By the start of the service's code, in lower case. The first match is used.
_ADVICE = (
    (
        "invalidaccesskey",
        "the access key ID is unknown or disabled: check ALIBABA_CLOUD_ACCESS_KEY_ID, or the profile",
    ),
    (
        "signaturedoesnotmatch",
        "the access key secret does not match the ID: check ALIBABA_CLOUD_ACCESS_KEY_SECRET, or the profile",
    ),
    ("incompletesignature", "the access key cannot be used: check ALIBABA_CLOUD_ACCESS_KEY_ID and its secret"),
    (
        "invalidsecuritytoken",
        "the security token is expired or wrong: renew ALIBABA_CLOUD_SECURITY_TOKEN, or log the profile in again",
    ),
    ("forbidden.accesskey", "the access key is disabled: enable it, or use another access key or profile"),
    ("securitytokenexpired", "the security token is expired: renew ALIBABA_CLOUD_SECURITY_TOKEN"),
    ("invalidregionid", "unknown region: check --region, REGION:ID and ALIBABA_CLOUD_REGION_ID"),
    (
        "invalidtaskid.notfound",
        "the task was not found in this region: check the ID, and name its region with REGION:ID or --region",
    ),
    ("invalidtaskid.incorrecttaskstatus", "the task has ended already, or can no longer be canceled"),
    ("invalidtaskid.taskactionnotsupport", "only imports and exports of images can be canceled"),
    ("canceltaskfailed", "the service could not cancel the task: check it with `ecs-waiter show`, and try again"),
)
_NO_CONNECTION = re.compile(r"(\S+): \w+: Cannot connect to host \S+ ssl:\S+(?: \[(.*)\])?")
_UNUSED_PROXY = re.compile(r"; (\S+|the system's \w+ proxy) is set but not used: .*")
_FORBIDDEN = "the access key does not have permission: allow ecs:DescribeTasks and the operation in its RAM policy"


def explain(error: EcsWaiterError, *, where: str | None = None) -> str:
    """Return what happened and what to do about it.

    Args:
        error: The error.
        where: The region or task, for errors that do not name it themselves.
    """
    if isinstance(error, TaskNotFoundError) and error.task is None:
        return escape_control(
            f"task {error.task_id} was not found in {error.region_id}: check the ID, and name its region with REGION:ID"
            " or --region"
        )
    if isinstance(error, TaskError) or not isinstance(error, ApiError):
        return escape_control(str(error))
    # Without credentials no region was asked, so none is named.
    is_of_region = where and not concerns_credentials(_last_fault(error))
    return escape_control(f"{where}: {_api(error)}" if is_of_region else _api(error))


def explain_outage(region_id: str, fault: ApiError) -> str:
    """Return that a region is not responding, and why."""
    if concerns_credentials(fault):
        return escape_control(f"no credentials for {region_id}: {fault.message}")
    return f"{region_id} is not responding: {outage_reason(fault)}"


def outage_reason(error: ApiError) -> str:
    """Return briefly why a region is not responding."""
    if isinstance(error, ThrottledError):
        return "it is throttling calls"
    message = f"{error.code}: {error.message}" if error.code else error.message
    hint = ""
    if unused := _UNUSED_PROXY.search(message):
        message, hint = message[: unused.start()], f"; {unused[1]} is set but not used: add --proxy-from-env"
    host, _, error_text = message.partition(": ")
    # A text such as "HOST through the proxy PROXY" means that the proxy's name, not the host's, was not resolved.
    if "DNSError" in error_text and " " not in host:
        message = f"the name {host} cannot be resolved: check the network and the region's name"
    elif found := _NO_CONNECTION.fullmatch(message):
        message = f"no connection to {found[1]}{f' ({found[2]})' if found[2] else ''}"
    return escape_control(f"{message}{hint}")


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as ``42s``, ``3m05s`` or ``1h02m``."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole}s"
    if whole < 3_600:  # noqa: PLR2004 - an hour
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:  # noqa: PLR2004 - a day
        return f"{whole // 3_600}h{whole % 3_600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3_600:02d}h"


def format_eta(eta: Eta) -> str:
    """Return the time left with its band in one unit; the band is left out where it has no width."""
    unit, seconds = next((unit, seconds) for unit, seconds, most in _ETA_UNITS if eta.median < most)
    low, middle, high = (round(each / seconds) for each in (eta.low, eta.median, eta.high))
    band = "" if low == high else f" ({low}–{high})"  # noqa: RUF001 - a dash between numbers
    return f"~{middle} {unit} left{band}"


def _api(error: ApiError) -> str:
    message = f"{error.code}: {error.message}" if error.code else error.message
    details = f" ({message}{f'; request ID {error.request_id}' if error.request_id else ''})"
    if isinstance(error.__cause__, AuthenticationError):
        # The key was rejected, and the credential chain found no other one.
        details += f"; asked again, {_own_credentials(error.__cause__)}"
    code = (error.code or "").lower()
    advice = next((text for start, text in _ADVICE if code.startswith(start)), None)
    if advice is not None:
        return f"{advice}{details}"
    if isinstance(error, AuthenticationError):
        return f"{_FORBIDDEN}{details}" if error.code else _own_credentials(error)
    if isinstance(error, ThrottledError):
        return f"throttled for too long: others use the same account's quota; try again later{details}"
    if isinstance(error, ServiceUnavailableError):
        return _unavailable(error)
    return f"the service rejected the request{details}"


def _own_credentials(error: AuthenticationError) -> str:
    return error.message.replace(SET_CREDENTIALS, _SET_CREDENTIALS)


def _last_fault(error: ApiError) -> ApiError:
    return error.__cause__ if isinstance(error.__cause__, ServiceUnavailableError) else error


def _unavailable(error: ServiceUnavailableError) -> str:
    fault = _last_fault(error)
    if concerns_credentials(fault):
        return f"{fault.message}; check their source, or {_SET_CREDENTIALS}"
    if error.code is not None:
        return f"{error.code}: {error.message}"
    if isinstance(fault, ServiceUnavailableError) and fault.sent:
        return error.message
    doubt = "; it may have started: check before you try again" if "may have started" in error.message else ""
    advice = "check the network, a firewall, and ECS_WAITER_ENDPOINT if it is set"
    return f"no answer, {outage_reason(fault)}; {advice}{doubt}"
