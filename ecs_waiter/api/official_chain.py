"""OfficialChain: the official package's credential providers, asked in its order, but quietly.

Its own chain is not used as a whole: it reads the environment once, at import, and profiles once; it starts a scheduler
thread; it logs through its own handlers; its logs and errors quote URLs, files and answers with secrets in them; and it
does not distinguish a source that has no credentials from one that could not be asked.
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
from ecs_waiter.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OfficialChain", "could_not_ask", "read_profiles"]

# Those with handlers of their own first. The others quote URLs, with tokens in them, at the level DEBUG.
_SELF_PRINTING = ("alibabacloud-tea", "credentials")
_TALKATIVE = (
    *_SELF_PRINTING,
    "alibabacloud_credentials.provider.ecs_ram_role",
    "alibabacloud_credentials.provider.refreshable",
    "apscheduler.scheduler",
    "urllib3.connectionpool",
)
_MAX_REASON = 300

# Local trouble that passes: too many processes, files or too little memory.
_SHORTAGES = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETXTBSY})
_MISSING_FILE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_NO_THREAD = re.compile(r"start new thread|schedule new futures")
_STATUS = re.compile(r"(?:http_?code|status code)\W{1,2}(\d{3})\b", re.IGNORECASE)
_CODE = re.compile(r'"Code"\s*:\s*"([A-Za-z]{1,40}(?:\.[A-Za-z]{1,40}){0,3})"')
_EXIT_STATUS = re.compile(r"exit status (-?\d+)")
_PASSING_CODES = ("throttling", "serviceunavailable", "internalerror", "unknownerror", "signaturenonceused")
_PASSING_WORDS = ("command process timed out", "No cached value was found")
_PASSING_STATUSES = frozenset({408, 429, *range(500, 600)})
# The reasons that an error of `requests` gives without quoting a URL.
_CONNECTION = re.compile(
    r"Connection refused|Connection reset by peer|Connection aborted|timed out|Network is unreachable|No route to host"
    r"|Name or service not known|Temporary failure in name resolution|certificate verify failed|Cannot connect to proxy"
)
# Where the official words end and what they quote begins: a service's answer, a URL's rest, a command's output.
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

# Sources that have given credentials in this process, or are known to exist: by name and file.
_known: set[tuple[str, str | None]] = set()


class OfficialChain:
    """Asks each source until one has credentials, and only that one from then on. It blocks while it asks.

    A source whose file has changed reads it again. A source that gave credentials while an earlier one could not be
    asked stands in for it once: the next fetch asks all of them again.

    Args:
        trust_env: Whether services on the internet are asked through the environment's proxies. The metadata service,
            and what else is on this machine or in a private network, is never asked through a proxy.
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
        is_passing = False
        _silence()
        _quietly_imported()
        with our_requests(trust_env=self._trust_env):
            self._sources = self._sources or _present_sources()
            for source in self._sources:
                try:
                    answer = source.ask()
                except Exception as error:  # noqa: BLE001 - whatever ails one source, the next may have credentials
                    reasons.append(source.reason(error))
                    is_passing |= source.could_not_ask(error)
                else:
                    if not is_passing:
                        self._sources = [source]
                    return answer
        # Outside of any handler, lest the package's error become this one's context.
        words = "; ".join(reasons)
        if is_passing:
            raise ServiceUnavailableError(None, f"the credentials cannot be fetched now: {words}", sent=False)
        raise EcsWaiterError(words)


