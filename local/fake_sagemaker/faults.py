"""Failures on demand, for tests and for demonstration."""

import asyncio
import dataclasses
import socket
import struct
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

from aiohttp import web

from local.fake_sagemaker.credentials import Credentials
from local.fake_sagemaker.refusals import Refusal

Kind = Literal["throttle", "error", "deny", "slow", "reset"]
Place = Literal["api", "control", "credentials"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail.

    throttle  429 with Retry-After. Like error and deny: MLflow does not see the request
    error     `status`, with Retry-After when `retry_after` is set
    deny      403 AccessDenied
    slow      `delay` seconds before the answer, `chunk_delay` before every piece of its body
    reset     the connection is reset after `after_bytes` of the answer's body; 0: before its first line.
              With `forward` false MLflow has not seen the request
    """

    kind: Kind
    times: int | None = 1
    """How many requests; None: until cleared."""
    where: Place = "api"
    """MLflow's endpoint, the control plane (SageMaker, STS), or the credentials endpoint."""
    path: str = ""
    """Only requests whose path begins with this."""
    status: int = 503
    retry_after: int | None = 1
    delay: float = 0
    chunk_delay: float = 0
    after_bytes: int = 0
    forward: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind is one of {', '.join(get_args(Kind))} and expire, not {self.kind!r}")
        if self.where not in get_args(Place):
            raise ValueError(f"where is one of {', '.join(get_args(Place))}, not {self.where!r}")
        if self.times is not None and self.times < 1:
            raise ValueError("times is 1 or more, or null: until cleared")
        if not 400 <= self.status <= 599:
            raise ValueError("status is an HTTP error, 400 to 599")
        if min(self.delay, self.chunk_delay, self.after_bytes, self.retry_after or 0) < 0:
            raise ValueError("delay, chunk_delay, after_bytes and retry_after are 0 or more")


class Faults:
    """The faults that are switched on; the first that fits a request is used."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._active: list[Fault] = []

    @property
    def active(self) -> tuple[Fault, ...]:
        """Those that are left, with the times that are left."""
        return tuple(self._active)

    def add(self, kind: Kind, **options: Any) -> Fault:
        """Switch one on; the options are Fault's fields. ValueError or TypeError when they are wrong."""
        fault = Fault(kind=kind, **options)
        self._active.append(fault)
        return fault

    def expire_credentials(self) -> None:
        """Requests get 403 ExpiredTokenException until new credentials are fetched."""
        self._credentials.expire()

    def clear(self) -> None:
        self._active.clear()

    def take(self, where: Place, path: str) -> Fault | None:
        """The fault for this request, counted down."""
        for index, fault in enumerate(self._active):
            if fault.where == where and path.startswith(fault.path):
                if fault.times == 1:
                    del self._active[index]
                elif fault.times is not None:
                    self._active[index] = dataclasses.replace(fault, times=fault.times - 1)
                return fault
        return None


async def before(fault: Fault | None, request: web.BaseRequest) -> None:
    """What the fault does before MLflow sees the request; Refusal when it ends here."""
    if fault is None:
        return
    await asyncio.sleep(fault.delay)
    if fault.kind == "throttle":
        raise Refusal("ThrottlingException", "Rate exceeded", status=429)
    if fault.kind == "error":
        raise Refusal("InternalServerException", "Injected: the service failed.", status=fault.status)
    if fault.kind == "deny":
        raise Refusal("AccessDeniedException", "User: injected is not authorized to perform: this")
    if fault.kind == "reset" and not fault.forward:
        reset(request)


def retry_after(fault: Fault | None) -> dict[str, str]:
    """The header that goes with a throttled or failed request."""
    if fault is None or fault.kind not in {"throttle", "error"} or fault.retry_after is None:
        return {}
    return {"Retry-After": str(fault.retry_after)}


def reset(request: web.BaseRequest) -> None:
    """Close the connection with a RST, not a FIN. Raises ConnectionResetError to end the handler."""
    transport = request.transport
    if transport is not None:
        connection = cast("socket.socket", transport.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    raise ConnectionResetError("injected")


def control_app(faults: Faults) -> web.Application:
    """POST /faults {"kind": ..., ...Fault's fields}, GET /faults, DELETE /faults; {"kind": "expire"} expires."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response({"active": [dataclasses.asdict(fault) for fault in faults.active]})

    async def add(request: web.Request) -> web.Response:
        try:
            options = await request.json()
            if not isinstance(options, Mapping):
                raise TypeError('a JSON object is needed, such as {"kind": "throttle", "times": 3}')
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
