"""RegionErrors: what is raised and logged when a region, or one of its IDs, keeps failing."""

from __future__ import annotations

import logging
import math

from ecs_waiter.api.service_errors import concerns_credentials
from ecs_waiter.errors import ApiError, EcsWaiterError, ServiceUnavailableError

__all__ = ["RegionErrors"]

_LOG_AFTER = 10.0
_LOG_EVERY = 300.0
"""Seconds without a good answer after which an outage is logged, and between two such lines at least."""

_log = logging.getLogger("ecs_waiter.polling")


class RegionErrors:
    """Makes the errors that end waits of one region, and logs its outages.

    Args:
        region_id: The region.
        budget: Seconds without a good answer after which the region is given up.

    Attributes:
        last_fault: The last fault.
    """

    def __init__(self, region_id: str, budget: float) -> None:
        self._region_id = region_id
        self._budget = budget
        self._is_logged = False
        self._logged_at = -math.inf
        self.last_fault = ApiError(None, "none so far")

    # -- errors -------------------------------------------------------------------------------------------------------

    def outage(self) -> ServiceUnavailableError:
        """The region gave no good answer for the whole budget."""
        if concerns_credentials(self.last_fault):
            return self._unavailable(f"no credentials for {self._region_id} in {self._budget:g} s")
        return self._unavailable(f"{self._region_id} gave no good answer for {self._budget:g} s")

    def culprit(self, task_id: str) -> ServiceUnavailableError:
        """The region fails on one ID."""
        return self._unavailable(f"{self._region_id} keeps failing on {task_id} alone")

    def unlisted(self, task_id: str) -> ServiceUnavailableError:
        """The region counts an ID but does not list it."""
        what = f"{self._region_id} counts {task_id} but has not listed it for {self._budget:g} s"
        return ServiceUnavailableError(None, what, region_id=self._region_id)

    def strategy_failed(self, cause: Exception) -> EcsWaiterError:
        """The user's wait strategy raised."""
        return _caused(cause, f"the wait strategy failed, so {self._region_id} is not polled")

    def died(self, cause: BaseException) -> EcsWaiterError:
        """Our own code raised."""
        return _caused(cause, f"polling {self._region_id} ended by an error in its own code")

    def _unavailable(self, what: str) -> ServiceUnavailableError:
        last = self.last_fault
        words = f"{what}; the last fault: {last.message}"
        error = ServiceUnavailableError(last.code, words, last.request_id, last.http_status, region_id=self._region_id)
        error.__cause__ = last
        return error

    # -- log ----------------------------------------------------------------------------------------------------------

    def log_fault(self, since: float, now: float) -> None:
        """Log the outage that began at `since`, after some seconds and then now and again."""
        if now < max(since + _LOG_AFTER, self._logged_at + _LOG_EVERY):
            return
        self._is_logged, self._logged_at = True, now
        what = "no credentials for %s" if concerns_credentials(self.last_fault) else "%s is not responding"
        _log.warning(
            f"{what}; retrying for %g s: %s",
            self._region_id,
            self._budget,
            self.last_fault,
            extra={"region_id": self._region_id},
        )

    def log_answer(self) -> None:
        """Log that the region answers again, if its outage was logged."""
        if self._is_logged:
            self._is_logged = False
            _log.info("%s is responding again", self._region_id, extra={"region_id": self._region_id})

    def end_outage(self) -> None:
        """Forget that an outage was logged: its waits have ended."""
        self._is_logged = False


def _caused(cause: BaseException, what: str) -> EcsWaiterError:
    error = EcsWaiterError(f"{what}: {type(cause).__name__} (see the cause)")
    error.__cause__ = cause
    return error