class _Source:
    """One official provider, made when it is first asked and again when its file has changed.

    Args:
        name: What the source is called in messages.
        make: Makes the provider.
        file: The file that the provider reads once.
    """

    def __init__(self, name: str, make: Callable[[], Any], file: str | None = None) -> None:
        self.name = name
        self.make = make
        self.file = file
        self._provider: Any = None
        self._stamp: bytes | None = None

    def ask(self) -> tuple[str, str, str | None]:
        """Return what the provider gives; whatever it raises passes through."""
        stamp = self._stamp_now()
        if self._provider is None or stamp != self._stamp:
            self._stamp = stamp
            self._provider = None
            self._provider = self.make()
        found = self._provider.get_credentials()
        if "external" in str(found.get_provider_name()).split("/"):
            # The package writes what the command gave into the file, which is not a reason to run the command again.
            self._stamp = self._stamp_now()
        answer = found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token()
        _known.add((self.name, self.file))
        return answer

    def _stamp_now(self) -> bytes | None:
        """What changes with the file. Its time does not: two writes may fall into one tick of the clock."""
        if self.file is None:
            return None
        try:
            return hashlib.sha256(Path(self.file).read_bytes()).digest()
        except OSError:
            return None

    def could_not_ask(self, error: Exception) -> bool:
        """Whether this failure may pass by itself; False if the source has no credentials for us."""
        if could_not_ask(error):
            return True
        # A command that fails says no more than that. One that has worked before is believed to work again.
        return _EXIT_STATUS.search(_own_words(error)) is not None and self._is_known

    @property
    def _is_known(self) -> bool:
        return (self.name, self.file) in _known

    def reason(self, error: Exception) -> str:
        """Return why there are no credentials, free of secrets."""
        return f"{self.name}: {_reason(error)}"


class _Profile(_Source):
    """The profiles of the official command line."""

    def __init__(self, make: Callable[[], Any], file: str, profile: str | None) -> None:
        super().__init__("profile of the command line", make, file)
        self._profile = profile

    def reason(self, error: Exception) -> str:
        if "disabled" in str(error):
            return super().reason(error)
        name, words = _described(str(self.file), self._profile)
        if words is None:
            words = _reason(error)
            if words.startswith("unsupported profile mode"):
                words = f"this mode is not supported: use one of {', '.join(_MODES)}"
            elif isinstance(error, AttributeError | KeyError | TypeError):
                words = f"the profile is incomplete or malformed ({type(error).__name__}): run `aliyun configure`"
        return f"{name}: {words}"


class _ProfileFile(_Source):
    """The official profile file."""

    def __init__(self, make: Callable[[], Any], file: str, section: str) -> None:
        super().__init__("profile file", make, file)
        self._section = section

    def reason(self, error: Exception) -> str:
        if not Path(str(self.file)).exists():
            return f"{self.file}: does not exist"
        if str(error).startswith("failed to get credential from"):
            return f"{self.file}: has no section [{printable(self._section)}]"
        return f"{self.file}: {_reason(error)}"


class _Metadata(_Source):
    """The RAM role of the instance that this may or may not be.

    Off the cloud nobody answers at the metadata service's address. So silence means that this is not an instance,
    unless the service has answered before or the environment names the role.
    """

    def __init__(self, make: Callable[[], Any], role: str | None) -> None:
        super().__init__("RAM role of the instance", make)
        self._is_named = bool(role)

    def could_not_ask(self, error: Exception) -> bool:
        if _status(error) in _PASSING_STATUSES:
            _known.add((self.name, self.file))
        return super().could_not_ask(error) and (self._is_named or self._is_known)


def _present_sources() -> list[_Source]:
    """The official default chain, as the environment is now and without the environment's own access key."""
    provider, auth_constant, auth_util = _quietly_imported()
    # What they know of the environment dates from their import.
    importlib.reload(auth_util)
    importlib.reload(auth_constant)
    sources = []
    if auth_util.enable_oidc_credential:
        sources.append(_Source("OIDC token (ALIBABA_CLOUD_OIDC_TOKEN_FILE)", provider.OIDCRoleArnCredentialsProvider))
    config = str(Path(auth_constant.HOME, ".aliyun", "config.json"))
    make = partial(provider.CLIProfileCredentialsProvider, profile_file=config)
    sources.append(_Profile(make, config, auth_util.environment_profile_name))
    file = auth_util.environment_credentials_file or str(Path(auth_constant.HOME, ".alibabacloud", "credentials.ini"))
    if file != os.devnull:
        make = partial(provider.ProfileCredentialsProvider, profile_file=file)
        sources.append(_ProfileFile(make, file, auth_util.client_type))
    if auth_util.environment_ecs_metadata_disabled.lower() != "true":
        # Its background refresh is the scheduler's thread; ours is the next call.
        make = partial(provider.EcsRamRoleCredentialsProvider, async_update_enabled=False)
        sources.append(_Metadata(make, auth_util.environment_ecs_metadata))
    if auth_util.environment_credentials_uri:
        sources.append(_Source("ALIBABA_CLOUD_CREDENTIALS_URI", provider.URLCredentialsProvider))
    return sources


