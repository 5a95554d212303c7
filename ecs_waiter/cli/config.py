"""Configuration: the region, and the profile of the official command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ecs_waiter.cli.failure import MisuseError

__all__ = ["profile_names", "resolve_region", "use_profile"]

_REGION = "ALIBABA_CLOUD_REGION_ID"
_PROFILE = "ALIBABA_CLOUD_PROFILE"
# What the default chain of credentials would take before, or in place of, a profile that was asked for by name.
_RIVALS = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
)
_ROLE_OF_INSTANCE = frozenset({"EcsRamRole", "ChainableRamRoleArn"})


def use_profile(name: str) -> None:
    """Have this process use the credentials of a profile, whatever else the environment offers.

    Raises:
        MisuseError: There is no such profile.
    """
    from ecs_waiter.api.official_chain import read_profiles  # noqa: PLC0415 - only where a profile is asked for

    document, trouble = read_profiles(str(_path()))
    profiles = _profiles(document)
    profile = profiles.get(name)
    if profile is None:
        known = f"the file {trouble}" if trouble else f"it has {', '.join(sorted(profiles)) or 'none'}"
        raise MisuseError(f"no profile {name!r} in {_path()}: {known}; `aliyun configure --profile NAME` makes one")
    for rival in _RIVALS:
        os.environ.pop(rival, None)
    os.environ["ALIBABA_CLOUD_CREDENTIALS_FILE"] = os.devnull
    if profile.get("mode") not in _ROLE_OF_INSTANCE:
        os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    os.environ[_PROFILE] = name
    region_id = profile.get("region_id")
    if isinstance(region_id, str) and region_id:
        os.environ[_REGION] = region_id


def profile_names() -> list[str]:
    """Return the profiles there are."""
    return sorted(_profiles())


def resolve_region(region_id: str | None) -> str | None:
    """Return the region of tasks that name none: the option, the environment's or the current profile's.

    Raises:
        MisuseError: It is none.
    """
    from ecs_waiter.ids import check_region  # noqa: PLC0415 - asyncio is slow to import for --help

    told = region_id if region_id is not None else os.environ.get(_REGION) or _region_of_profile()
    if told is None:
        return None
    try:
        return check_region(told)
    except (TypeError, ValueError) as error:
        raise MisuseError(f"{'--region' if region_id is not None else _REGION}: {error}") from None


def _region_of_profile() -> str | None:
    document = _document()
    name = os.environ.get(_PROFILE) or document.get("current")
    region_id = _profiles(document).get(name, {}).get("region_id") if isinstance(name, str) else None
    return region_id if isinstance(region_id, str) and region_id else None


def _profiles(document: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    listed = (_document() if document is None else document).get("profiles")
    profiles = [profile for profile in listed if isinstance(profile, dict)] if isinstance(listed, list) else []
    return {profile["name"]: profile for profile in profiles if isinstance(profile.get("name"), str)}


def _document() -> dict[str, Any]:
    from ecs_waiter.api.official_chain import read_profiles  # noqa: PLC0415 - as above

    return read_profiles(str(_path()))[0]


def _path() -> Path:
    return Path(os.path.expanduser("~")) / ".aliyun" / "config.json"  # noqa: PTH111 - no error where there is no home
