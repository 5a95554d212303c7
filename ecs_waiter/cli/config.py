"""The default region, and the profiles of the official CLI."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ecs_waiter.cli.exit_codes import MisuseError

__all__ = ["profile_names", "resolve_region", "use_profile"]

_REGION = "ALIBABA_CLOUD_REGION_ID"
_PROFILE = "ALIBABA_CLOUD_PROFILE"
# The default credential chain would prefer these over a profile, or use them in its place.
_OVERRIDES = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_CREDENTIALS_URI",
    "ALIBABA_CLOUD_CLI_PROFILE_DISABLED",
)
_USE_INSTANCE_ROLE = frozenset({"EcsRamRole", "ChainableRamRoleArn"})


def use_profile(name: str) -> None:
    """Make this process use a profile's credentials and region instead of those of the environment.

    Raises:
        MisuseError: There is no such profile.
    """
    document, problem = _read()
    profiles = _profiles(document)
    profile = profiles.get(name)
    if profile is None:
        known = f"the file {problem}" if problem else f"it has {', '.join(sorted(profiles)) or 'none'}"
        raise MisuseError(f"no profile {name!r} in {_path()}: {known}; add it with `aliyun configure --profile NAME`")
    for variable in _OVERRIDES:
        os.environ.pop(variable, None)
    os.environ["ALIBABA_CLOUD_CREDENTIALS_FILE"] = os.devnull
    if profile.get("mode") not in _USE_INSTANCE_ROLE:
        os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    os.environ[_PROFILE] = name
    region_id = profile.get("region_id")
    if isinstance(region_id, str) and region_id:
        os.environ[_REGION] = region_id


def profile_names() -> list[str]:
    """Return the names of all profiles."""
    return sorted(_profiles(_read()[0]))


def resolve_region(region_id: str | None) -> str | None:
    """Return the region from the option, else the environment, else the current profile; None if none is set.

    Raises:
        MisuseError: The region is malformed.
    """
    from ecs_waiter.ids import check_region  # noqa: PLC0415 - slow to import, and --help does not need it

    found = region_id if region_id is not None else os.environ.get(_REGION) or _region_of_profile()
    if found is None:
        return None
    try:
        return check_region(found)
    except (TypeError, ValueError) as error:
        raise MisuseError(f"{'--region' if region_id is not None else _REGION}: {error}") from None


def _region_of_profile() -> str | None:
    document, _ = _read()
    name = os.environ.get(_PROFILE) or document.get("current")
    region_id = _profiles(document).get(name, {}).get("region_id") if isinstance(name, str) else None
    return region_id if isinstance(region_id, str) and region_id else None


def _profiles(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    listed = document.get("profiles")
    profiles = [profile for profile in listed if isinstance(profile, dict)] if isinstance(listed, list) else []
    return {profile["name"]: profile for profile in profiles if isinstance(profile.get("name"), str)}


def _read() -> tuple[dict[str, Any], str | None]:
    """Return the configuration file, and what is wrong with it."""
    from ecs_waiter.api.official_chain import read_profiles  # noqa: PLC0415 - slow to import, as above

    return read_profiles(str(_path()))


def _path() -> Path:
    return Path(os.path.expanduser("~")) / ".aliyun" / "config.json"  # noqa: PTH111 - no error without a home directory
