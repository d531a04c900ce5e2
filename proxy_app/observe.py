"""What the gate tells its operators: one JSON line a request on standard output, and metrics for Prometheus.

A line holds the route's template, never a path, a query, a header or a body: those may carry secrets.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from .callers import Caller
from .routes import Route

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


@dataclass(slots=True)
class Exchange:
    """One request and what became of it, filled in on its way. Times are seconds of ``time.perf_counter``."""

    request_id: str
    method: str
    started: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    route: Route | None = None
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    upstream_seconds: float | None = None
    attempts: int = 0
    error: str = ""


class Observer:
    """Counts exchanges and writes their lines."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or sys.stdout.write
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "gate_requests", "Requests answered.", ("family", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "gate_request_seconds", "From head to last byte.", ("family",), buckets=_BUCKETS, registry=self.registry
        )
        self._upstream_seconds = Histogram(
            "gate_upstream_seconds",
            "Until the head of the upstream's answer.",
            ("family",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._refusals = Counter("gate_refusals", "Requests the gate ended.", ("reason",), registry=self.registry)
        self._retries = Counter("gate_upstream_retries", "Attempts after a first one.", registry=self.registry)
        self._bytes = Counter("gate_body_bytes", "Bodies passed.", ("direction",), registry=self.registry)
        self._in, self._out = self._bytes.labels("in"), self._bytes.labels("out")
        # Finding a labelled child costs more than counting in it.
        self._children: dict[tuple[str, str, int], tuple[Any, Any, Any]] = {}

    def gauge(self, name: str, sentence: str, read: Callable[[], float]) -> None:
        """A gauge that is read when somebody asks."""
        Gauge(name, sentence, registry=self.registry).set_function(read)

    def record(self, exchange: Exchange) -> None:
        """Count a finished exchange and write its line."""
        took = time.perf_counter() - exchange.started
        route = exchange.route
        family = route.family if route else "none"
        requests, seconds, upstream_seconds = self._for(family, exchange.method, exchange.status)
        requests.inc()
        seconds.observe(took)
        if exchange.upstream_seconds is not None:
            upstream_seconds.observe(exchange.upstream_seconds)
        if exchange.attempts > 1:
            self._retries.inc(exchange.attempts - 1)
        if exchange.bytes_in:
            self._in.inc(exchange.bytes_in)
        if exchange.bytes_out:
            self._out.inc(exchange.bytes_out)
        if exchange.error:
            self._refusals.labels(exchange.error).inc()
        self._write(_line(exchange, took))

    def _for(self, family: str, method: str, status: int) -> tuple[Any, Any, Any]:
        # A method is the caller's text: unknown ones share a child, or anybody could make thousands.
        key = (family, method if method in _METHODS else "other", status)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._requests.labels(key[0], key[1], str(status)),
                self._seconds.labels(family),
                self._upstream_seconds.labels(family),
            )
        return children

    def application(self) -> web.Application:
        """``/metrics``, for a private listener of its own."""

        async def metrics(_: web.Request) -> web.Response:
            return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        return app


def _line(exchange: Exchange, took: float) -> str:
    """The exchange as JSON. By hand, since it is written for every request; what a caller can word is quoted."""
    caller, route, waited = exchange.caller, exchange.route, exchange.upstream_seconds
    error = f', "error": "{exchange.error}"' if exchange.error else ""
    return (
        f'{{"time": "{_now()}", "level": "{"info" if exchange.status < 500 else "error"}", "event": "request", '
        f'"request_id": "{exchange.request_id}", '
        f'"caller": {_quoted(caller.name) if caller else "null"}, '
        f'"role": {_quoted(caller.role.label) if caller else "null"}, '
        f'"method": {_quoted(exchange.method)}, "route": {_quoted(route.template) if route else "null"}, '
        f'"status": {exchange.status}, "bytes_in": {exchange.bytes_in}, "bytes_out": {exchange.bytes_out}, '
        f'"ms": {took * 1000:.1f}, "upstream_ms": {"null" if waited is None else f"{waited * 1000:.1f}"}, '
        f'"attempts": {exchange.attempts}{error}}}\n'
    )


_quoted = lru_cache(maxsize=4096)(json.dumps)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _now(),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json() -> None:
    """Everything that is logged becomes a JSON line on standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # botocore tells of each credential it finds, and a refresh that fails is told once, by the credentials' keeper.
    logging.getLogger("botocore").setLevel(logging.CRITICAL)


def _now() -> str:
    """The time in UTC, to the millisecond, as in 2026-11-22T10:00:00.123Z."""
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
