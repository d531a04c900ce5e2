"""Metrics in the format of Prometheus."""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from . import __version__
from .context import RequestRecord

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Histogram:
    """Counts of durations by bucket; the last bucket is for values above all bounds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration in seconds."""
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, count up to it) of each bucket, the last one +Inf: the form of prometheus_client."""
        bounds = [*[str(float(bound)) for bound in _BUCKETS], "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class Metrics(Collector):
    """All metrics of the process, in the collector registry ``registry``.

    They are plain counts: one event loop updates them, so they do not need prometheus_client's locks, which would take
    longer than everything else that is recorded for a request.
    """

    def __init__(self) -> None:
        self._requests: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._seconds: defaultdict[str, _Histogram] = defaultdict(_Histogram)
        self._upstream_seconds: defaultdict[str, _Histogram] = defaultdict(_Histogram)
        self._queue_seconds: defaultdict[str, _Histogram] = defaultdict(_Histogram)
        self._errors: defaultdict[tuple[str], int] = defaultdict(int)
        self._bytes: defaultdict[tuple[str], int] = defaultdict(int)
        self._retries: defaultdict[tuple[()], int] = defaultdict(int, {(): 0})
        self._gauges: list[tuple[str, str, Callable[[], float | None]]] = []
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def gauge(self, name: str, help_text: str, read: Callable[[], float | None]) -> None:
        """Add a gauge. ``read`` is called at each scrape; the gauge is absent while it returns None."""
        self._gauges.append((name, help_text, read))

    def count_error(self, reason: str) -> None:
        """Count an error that belongs to no request, by its code."""
        self._errors[reason,] += 1

    def record(self, record: RequestRecord) -> None:
        """Count a finished request."""
        group = record.route.resource_group if record.route else "none"
        # The client chooses the method: unknown ones share one label value.
        method = record.method if record.method in _METHODS else "other"
        self._requests[group, method, str(record.status)] += 1
        self._seconds[group].add(time.perf_counter() - record.started)
        if record.upstream_seconds is not None:
            self._upstream_seconds[group].add(record.upstream_seconds)
        if record.queue_seconds:
            self._queue_seconds[group].add(record.queue_seconds)
        if record.attempts > 1:
            self._retries[()] += record.attempts - 1
        if record.bytes_in:
            self._bytes["in",] += record.bytes_in
        if record.bytes_out:
            self._bytes["out",] += record.bytes_out
        if record.error:
            self._errors[record.error,] += 1

    def collect(self) -> Iterator[Metric]:
        """The metric families of a scrape (prometheus_client's interface)."""
        labels = ("resource_group", "method", "status")
        yield _counter("mlflow_proxy_requests", "Requests answered.", labels, self._requests)
        yield _counter("mlflow_proxy_errors", "Requests ended by the proxy, by error code.", ("error",), self._errors)
        yield _counter("mlflow_proxy_body_bytes", "Request and response bodies.", ("direction",), self._bytes)
        yield _counter("mlflow_proxy_upstream_retries", "Attempts after the first one.", (), self._retries)
        yield _histogram(
            "mlflow_proxy_request_duration_seconds", "From the request head to the last byte.", self._seconds
        )
        yield _histogram(
            "mlflow_proxy_upstream_duration_seconds", "Until the upstream's response head.", self._upstream_seconds
        )
        yield _histogram("mlflow_proxy_queue_duration_seconds", "Wait of requests above a limit.", self._queue_seconds)
        build_info = GaugeMetricFamily("mlflow_proxy_build_info", "Always 1.", labels=("version",))
        build_info.add_metric((__version__,), 1)
        yield build_info
        for name, help_text, read in self._gauges:
            family = GaugeMetricFamily(name, help_text)
            if (value := read()) is not None:
                family.add_metric((), value)
            yield family

    def application(self) -> web.Application:
        """The application that serves ``/metrics``, for a private listener."""

        async def metrics(_: web.Request) -> web.Response:
            """The metrics in Prometheus's text format."""
            return web.Response(body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

        app = web.Application()
        app.router.add_get("/metrics", metrics)
        return app


def _counter(name: str, help_text: str, labels: tuple[str, ...], counts: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histogram(name: str, help_text: str, histograms: Mapping[str, _Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help_text, labels=("resource_group",))
    for label, histogram in histograms.items():
        family.add_metric((label,), histogram.cumulative(), histogram.total)
    return family
