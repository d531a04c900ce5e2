"""No bytes from a client crash the proxy, get around a role or the signature, or leave the artifact root.

`make fuzz` runs the same for as long as wanted.
"""

import re
import tempfile
from asyncio import Runner
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy_app.auth import ROLES, Role
from proxy_app.routing import MLFLOW_ROUTES
from tests.doubles.mlflow_routing import Served, Servers
from tests.doubles.raw_client import request
from tests.doubles.running_proxy import Tokens, wait_until
from tests.proxy_app.url_strategies import PATHS, QUERIES

from .campaign import Report, check_log, fuzz, judged_proxy, send
from .judge import Judge
from .messages import BODIES, HEADERS, LOCATIONS

# Importing MLflow's server takes a while on a busy machine.
pytestmark = pytest.mark.timeout(300)
CLIENTS = [None, *ROLES]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Servers:
    return Servers(Served.load(tmp_path_factory.mktemp("mlflow")))


def run(work: Coroutine[Any, Any, None]) -> None:
    with Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


@pytest.mark.parametrize("artifacts", [False, True], ids=["signed", "artifacts"])
@pytest.mark.parametrize("role", CLIENTS, ids=lambda role: role.label if role else "none")
def test_bytes_of_a_connection_do_no_harm(servers: Servers, tmp_path: Path, role: Role | None, artifacts: bool) -> None:
    async def campaign() -> None:
        report = await fuzz(tmp_path, servers, role, artifacts=artifacts, seconds=1.5, seed=2)
        assert report.wrong == []
        assert report.connections > 50
        if role is not None:
            assert report.seen["mlflow"] > 1

    run(campaign())


TEMPLATES = st.sampled_from(
    [route for route in MLFLOW_ROUTES if route.resource_group == "artifacts"] * 4 + list(MLFLOW_ROUTES)
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, tuple[str, ...], bytes]:
    """(method, target, headers, body): a route with any values for its parameters, and any query."""
    route = draw(TEMPLATES)
    path = "".join(
        part if index % 2 == 0 else draw(PATHS).lstrip("/")
        for index, part in enumerate(re.split(r"(<[^>]+>)", route.template))
    )
    query = draw(QUERIES)
    body = draw(st.sampled_from(BODIES)) if route.method != "GET" else b""
    headers = draw(st.lists(st.sampled_from(HEADERS[:1] + HEADERS[8:-1]), max_size=2, unique=True))
    target = path + (f"?{query}" if query else "")
    # As sent by clients that do not encode: UTF-8.
    return route.method, target.encode().decode("latin-1"), tuple(headers), body


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(requests(), min_size=1, max_size=6), st.sampled_from(CLIENTS), st.booleans(), st.sampled_from(LOCATIONS)
)
def test_any_request_is_forwarded_within_its_role_and_signed(
    servers: Servers,
    sent: list[tuple[str, str, tuple[str, ...], bytes]],
    role: Role | None,
    artifacts: bool,
    location: str,
) -> None:
    async def example() -> None:
        with tempfile.TemporaryDirectory() as folder:
            tokens = Tokens(Path(folder))
            judge = Judge(role, servers, lambda: location)
            report = Report("", role.label if role else "none", wrong=judge.wrong)
            async with judged_proxy(judge, tokens, artifacts=artifacts) as proxy:
                for method, target, headers, body in sent:
                    token = tokens.all[role.label] if role else ""
                    data = request(method, target, *headers, body=body or None, token=token)
                    await send(proxy, [data], report)
                await wait_until(lambda: proxy.in_flight == 0)
                check_log(proxy, report)
            assert report.wrong == []

    run(example())
