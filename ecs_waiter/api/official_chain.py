"""OfficialChain: the official package's credential providers, asked in its order.

Its own chain is not used. It reads the environment and profiles only once, starts a scheduler thread, prints through
its own log handlers, quotes secrets in logs and errors, and does not distinguish a source that has no credentials from
one that cannot be asked now.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import logging
import os
import re
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecs_waiter.api.official_requests import is_ours, our_requests
from ecs_waiter.errors import EcsWaiterError, ServiceUnavailableError
from ecs_waiter.escaping import escape_control

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OfficialChain", "is_transient", "read_profiles"]

# Loggers to which the package adds handlers, and all that quote URLs with tokens at the level DEBUG.
_WITH_HANDLERS = ("alibabacloud-tea", "credentials")
_QUOTING = (
    *_WITH_HANDLERS,
    "alibabacloud_credentials.provider.ecs_ram_role",
    "alibabacloud_credentials.provider.refreshable",
    "apscheduler.scheduler",
    "urllib3.connectionpool",
)
_MAX_REASON = 300

# Shortages of processes, files or memory.
_SHORTAGES = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETXTBSY})
_MISSING_FILE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_NO_THREAD = re.compile(r"start new thread|schedule new futures")
_STATUS = re.compile(r"(?:http_?code|status code)\W{1,2}(\d{3})\b", re.IGNORECASE)
_CODE = re.compile(r'"Code"\s*:\s*"([A-Za-z]{1,40}(?:\.[A-Za-z]{1,40}){0,3})"')
_EXIT_STATUS = re.compile(r"exit status (-?\d+)")
_TRANSIENT_CODES = ("throttling", "serviceunavailable", "internalerror", "unknownerror", "signaturenonceused")
_TRANSIENT_MESSAGES = ("command process timed out", "No cached value was found")
_TRANSIENT_STATUSES = frozenset({408, 429, *range(500, 600)})
# The part of an error of `requests` that does not quote a URL.
_CONNECTION = re.compile(
    r"Connection refused|Connection reset by peer|Connection aborted|timed out|Network is unreachable|No route to host"
    r"|Name or service not known|Temporary failure in name resolution|certificate verify failed|Cannot connect to proxy"
)
# Where the package's own text ends and a quotation begins: an answer, the rest of a URL, the output of a command.
_QUOTED = re.compile(r":|,? +(?:http_?code|status code)|\.? HttpCode| result", re.IGNORECASE)
_REWORDED = {
    "CloudSSO access token is empty or expired, please re-login with cli": (
        "the login has expired: log in again with `aliyun configure`"
    ),
    "failed to execute external command": (
        "the external command failed{details}: run its process_command by hand to see why"
    ),
    "failed to refresh OAuth token": "the login could not be renewed{details}: log in again with `aliyun configure`",
}

_MODES = ("AK", "StsToken", "RamRoleArn", "ChainableRamRoleArn", "EcsRamRole", "OIDC", "CloudSSO", "OAuth", "External")

# Sources known to exist, because they have given credentials in this process or answered otherwise: by name and file.
_known: set[tuple[str, str | None]] = set()


class OfficialChain:
    """Asks each source until one has credentials, and only that one from then on. It blocks while it asks.

    A source reads its file again when the file has changed. If a source gives credentials while an earlier one could
    not be asked, the next fetch asks all of them again.

    Args:
        trust_env: Whether services on the internet are asked through the environment's proxies. The metadata service
            and other hosts on this machine or in a private network are always asked directly.
    """

    def __init__(self, *, trust_env: bool = False) -> None:
        self._trust_env = trust_env
        self._sources: list[_Source] = []

    def fetch(self) -> tuple[str, str, str | None]:
        """Return the access key's ID, its secret and the security token, if there is one.

        Raises:
            ServiceUnavailableError: No source has credentials, and one or more could not be asked.
            EcsWaiterError: No source has credentials. Both give the reason of each source, free of secrets.
        """
        reasons = []
        is_any_transient = False
        for name in _QUOTING:
            logging.getLogger(name).addFilter(_is_not_ours)
        _quietly_imported()
        with our_requests(trust_env=self._trust_env):
            self._sources = self._sources or _present_sources()
            for source in self._sources:
                try:
                    answer = source.ask()
                except Exception as error:  # noqa: BLE001 - the next source may have credentials
                    reasons.append(source.reason(error))
                    is_any_transient |= source.is_transient(error)
                else:
                    if not is_any_transient:
                        self._sources = [source]
                    return answer
        # Outside of the handler, so that the package's error does not become the context of this one.
        message = "; ".join(reasons)
        if is_any_transient:
            raise ServiceUnavailableError(None, f"the credentials cannot be fetched now: {message}", sent=False)
        raise EcsWaiterError(message)


class _Source:
    """One official provider, made when it is first asked and again when its file has changed.

    Args:
        name: The name of the source in messages.
        make: Makes the provider.
        file: The file that the provider reads once.
        reason: Returns the message for an error of the provider, free of secrets. It begins with `name` by default.
        may_be_absent: Whether silence means that there is no such source, unless it has answered before.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        file: str | None = None,
        *,
        reason: Callable[[Exception], str] | None = None,
        may_be_absent: bool = False,
    ) -> None:
        self.make = make
        self.reason = reason or (lambda error: f"{name}: {_reason(error)}")
        self._key = name, file
        self._may_be_absent = may_be_absent
        self._provider: Any = None
        self._digest: bytes | None = None

    def ask(self) -> tuple[str, str, str | None]:
        """Return what the provider gives, or raise what it raises."""
        digest = self._file_digest()
        if self._provider is None or digest != self._digest:
            self._digest = digest
            self._provider = None
            self._provider = self.make()
        found = self._provider.get_credentials()
        if "external" in str(found.get_provider_name()).split("/"):
            # The package writes the output of the command into the file, which must not run the command again.
            self._digest = self._file_digest()
        answer = found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token()
        _known.add(self._key)
        return answer

    def _file_digest(self) -> bytes | None:
        """Return what changes with the file. Its time may stay the same for two writes."""
        _, file = self._key
        try:
            return None if file is None else hashlib.sha256(Path(file).read_bytes()).digest()
        except OSError:
            return None

    def is_transient(self, error: Exception) -> bool:
        """Whether this failure is transient; False if the source has no credentials."""
        if self._may_be_absent and _status(error) in _TRANSIENT_STATUSES:
            _known.add(self._key)
        if is_transient(error):
            return not self._may_be_absent or self._key in _known
        # The failure of a command does not say which. A command that has worked before is expected to work again.
        return self._key in _known and _EXIT_STATUS.search(_message_of(error)) is not None


