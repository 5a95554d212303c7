"""The HTTP face: reads a request, lets faults and the service decide, and sends the answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from aiohttp import web

from ecs_waiter.emulator import hosts, parameters
from ecs_waiter.emulator.answer import Answer, ServiceError
from ecs_waiter.emulator.clock import Clock, Moment
from ecs_waiter.emulator.request import Request
from ecs_waiter.emulator.signatures import Gatekeeper, SignedRequest, signer_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecs_waiter.emulator.faults import Faults
    from ecs_waiter.emulator.service import Service
    from ecs_waiter.emulator.state import Identifiers

__all__ = ["HttpFace"]

_VERSION = "2014-05-26"
_FORM = "application/x-www-form-urlencoded"


class HttpFace:
    """Answers HTTP requests; one serves any number of connections.

    Attributes:
        requests: The last requests seen, in the order of arrival.
    """

    def __init__(  # noqa: PLR0913 - each is a part of the emulator
        self,
        service: Service,
        faults: Faults,
        clock: Clock,
        identifiers: Identifiers,
        gatekeeper: Gatekeeper,
        *,
        keep_requests: int,
    ) -> None:
        self.requests: list[Request] = []
        self._keep_requests = keep_requests
        self._gatekeeper = gatekeeper
        self._service = service
        self._faults = faults
        self._clock = clock
        self._ids = identifiers

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        body, refusal = b"", None
        try:
            body = await http.read()
        except web.HTTPRequestEntityTooLarge:
            refusal = ServiceError(413, "RequestEntityTooLarge", "The request body is too large.")
        request = self._read(http, body)
        self.requests.append(request)
        del self.requests[: -self._keep_requests or None]
        answer = self._answer(http, request, body, refusal)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        packet = answer.packet()
        if answer.delivery is None:
            request.answered = packet.status
            return web.Response(status=packet.status, headers=packet.headers, body=packet.body)
        if answer.delivery.sends_status:
            request.answered = packet.status
        return await answer.delivery.deliver(http, packet)

    def _read(self, http: web.BaseRequest, body: bytes) -> Request:
        params = dict(http.rel_url.query)
        if body and http.content_type == _FORM:
            params.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        headers = {name.lower(): value for name, value in http.headers.items()}
        return Request(
            action=headers.get("x-acs-action") or params.get("Action", ""),
            region_id=params.get("RegionId") or hosts.region_of(headers.get("host", "")),
            task_ids=parameters.task_ids(params),
            params=params,
            method=http.method,
            headers=headers,
            access_key_id=signer_of(headers, params),
            at=self._clock.now(),
        )

    def _answer(self, http: web.BaseRequest, request: Request, body: bytes, refusal: ServiceError | None) -> Answer:
        struck = self._faults.striking(request)
        shift = timedelta(seconds=sum(fault.clock_offset() for fault in struck))
        moment = Moment(request.at, shift)
        request_id = self._ids.request()
        answer = next((made for fault in struck if (made := fault.instead(request, moment))), None)
        if answer is None:
            try:
                if refusal is not None:
                    raise refusal
                _check_call(http, request)
                self._gatekeeper.check(_signed(http, request, body), moment.public)
                _check_host(request)
                content = self._service.answer(request, moment)
                answer = Answer(200, {"RequestId": request_id, **content}, name=f"{request.action}Response")
            except ServiceError as error:
                answer = Answer(error.status, error.content(request_id, http.host))
            if request.params.get("Format", "").upper() == "XML":
                answer.body_format = "xml"
        for fault in struck:
            fault.spoil(request, answer)
        if isinstance(answer.content, dict):
            answer.content.setdefault("RequestId", request_id)
            if answer.status >= 400:  # noqa: PLR2004 - where HTTP's errors begin
                answer.content.setdefault("HostId", http.host)
        answer.headers = {**_usual_headers(moment, request_id), **answer.headers}
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
    if not hosts.serves(request.headers.get("host", ""), request.region_id):
        raise ServiceError(
            404,
            "InvalidOperation.NotSupportedEndpoint",
            "The specified endpoint can't operate this region. Please use API DescribeRegions to get the appropriate "
            "endpoint, or upgrade your SDK to latest version.",
        )


def _signed(http: web.BaseRequest, request: Request, body: bytes) -> SignedRequest:
    return SignedRequest(
        method=http.method,
        query=http.raw_path.partition("?")[2],
        params=request.params,
        headers=request.headers,
        body=body,
    )


def _usual_headers(moment: Moment, request_id: str) -> Mapping[str, str]:
    # aiohttp would write the machine's time and its own name.
    return {"Date": moment.date, "Server": "ecs-emulator", "x-acs-request-id": request_id}
