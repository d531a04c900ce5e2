"""OpenTelemetry's own exporter, configured with the proxy's address and a token."""

import asyncio
import uuid
from typing import Any

import aiohttp
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.doubles.proxy_process import ProxyProcess


def export(url: str, token: str, experiment: str, compression: Compression) -> None:
    headers = {"Authorization": f"Bearer {token}", "x-mlflow-experiment-id": experiment}
    exporter = OTLPSpanExporter(f"{url}/v1/traces", headers=headers, compression=compression, timeout=20)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span(f"span-{compression.value}") as span:
        span.set_attribute("text", "ü" * 3_000)
    provider.shutdown()


@pytest.mark.timeout(240)
async def test_spans_arrive_in_every_encoding_of_the_exporter(proxy: ProxyProcess) -> None:
    editor, viewer = ({"Authorization": f"Bearer {proxy.tokens.all[role]}"} for role in ("editor", "viewer"))
    async with aiohttp.ClientSession(proxy.url) as session:

        async def call(path: str, body: Any, headers: dict[str, str]) -> Any:
            async with session.post(path, json=body, headers=headers) as response:
                assert response.status == 200, await response.text()
                return await response.json()

        name = {"name": f"otlp-{uuid.uuid4().hex[:8]}"}
        experiment = (await call("/api/2.0/mlflow/experiments/create", name, editor))["experiment_id"]
        for compression in Compression:
            await asyncio.to_thread(export, proxy.url, proxy.tokens.editor, experiment, compression)
        where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        found = await call("/api/3.0/mlflow/traces/search", {"locations": [where]}, viewer)
        names: list[str] = []
        for info in found["traces"]:
            query = {"trace_id": info["trace_id"]}
            async with session.get("/api/3.0/mlflow/traces/get", params=query, headers=viewer) as response:
                names += [span["name"] for span in (await response.json())["trace"]["spans"]]
    assert sorted(names) == sorted(f"span-{compression.value}" for compression in Compression)
    assert {line["status"] for line in proxy.requests if line["route"] == "/v1/traces"} == {200}
