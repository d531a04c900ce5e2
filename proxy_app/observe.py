"""What the proxy tells its operators: one JSON line a request on standard output, and metrics for Prometheus.

A line holds the route's template, never a path, a query, a header or a body: those may carry secrets.
"""

import asyncio
import json
import logging
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any, TextIO

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

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


class _Spread:
    """A histogram's counts, one for each bucket and one for what is above them all."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        bounds = [*[str(float(bound)) for bound in _BUCKETS], "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class _Counts(Collector):
    """What is counted for each request. One event loop counts here, so none of it needs prometheus_client's locks,
    which would take longer than all else that is written down about a request.
    """

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.seconds: defaultdict[str, _Spread] = defaultdict(_Spread)
        self.upstream_seconds: defaultdict[str, _Spread] = defaultdict(_Spread)
        self.refusals: defaultdict[tuple[str], int] = defaultdict(int)
        self.bytes: defaultdict[tuple[str], int] = defaultdict(int)
        self.retries: defaultdict[tuple[()], int] = defaultdict(int, {(): 0})

    def collect(self) -> Iterator[Metric]:
        yield _counter("mlflow_proxy_requests", "Requests answered.", ("family", "method", "status"), self.requests)
        yield _counter("mlflow_proxy_errors", "Requests the proxy ended.", ("reason",), self.refusals)
        yield _counter("mlflow_proxy_body_bytes", "Bodies of requests and answers.", ("direction",), self.bytes)
        yield _counter("mlflow_proxy_upstream_retries", "Attempts after a first one.", (), self.retries)
        yield _histogram("mlflow_proxy_request_duration_seconds", "From head to last byte.", self.seconds)
        yield _histogram(
            "mlflow_proxy_upstream_duration_seconds", "Until the head of the upstream's answer.", self.upstream_seconds
        )


def _counter(name: str, sentence: str, labels: tuple[str, ...], counts: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, sentence, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, sentence: str, spreads: Mapping[str, _Spread]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, sentence, labels=("family",))
    for label, spread in spreads.items():
        family.add_metric((label,), spread.cumulative(), spread.total)
    return family


# In seconds: nobody who watches sees it, and a proxy that is killed loses no more than these lines.
_LOG_DELAY = 0.01


class _Lines:
    """Writes the lines of a moment together: a write for each stands in the way of the next request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(_LOG_DELAY, self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        if self._lines:
            # Gone from here first: were they to stay when nobody reads the stream any more, they would pile up.
            lines, self._lines = self._lines, []
            self._stream.write("".join(lines))


class Observer:
    """Counts exchanges and writes their lines."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._lines = _Lines(sys.stdout)
        self._write: Callable[[str], object] = write or self._lines
        self._counts = _Counts()
        self.registry = CollectorRegistry()
        self.registry.register(self._counts)

    def gauge(self, name: str, sentence: str, read: Callable[[], float]) -> None:
        """A gauge that is read when somebody asks."""
        Gauge(name, sentence, registry=self.registry).set_function(read)

    def stop_waiting(self) -> None:
        """Write the lines that wait, and each further one at once: the event loop may not live to write it later."""
        self._lines.flush()
        if self._write is self._lines:
            self._write = sys.stdout.write

    def turned_away(self) -> None:
        """Count a connection that was one too many: it was answered before anything was read."""
        self._counts.refusals["too-many-connections",] += 1

    def record(self, exchange: Exchange) -> None:
        """Count a finished exchange and write its line."""
        took = time.perf_counter() - exchange.started
        counts = self._counts
        family = exchange.route.family if exchange.route else "none"
        # A method is the caller's text: unknown ones count as one, or anybody could make thousands.
        method = exchange.method if exchange.method in _METHODS else "other"
        counts.requests[family, method, str(exchange.status)] += 1
        counts.seconds[family].add(took)
        if exchange.upstream_seconds is not None:
            counts.upstream_seconds[family].add(exchange.upstream_seconds)
        if exchange.attempts > 1:
            counts.retries[()] += exchange.attempts - 1
        if exchange.bytes_in:
            counts.bytes["in",] += exchange.bytes_in
        if exchange.bytes_out:
            counts.bytes["out",] += exchange.bytes_out
        if exchange.error:
            counts.refusals[exchange.error,] += 1
        self._write(_line(exchange, took))

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