def _quietly_imported() -> tuple[Any, Any, Any]:
    """The package's modules, without the handlers that their import adds if it is the first."""
    loggers = [logging.getLogger(name) for name in _SELF_PRINTING]
    handlers = [logger.handlers[:] for logger in loggers]
    # Here, for the package costs as much as all else that we import.
    from alibabacloud_credentials import provider  # noqa: PLC0415
    from alibabacloud_credentials.utils import auth_constant, auth_util  # noqa: PLC0415

    for logger, before in zip(loggers, handlers, strict=True):
        logger.handlers[:] = before
    return provider, auth_constant, auth_util


def could_not_ask(error: BaseException) -> bool:
    """Whether a fetch of credentials failed for a reason that may pass: a network, a service or a machine in trouble.

    A missing file, a profile that cannot be used and a service that refuses do not pass by themselves.
    """
    if isinstance(error, json.JSONDecodeError | MemoryError):
        return True  # a page of a gateway in place of an answer; no memory
    if isinstance(error, (ValueError, *_MISSING_FILE)):
        return False
    # The package's RetryError stands for any failed connection.
    if isinstance(error, OSError) or type(error).__name__ == "RetryError":
        return True
    if isinstance(error, RuntimeError):
        return _NO_THREAD.search(str(error)) is not None
    words = _own_words(error)
    origin = error.__context__
    return (
        (isinstance(origin, OSError) and origin.errno in _SHORTAGES)
        or words.startswith(_PASSING_WORDS)
        or _status(error) in _PASSING_STATUSES
        or any(code.lower().startswith(_PASSING_CODES) for code in _CODE.findall(words))
    )


def _own_words(error: BaseException) -> str:
    """What an error of the package says, without what a command wrote."""
    return str(error).partition("\nstderr")[0]


def _status(error: BaseException) -> int | None:
    found = _STATUS.search(_own_words(error))
    return int(found[1]) if found else None


def _reason(error: BaseException) -> str:
    """What an error says, as far as it holds no secret."""
    kind = type(error).__name__
    words = _own_words(error)
    if kind == "RetryError":
        found = _CONNECTION.search(words)
        return f"cannot be reached ({found[0] if found else kind})"
    if isinstance(error, OSError) and error.strerror and not isinstance(error.filename, bytes):
        return printable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    if isinstance(error, json.JSONDecodeError):
        return "the answer is not JSON"
    # Not imported here: only the official package needs it.
    if type(error).__module__ == "configparser":
        return f"is not a profile file ({kind})"
    if kind not in {"CredentialException", "ValueError"}:
        return kind
    # Its authors write what they quote, such as a service's answer or a command's output, behind their own words.
    head = re.sub(r" from https?$", "", _QUOTED.split(words, maxsplit=1)[0]).rstrip(" .,")
    details = _details(error, words)
    shown = f" ({', '.join(details)})" if details else ""
    reworded = _REWORDED.get(head)
    text = f"{head}{shown}" if reworded is None else reworded.format(details=shown)
    return printable(text[:_MAX_REASON])


def _details(error: BaseException, words: str) -> list[str]:
    details = [f"exit status {found[1]}" for found in _EXIT_STATUS.finditer(words)][:1]
    origin = error.__context__
    if not details and isinstance(origin, OSError) and origin.strerror and origin.errno:
        details.append(os.strerror(origin.errno))
    if (status := _status(error)) is not None:
        details.append(f"HTTP status {status}")
    return details + [code for code in _CODE.findall(words) if code != "Success"][:1]


def read_profiles(file: str) -> tuple[dict[str, Any], str | None]:
    """Return the configuration of the official command line, and what is wrong with its file if it has none."""
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
    """What to call the profile that the official package took, and why there is none if it took none."""
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
        return file, printable(f"has no profile {name!r}: name another, or run `aliyun configure --profile NAME`")
    return printable(f'profile "{name}" ({mode}) in {file}'), None


def _is_anothers(_record: logging.LogRecord) -> bool:
    return not is_ours(threading.get_ident())


def _silence() -> None:
    """Drop what our fetches log through those loggers, and nothing of what others log."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_anothers)