def _present_sources() -> list[_Source]:
    """Return the official default chain for the environment as it is now, without the environment's own access key."""
    provider, auth_constant, auth_util = _quietly_imported()
    # They read the environment when they are imported.
    importlib.reload(auth_util)
    importlib.reload(auth_constant)
    sources = []
    if auth_util.enable_oidc_credential:
        sources.append(_Source("OIDC token (ALIBABA_CLOUD_OIDC_TOKEN_FILE)", provider.OIDCRoleArnCredentialsProvider))
    config = str(Path(auth_constant.HOME, ".aliyun", "config.json"))
    make = partial(provider.CLIProfileCredentialsProvider, profile_file=config)
    reason = partial(_config_reason, config, auth_util.environment_profile_name)
    sources.append(_Source("profile of the command line", make, config, reason=reason))
    file = auth_util.environment_credentials_file or str(Path(auth_constant.HOME, ".alibabacloud", "credentials.ini"))
    if file != os.devnull:
        make = partial(provider.ProfileCredentialsProvider, profile_file=file)
        reason = partial(_profile_file_reason, file, auth_util.client_type)
        sources.append(_Source("profile file", make, file, reason=reason))
    if auth_util.environment_ecs_metadata_disabled.lower() != "true":
        # Without its background refresh, which starts a scheduler thread.
        make = partial(provider.EcsRamRoleCredentialsProvider, async_update_enabled=False)
        # This machine is an instance if the environment names a role or the metadata service has answered before.
        is_named = bool(auth_util.environment_ecs_metadata)
        sources.append(_Source("RAM role of the instance", make, may_be_absent=not is_named))
    if auth_util.environment_credentials_uri:
        sources.append(_Source("ALIBABA_CLOUD_CREDENTIALS_URI", provider.URLCredentialsProvider))
    return sources


def _config_reason(file: str, profile: str | None, error: Exception) -> str:
    """Return why the official command line's configuration has no credentials."""
    if "disabled" in str(error):
        return f"profile of the command line: {_reason(error)}"
    name, trouble = _described(file, profile)
    if trouble is None:
        trouble = _reason(error)
        if trouble.startswith("unsupported profile mode"):
            trouble = f"this mode is not supported: use one of {', '.join(_MODES)}"
        elif isinstance(error, AttributeError | KeyError | TypeError):
            trouble = f"the profile is incomplete or malformed ({type(error).__name__}): run `aliyun configure`"
    return f"{name}: {trouble}"


def _profile_file_reason(file: str, section: str, error: Exception) -> str:
    """Return why the official profile file has no credentials."""
    if not Path(file).exists():
        return f"{file}: does not exist"
    if str(error).startswith("failed to get credential from"):
        return f"{file}: has no section [{escape_control(section)}]"
    return f"{file}: {_reason(error)}"


