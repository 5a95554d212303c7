"""Handles HTTP requests: reads one, asks faults and service for the answer, and sends it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from ecs_waiter.emulator import parameters
from ecs_waiter.emulator.clock import Clock, ServiceTime
from ecs_waiter.emulator.regions import host_serves, region_of_host
from ecs_waiter.emulator.signatures import SignatureVerifier, signer_of
from ecs_waiter.emulator.wire import Answer, Request, ServiceError

if TYPE_CHECKING:
    from ecs_waiter.emulator.faults.injection import Faults
    from ecs_waiter.emulator.service import Service
    from ecs_waiter.emulator.task_store import Identifiers

__all__ = ["Handler"]

_VERSION = "2014-05-26"
_FORM = "application/x-www-form-urlencoded"


class Handler:
    """Answers the HTTP requests of any number of connections.

    Attributes:
        requests: The last requests seen, in the order of arrival.
    """

    def __init__(  # noqa: PLR0913 - each is a part of the emulator
        self,
        service: Service,
        faults: Faults,
        clock: Clock,
        identifiers: Identifiers,
        verifier: SignatureVerifier,
        *,
        keep_requests: int,
    ) -> None:
        self.requests: list[Request] = []
        self._keep_requests = keep_requests
        self._verifier = verifier
        self._service = service
        self._faults = faults
        self._clock = clock
        self._ids = identifiers

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        body, error = b"", None
        try:
            body = await http.read()
        except web.HTTPRequestEntityTooLarge:
            error = ServiceError(413, "RequestEntityTooLarge", "The request body is too large.")
        request = self._read(http, body)
        self.requests.append(request)
        del self.requests[: -self._keep_requests or None]
        answer = self._answer(http, request, body, error)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        packet = answer.packet()
        if answer.sends_status:
            request.answered = packet.status
        if answer.deliver is not None:
            return await answer.deliver(http, packet)
        return web.Response(status=packet.status, headers=packet.headers, body=packet.body)

    def _read(self, http: web.BaseRequest, body: bytes) -> Request:
        params = dict(http.rel_url.query)
        if body and http.content_type == _FORM:
            params.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        headers = {name.lower(): value for name, value in http.headers.items()}
        return Request(
            action=headers.get("x-acs-action") or params.get("Action", ""),
            region_id=params.get("RegionId") or region_of_host(headers.get("host", "")),
            task_ids=parameters.task_ids(params),
            params=params,
            method=http.method,
            headers=headers,
            access_key_id=signer_of(headers, params),
            at=self._clock.now(),
        )

    def _answer(self, http: web.BaseRequest, request: Request, body: bytes, error: ServiceError | None) -> Answer:
        faults = self._faults.hitting(request)
        time = ServiceTime(request.at, timedelta(seconds=sum(fault.clock_offset() for fault in faults)))
        request_id = self._ids.request()
        answer = next((made for fault in faults if (made := fault.replacement(request, time))), None)
        if answer is None:
            try:
                if error is not None:
                    raise error
                _check_call(http, request)
                self._verifier.check(request, http.raw_path.partition("?")[2], body, time.shown)
                _check_host(request)
                content = self._service.answer(request, time)
                answer = Answer(200, {"RequestId": request_id, **content}, name=f"{request.action}Response")
            except ServiceError as rejection:
                answer = Answer(rejection.status, rejection.content(request_id, http.host))
            if request.params.get("Format", "").upper() == "XML":
                answer.body_format = "xml"
        for fault in faults:
            fault.modify(answer)
        if isinstance(answer.content, dict):
            answer.content.setdefault("RequestId", request_id)
            if answer.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
                answer.content.setdefault("HostId", http.host)
        # Without these, aiohttp would send the machine's time and its own name.
        headers = {"Date": time.date, "Server": "ecs-emulator", "x-acs-request-id": request_id}
        answer.headers = headers | answer.headers
        return answer


def _check_call(http: web.BaseRequest, request: Request) -> None:
    if http.method not in {"GET", "POST"}:
        raise ServiceError(405, "UnsupportedHTTPMethod", "This http method is not supported.")
    if http.path != "/" or not request.action:
        raise ServiceError(
            404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."
        )
    version = http.headers.get("x-acs-version") or request.params.get("Version", "")
    if not version:
        raise ServiceError(400, "MissingVersion", "Version is mandatory for this action.")
    if version != _VERSION:
        raise ServiceError(400, "InvalidVersion", "Specified parameter Version is not valid.")


def _check_host(request: Request) -> None:
    if not host_serves(request.headers.get("host", ""), request.region_id):
        raise ServiceError(
            404,
            "InvalidOperation.NotSupportedEndpoint",
            "The specified endpoint can't operate this region. Please use API DescribeRegions to get the appropriate "
            "endpoint, or upgrade your SDK to latest version.",
        )
