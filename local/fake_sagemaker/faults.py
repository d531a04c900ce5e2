"""Fault injection, for tests and demonstration."""

import asyncio
import dataclasses
import socket
import struct
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

from aiohttp import web

from local.fake_sagemaker.credentials import Credentials
from local.fake_sagemaker.errors import AwsError

Kind = Literal["throttle", "error", "deny", "slow", "reset"]
Endpoint = Literal["api", "control", "credentials"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault to inject.

    throttle  429 with Retry-After. With throttle, error and deny, MLflow does not receive the request
    error     `status`, with Retry-After when `retry_after` is set
    deny      403 AccessDenied
    slow      `delay` seconds before the response, `chunk_delay` before each chunk of its body
    reset     resets the connection after `after_bytes` of the response body; 0: before the status line.
              If `forward` is false, MLflow does not receive the request
    """

    kind: Kind
    times: int | None = 1
    """Number of requests affected; None: until cleared."""
    where: Endpoint = "api"
    """MLflow's endpoint, the control plane (SageMaker, STS), or the credentials endpoint."""
    path: str = ""
    """Prefix of the paths affected."""
    status: int = 503
    retry_after: int | None = 1
    delay: float = 0
    chunk_delay: float = 0
    after_bytes: int = 0
    forward: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind: got {self.kind!r}, expected one of {', '.join(get_args(Kind))}, expire")
        if self.where not in get_args(Endpoint):
            raise ValueError(f"where: got {self.where!r}, expected one of {', '.join(get_args(Endpoint))}")
        if self.times is not None and self.times < 1:
            raise ValueError("times: expected 1 or more, or null (until cleared)")
        if not 400 <= self.status <= 599:
            raise ValueError("status: expected 400 to 599")
        if min(self.delay, self.chunk_delay, self.after_bytes, self.retry_after or 0) < 0:
            raise ValueError("delay, chunk_delay, after_bytes, retry_after: expected 0 or more")


class Faults:
    """The active faults; the first one that matches a request is injected."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._active: list[Fault] = []

    @property
    def active(self) -> tuple[Fault, ...]:
        """The active faults; `times` is the number of requests left."""
        return tuple(self._active)

    def add(self, kind: Kind, **options: Any) -> Fault:
        """Activate a fault; the options are the fields of Fault. ValueError or TypeError when they are invalid."""
        fault = Fault(kind=kind, **options)
        self._active.append(fault)
        return fault

    def expire_credentials(self) -> None:
        """Expire all credentials: requests get 403 ExpiredTokenException until the client fetches new ones."""
        self._credentials.expire()

    def clear(self) -> None:
        """Deactivate all faults."""
        self._active.clear()

    def next_for(self, where: Endpoint, path: str) -> Fault | None:
        """The fault to inject into this request, if any; decrements its `times`."""
        for index, fault in enumerate(self._active):
            if fault.where == where and path.startswith(fault.path):
                if fault.times == 1:
                    del self._active[index]
                elif fault.times is not None:
                    self._active[index] = dataclasses.replace(fault, times=fault.times - 1)
                return fault
        return None


async def apply_before_forwarding(fault: Fault | None, request: web.BaseRequest) -> None:
    """Apply the part of the fault that precedes forwarding; AwsError when the request is not forwarded."""
    if fault is None:
        return
    await asyncio.sleep(fault.delay)
    if fault.kind == "throttle":
        raise AwsError("ThrottlingException", "Rate exceeded", status=429)
    if fault.kind == "error":
        raise AwsError("InternalServerException", "Injected fault.", status=fault.status)
    if fault.kind == "deny":
        raise AwsError("AccessDeniedException", "User: injected is not authorized to perform: injected fault")
    if fault.kind == "reset" and not fault.forward:
        reset_connection(request)


def retry_after_header(fault: Fault | None) -> dict[str, str]:
    """The Retry-After header of a throttled or failed request, if any."""
    if fault is None or fault.kind not in {"throttle", "error"} or fault.retry_after is None:
        return {}
    return {"Retry-After": str(fault.retry_after)}


def reset_connection(request: web.BaseRequest) -> None:
    """Close the connection with RST instead of FIN, and raise ConnectionResetError to end the handler."""
    transport = request.transport
    if transport is not None:
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    raise ConnectionResetError("injected")


def faults_app(faults: Faults) -> web.Application:
    """The API of fault injection: POST (with the fields of Fault as JSON), GET and DELETE /faults.

    POST {"kind": "expire"} expires all credentials.
    """

    async def show(_: web.Request) -> web.Response:
        return web.json_response({"active": [dataclasses.asdict(fault) for fault in faults.active]})

    async def add(request: web.Request) -> web.Response:
        try:
            options = await request.json()
            if not isinstance(options, Mapping):
                raise TypeError('expected a JSON object, such as {"kind": "throttle", "times": 3}')
            options = dict(cast("Mapping[str, Any]", options))
            if options == {"kind": "expire"}:
                faults.expire_credentials()
            else:
                faults.add(options.pop("kind", ""), **options)
        except (TypeError, ValueError) as error:
            return web.json_response({"message": str(error)}, status=400)
        return await show(request)

    async def clear(request: web.Request) -> web.Response:
        faults.clear()
        return await show(request)

    app = web.Application()
    app.add_routes(
        [web.get("/faults", show), web.post("/faults", add), web.delete("/faults", clear)],
    )
    return app
