"""One line for each error, which says what to do."""

from __future__ import annotations

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
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from ecs_waiter.errors import EcsWaiterError

__all__ = ["explain", "no_answer", "why_no_answer"]

_SET_CREDENTIALS = (
    "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or name a profile of the official command"
    " line with --profile or ALIBABA_CLOUD_PROFILE"
)

# By the start of the service's code, in lower case; the first that fits.
_ADVICE = (
    (
        "invalidaccesskey",
        "the access key ID is unknown or disabled: check ALIBABA_CLOUD_ACCESS_KEY_ID, or the profile",
    ),
    (
        "signaturedoesnotmatch",
        "the access key secret does not fit the ID: check ALIBABA_CLOUD_ACCESS_KEY_SECRET, or the profile",
    ),
    ("incompletesignature", "the access key cannot be used: check ALIBABA_CLOUD_ACCESS_KEY_ID and its secret"),
    (
        "invalidsecuritytoken",
        "the security token is expired or wrong: renew ALIBABA_CLOUD_SECURITY_TOKEN, or log the profile in again",
    ),
    ("forbidden.accesskey", "the access key is disabled: enable it, or use another access key or profile"),
    ("securitytokenexpired", "the security token is expired: renew ALIBABA_CLOUD_SECURITY_TOKEN"),
    ("invalidregionid", "the service knows no such region: check --region, REGION:ID and ALIBABA_CLOUD_REGION_ID"),
    (
        "invalidtaskid.notfound",
        "the task is unknown there: check the ID, and whether it was started in another region (REGION:ID)",
    ),
    ("invalidtaskid.incorrecttaskstatus", "the task has ended already, or cannot be canceled any more"),
    ("invalidtaskid.taskactionnotsupport", "only imports and exports of images can be canceled"),
    ("canceltaskfailed", "the service could not cancel the task: look at it with `ecs-waiter show`, and try again"),
)
_NO_CONNECTION = re.compile(r"(\S+): \w+: Cannot connect to host \S+ ssl:\S+(?: \[(.*)\])?")
_UNUSED_PROXY = re.compile(r"; (\S+|the system's \w+ proxy) is set but not used: .*")
_FORBIDDEN = "the access key does not have permission: allow ecs:DescribeTasks and the operation in its RAM policy"


def explain(error: EcsWaiterError, *, where: str | None = None) -> str:
    """Return what happened and what to do about it, on one line fit for a terminal.

    Args:
        error: What happened.
        where: The region or task concerned, for errors that do not name it themselves.
    """
    if isinstance(error, TaskNotFoundError):
        if error.task is not None:
            return printable(str(error))
        return printable(
            f"task {error.task_id} is unknown in {error.region_id}: check the ID, and name its region with REGION:ID or"
            " --region if it was started in another"
        )
    if isinstance(error, TaskError) or not isinstance(error, ApiError):
        return printable(str(error))
    # Without credentials no region was asked.
    is_of_region = where and not concerns_credentials(_last_fault(error))
    return printable(f"{where}: {_api(error)}" if is_of_region else _api(error))


def no_answer(region_id: str, fault: ApiError) -> str:
    """Return that a region gives no answer, and why."""
    if concerns_credentials(fault):
        return printable(f"no credentials for {region_id}: {fault.message}")
    return f"{region_id} is not responding: {why_no_answer(fault)}"


def why_no_answer(error: ApiError) -> str:
    """Return why a region gives no answer, in few words."""
    if isinstance(error, ThrottledError):
        return "it is throttling calls"
    words = f"{error.code}: {error.message}" if error.code else error.message
    hint = ""
    if unused := _UNUSED_PROXY.search(words):
        words, hint = words[: unused.start()], f"; {unused[1]} is set but not used: add --proxy-from-env"
    host, _, error_text = words.partition(": ")
    # A host with words around it is one behind a proxy: the name that cannot be resolved is the proxy's.
    if "DNSError" in error_text and " " not in host:
        words = f"the name {host} cannot be resolved: is there a network, and is the region's name right?"
    elif found := _NO_CONNECTION.fullmatch(words):
        words = f"no connection to {found[1]}{f' ({found[2]})' if found[2] else ''}"
    return printable(f"{words}{hint}")


def _api(error: ApiError) -> str:
    told = f"{error.code}: {error.message}" if error.code else error.message
    said = f" ({told}{f'; request ID {error.request_id}' if error.request_id else ''})"
    if isinstance(error.__cause__, AuthenticationError):
        # The key was refused, and there was no other.
        said += f"; asked again, {_own_credentials(error.__cause__)}"
    code = (error.code or "").lower()
    advice = next((words for start, words in _ADVICE if code.startswith(start)), None)
    if advice is not None:
        return f"{advice}{said}"
    if isinstance(error, AuthenticationError):
        return f"{_FORBIDDEN}{said}" if error.code else _own_credentials(error)
    if isinstance(error, ThrottledError):
        return f"throttled for too long: others use the same account's quota; try again later{said}"
    if isinstance(error, ServiceUnavailableError):
        return _unavailable(error)
    return f"the service refused{said}"


def _own_credentials(error: AuthenticationError) -> str:
    return error.message.replace(SET_CREDENTIALS, _SET_CREDENTIALS)


def _last_fault(error: ApiError) -> ApiError:
    return error.__cause__ if isinstance(error.__cause__, ServiceUnavailableError) else error


def _unavailable(error: ServiceUnavailableError) -> str:
    fault = _last_fault(error)
    if concerns_credentials(fault):
        return f"{fault.message}; check where they come from, or {_SET_CREDENTIALS}"
    advice = "check the network, a firewall, and ECS_WAITER_ENDPOINT if it is set"
    if error.code is None and not (isinstance(fault, ServiceUnavailableError) and fault.sent):
        doubt = "; it may have started: look before you try again" if "may have started" in error.message else ""
        return f"no answer, {why_no_answer(fault)}; {advice}{doubt}"
    return error.message if error.code is None else f"{error.code}: {error.message}"