def _quietly_imported() -> tuple[Any, Any, Any]:
    """Return the package's modules, without the log handlers that their first import adds."""
    loggers = [logging.getLogger(name) for name in _WITH_HANDLERS]
    handlers = [logger.handlers[:] for logger in loggers]
    # Not at the top: this import takes as long as all others together.
    from alibabacloud_credentials import provider  # noqa: PLC0415
    from alibabacloud_credentials.utils import auth_constant, auth_util  # noqa: PLC0415

    for logger, before in zip(loggers, handlers, strict=True):
        logger.handlers[:] = before
    return provider, auth_constant, auth_util


def is_transient(error: BaseException) -> bool:
    """Whether a fetch of credentials failed for a transient reason: of the network, a service or this machine.

    A missing file, an unusable profile and a service that rejects the request are not transient.
    """
    if isinstance(error, json.JSONDecodeError | MemoryError):
        return True  # a gateway's page instead of an answer; a lack of memory
    if isinstance(error, (ValueError, *_MISSING_FILE)):
        return False
    # The package raises RetryError for any failed connection.
    if isinstance(error, OSError) or type(error).__name__ == "RetryError":
        return True
    if isinstance(error, RuntimeError):
        return _NO_THREAD.search(str(error)) is not None
    message = _message_of(error)
    origin = error.__context__
    return (
        (isinstance(origin, OSError) and origin.errno in _SHORTAGES)
        or message.startswith(_TRANSIENT_MESSAGES)
        or _status(error) in _TRANSIENT_STATUSES
        or any(code.lower().startswith(_TRANSIENT_CODES) for code in _CODE.findall(message))
    )


def _message_of(error: BaseException) -> str:
    """Return the message of an error without the output of a command."""
    return str(error).partition("\nstderr")[0]


def _status(error: BaseException) -> int | None:
    found = _STATUS.search(_message_of(error))
    return int(found[1]) if found else None


def _reason(error: BaseException) -> str:
    """Return the message of an error without what may hold a secret."""
    kind = type(error).__name__
    message = _message_of(error)
    if kind == "RetryError":
        found = _CONNECTION.search(message)
        return f"cannot be reached ({found[0] if found else kind})"
    if isinstance(error, OSError) and error.strerror and not isinstance(error.filename, bytes):
        return escape_control(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    if isinstance(error, json.JSONDecodeError):
        return "the answer is not JSON"
    # By name, so that configparser is imported only with the official package.
    if type(error).__module__ == "configparser":
        return f"is not a profile file ({kind})"
    if kind not in {"CredentialException", "ValueError"}:
        return kind
    # Quotations stand after the package's own text.
    head = re.sub(r" from https?$", "", _QUOTED.split(message, maxsplit=1)[0]).rstrip(" .,")
    details = _details(error, message)
    shown = f" ({', '.join(details)})" if details else ""
    reworded = _REWORDED.get(head)
    text = f"{head}{shown}" if reworded is None else reworded.format(details=shown)
    return escape_control(text[:_MAX_REASON])


def _details(error: BaseException, message: str) -> list[str]:
    details = [f"exit status {found[1]}" for found in _EXIT_STATUS.finditer(message)][:1]
    origin = error.__context__
    if not details and isinstance(origin, OSError) and origin.strerror and origin.errno:
        details.append(os.strerror(origin.errno))
    if (status := _status(error)) is not None:
        details.append(f"HTTP status {status}")
    return details + [code for code in _CODE.findall(message) if code != "Success"][:1]


def read_profiles(file: str) -> tuple[dict[str, Any], str | None]:
    """Return the configuration of the official command line, or what is wrong with its file."""
    try:
        document = json.loads(Path(file).read_text("utf-8"))
    except FileNotFoundError:
        return {}, "does not exist"
    except OSError as error:
        return {}, f"cannot be read ({error.strerror})"
    except json.JSONDecodeError as error:
        return {}, f"is not JSON (line {error.lineno}, column {error.colno}): repair it, or run `aliyun configure`"
    except (ValueError, RecursionError):
        return {}, "is not JSON: repair it, or run `aliyun configure`"
    if not isinstance(document, dict):
        return {}, "is not a configuration of the official command line: run `aliyun configure`"
    return document, None


def _described(file: str, profile: str | None) -> tuple[str, str | None]:
    """Return how to call the profile in use, or else the file and why it has no such profile."""
    document, trouble = read_profiles(file)
    if trouble is not None:
        return file, trouble
    name = profile or document.get("current")
    if not isinstance(name, str) or not name:
        return file, "names no current profile: run `aliyun configure`, or set ALIBABA_CLOUD_PROFILE"
    listed = document.get("profiles")
    profiles = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    mode = next((entry.get("mode") for entry in profiles if entry.get("name") == name), "")
    if mode == "":
        return file, escape_control(f"has no profile {name!r}: name another, or run `aliyun configure --profile NAME`")
    return escape_control(f'profile "{name}" ({mode}) in {file}'), None


def _is_not_ours(_record: logging.LogRecord) -> bool:
    """Drop what our fetches log, and nothing that other threads log."""
    return not is_ours(threading.get_ident())
