"""The route table against the MLflow that is installed, and the matching against the code that MLflow routes with."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import compile_path
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from proxy_app.auth import Role
from proxy_app.routing import MLFLOW_ROUTES, NOT_FORWARDED, InvalidPathError
from proxy_app.routing.mlflow_routes import REMOVED_ROUTES
from tests.doubles.routes import match_route

# Importing MLflow's server takes a while on a busy machine.
pytestmark = pytest.mark.timeout(300)

BY_NAME = {(route.method, route.template): route for route in MLFLOW_ROUTES}
REMOVED_NAMES = {(route.method, route.template) for route in REMOVED_ROUTES}

# Reviewed by eye: these change nothing, though they are not GET. /ajax-api/ is written /api/.
READS = {
    "/api/2.0/mlflow/artifacts/presigned-download-url",
    "/api/2.0/mlflow/experiments/search",
    "/api/2.0/mlflow/experiments/search-datasets",
    "/api/2.0/mlflow/logged-models/search",
    "/api/2.0/mlflow/registered-models/get-latest-versions",
    "/api/2.0/mlflow/runs/search",
    "/api/2.0/mlflow/traces/search",
    "/api/2.0mlflow/experiments/search-datasets",
    "/api/3.0/jobs/search",
    "/api/3.0/mlflow/datasets/search",
    "/api/3.0/mlflow/issues/search",
    "/api/3.0/mlflow/prompt-optimization/jobs/search",
    "/api/3.0/mlflow/traces/batchGetInfos",
    "/api/3.0/mlflow/traces/calculate-filter-correlation",
    "/api/3.0/mlflow/traces/metrics",
    "/api/3.0/mlflow/traces/search",
    "/graphql",
}


class Served(NamedTuple):
    """What MLflow serves: (path, methods) in the order tried, and the names of GraphQL's mutations."""

    fastapi: list[tuple[str, list[str]]]
    flask: list[tuple[str, list[str]]]
    mutations: list[str]

    def names(self) -> set[tuple[str, str]]:
        return {
            (method, _template(path))
            for path, methods in self.fastapi + self.flask
            for method in methods
            if method not in {"HEAD", "OPTIONS"}
        }


class Servers:
    """How MLflow's two servers find a route: uvicorn asks FastAPI's routes and then Flask's, gunicorn Flask's alone."""

    def __init__(self, served: Served) -> None:
        self._fastapi = [(compile_path(path)[0], path, methods) for path, methods in served.fastapi]
        rules = [Rule(path, endpoint=path, methods=methods) for path, methods in served.flask]
        self._flask = Map(rules).bind("localhost")

    def find(self, method: str, path: str) -> set[str]:
        """The templates that the servers route a decoded path to; none, one, or two."""
        wsgi = self._wsgi(method, path)
        asgi = next((name for regex, name, methods in self._fastapi if method in methods and regex.match(path)), wsgi)
        return {_template(name) for name in (asgi, wsgi) if name is not None}

    def _wsgi(self, method: str, path: str) -> str | None:
        try:
            return self._flask.match(path, method)[0]
        except HTTPException:
            return None


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    environ = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    script = Path(__file__).with_name("served_routes.py")
    directory = tmp_path_factory.mktemp("mlflow")
    done = subprocess.run([sys.executable, script], cwd=directory, env=environ, capture_output=True, check=True)
    return Served(**json.loads(done.stdout))


@pytest.fixture(scope="session")
def servers(served: Served) -> Servers:
    return Servers(served)


def _template(path: str) -> str:
    """FastAPI's way to write a template, or a fault of MLflow 2's in Flask's, as the table has it."""
    return re.sub(r"\{(\w+)\}", r"<\1>", re.sub(r"\{(\w+):path\}", r"<path:\1>", path))


def test_every_route_mlflow_serves_is_classified_or_refused(served: Served) -> None:
    names = served.names()
    assert len(names) > 400
    refused = {tuple(name.split()) for name in NOT_FORWARDED}
    assert names - set(BY_NAME) == refused
    assert refused <= names


def test_every_line_is_a_route_of_the_installed_mlflow_or_an_older_one(served: Served) -> None:
    assert REMOVED_NAMES
    assert set(BY_NAME) - served.names() == REMOVED_NAMES


def test_no_route_stands_in_the_table_twice() -> None:
    assert len(BY_NAME) == len(MLFLOW_ROUTES)


@pytest.mark.parametrize("name", NOT_FORWARDED)
def test_a_refused_route_is_unknown(name: str) -> None:
    method, path = name.split()
    assert match_route(method, path) is None


def test_whatever_deletes_needs_an_admin() -> None:
    deleting = [
        route
        for route in MLFLOW_ROUTES
        if route.method == "DELETE" or any(word in route.template for word in ("delete", "remove", "detach"))
    ]
    assert len(deleting) > 80
    assert {route.role for route in deleting} == {Role.ADMIN}


def test_a_viewer_cannot_write() -> None:
    reads = {route.template for route in MLFLOW_ROUTES if route.method != "GET" and route.role is Role.VIEWER}
    assert {template.replace("/ajax-api/", "/api/") for template in reads} == READS


@pytest.mark.parametrize(
    "pattern",
    [
        r"/registered-models/alias$",
        r"/aliases",
        r"/transition-stage$",
        r"/webhooks",
        r"^/(ajax-)?api/3.0/mlflow/gateway/",
        r"/workspaces",
        r"/assistant/",
        r"^/gateway/proxy/",
    ],
)
def test_what_reaches_beyond_tracking_data_needs_an_admin(pattern: str) -> None:
    writes = [route for route in MLFLOW_ROUTES if route.method != "GET" and re.search(pattern, route.template)]
    assert writes
    assert {route.role for route in writes} == {Role.ADMIN}


def test_graphql_still_changes_nothing(served: Served) -> None:
    assert served.mutations == ["mlflowSearchDatasets", "mlflowSearchRuns", "testMutation"]


def test_the_ui_and_the_clients_find_the_same_rules() -> None:
    twins = [route for route in MLFLOW_ROUTES if route.template.startswith("/api/")]
    assert len(twins) > 200
    for route in twins:
        twin = BY_NAME[route.method, "/ajax-" + route.template[1:]]
        assert (twin.role, twin.idempotent, twin.resource_group) == (route.role, route.idempotent, route.resource_group)


def test_what_makes_something_new_is_not_sent_twice() -> None:
    new = re.compile(r"/(create|register|runs/outputs|runs/log-model|attach|invoke|test)$|^/v1/traces$|^/gateway/")
    makers = [route for route in MLFLOW_ROUTES if route.method == "POST" and new.search(route.template)]
    assert len(makers) > 40
    assert not [route for route in makers if route.idempotent]


def test_reads_are_sent_again() -> None:
    once = {route.resource_group for route in MLFLOW_ROUTES if route.role is Role.VIEWER and not route.idempotent}
    assert once == set()


def test_a_template_with_plain_values_leads_to_itself() -> None:
    for route in MLFLOW_ROUTES:
        path = re.sub(r"<path:\w+>", "some/where.txt", route.template)
        assert match_route(route.method, re.sub(r"<\w+>", "some-id", path)) is route


def test_head_is_get_and_methods_are_in_capitals() -> None:
    assert match_route("HEAD", "/api/2.0/mlflow/runs/get") is BY_NAME["GET", "/api/2.0/mlflow/runs/get"]
    assert match_route("HEAD", "/api/2.0/mlflow/runs/search") is None
    assert match_route("get", "/api/2.0/mlflow/runs/get") is None
    assert match_route("OPTIONS", "/api/2.0/mlflow/runs/get") is None


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/2.0/mlflow/runs/%64elete", "/api/2.0/mlflow/runs/delete"),
        ("/%61pi/2.0/mlflow/runs/delet%65", "/api/2.0/mlflow/runs/delete"),
        (
            "/gateway/gemini/v1beta/models/m%3agenerateContent",
            "/gateway/gemini/v1beta/models/<endpoint_name>:generateContent",
        ),
        (
            "/api/3.0/mlflow/mcp-servers/io.github.me%2Fweather/aliases",
            "/api/3.0/mlflow/mcp-servers/<path:name>/aliases",
        ),
    ],
)
def test_a_path_is_what_it_decodes_to(path: str, template: str) -> None:
    assert match_route("POST", path) is BY_NAME["POST", template]


DIFFERENTLY_READ = re.findall(
    r"\S+",
    r"""
    * api/2.0/mlflow/runs/get %2Fapi/2.0/mlflow/runs/get http://mlflow/api/2.0/mlflow/runs/get
    // //api/2.0/mlflow/runs/get /api//2.0/mlflow/runs/get /api%2f/2.0/mlflow/runs/get /api/2.0/mlflow/runs/get//
    /. /.. /./version /static-files/../version /static-files/.. /static-files/. /static-files/a%2f%2E%2E
    /static-files/%2e%2e/version /static-files/%2E%2e/version /static-files/%2e./version /static-files/.%2E/version
    /static-files/%2e/version /static-files/a%2F..%2f../version /static-files/..%5cversion /static-files/a\b
    /static-files/a%00b /static-files/a%0d%0ab /static-files/a%7fb /static-files/a%C2%85b
    /static-files/a% /static-files/a%2 /static-files/a%zz /static-files/a%u0041
    /static-files/%ff /static-files/%c0%ae%c0%ae/version /static-files/%ed%a0%80
    /static-files/a#b /version#
    """,
)


@pytest.mark.parametrize(
    "path", [*DIFFERENTLY_READ, "", "/static-files/a\0b", "/static-files/a\nb", "/static-files/\udcff"]
)
def test_a_path_that_servers_read_differently_is_refused(path: str) -> None:
    for method in ("GET", "POST", "PATCH", "DELETE"):
        with pytest.raises(InvalidPathError):
            match_route(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/2.0/mlflow/runs%2Fdelete"),
        ("POST", "/api/2.0/mlflow%2fruns/delete"),
        ("GET", "/api/2.0/mlflow/logged-models/a%2Fb"),
        ("PATCH", "/api/2.0/mlflow/logged-models/m%2Ftags"),
        ("DELETE", "/api/2.0/mlflow-artifacts%2Fartifacts/a"),
        ("POST", "/api/3.0/mlflow/mcp-servers/a%2Faliases"),
        ("PATCH", "/api/3.0/mlflow/mcp-servers/a%2Fversions%2F1"),
    ],
)
def test_an_encoded_slash_that_decides_the_route_is_refused(method: str, path: str) -> None:
    with pytest.raises(InvalidPathError, match="ambiguous"):
        match_route(method, path)


def test_an_encoded_percent_is_a_percent_and_no_more() -> None:
    """Servers decode once; MLflow itself refuses artifact paths that become dots when decoded further."""
    assert match_route("POST", "/api/2.0/mlflow/runs%252Fdelete") is None
    artifact = match_route("GET", "/api/2.0/mlflow-artifacts/artifacts/100%25/a%2520b")
    assert artifact is BY_NAME["GET", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"]


def test_a_static_path_is_matched_to_the_letter() -> None:
    for route in MLFLOW_ROUTES:
        if "<" in route.template or route.template == "/":
            continue
        slash = route.template.removesuffix("/") if route.template.endswith("/") else route.template + "/"
        for near in (slash, route.template + "x", route.template.swapcase()):
            found = match_route(route.method, near)
            assert found is None or found.template != route.template


@pytest.mark.parametrize("chunk", ["a/versions/", "a/versions/b/tags/", "a/endpoints/", "a", "%41%2F"])
@pytest.mark.parametrize("end", ["", "/", "x", "x/y/z"])
def test_a_path_made_to_be_slow_is_judged_at_once(chunk: str, end: str) -> None:
    path = "/api/3.0/mlflow/mcp-servers/" + chunk * (65536 // len(chunk)) + end
    begun = time.process_time()
    for method in ("GET", "POST", "PATCH", "DELETE"):
        with contextlib.suppress(InvalidPathError):
            match_route(method, path)
    # Backtracking takes minutes.
    assert time.process_time() - begun < 2


METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    [".", "..", "%", "%2F", "a b", "a/b", "ü", "日本", "a+b", "latest", "m-1:generateContent"]
)
# What the table's own words make of a name is where two routes are mistaken for one another.
WORDS = st.sampled_from(
    sorted({word for route in MLFLOW_ROUTES for word in route.template.split("/") if "<" not in word})
)
REST = st.lists(VALUES | WORDS, min_size=1, max_size=5).map("/".join)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A decoded path: a template with its parameters filled in, or the beginning of one and then anything."""
    template = draw(st.sampled_from(MLFLOW_ROUTES)).template
    template = re.sub(r"<path:\w+>", lambda _: draw(REST), template)
    path = re.sub(r"<\w+>", lambda _: draw(VALUES | WORDS), template)
    if draw(st.booleans()):
        return path
    segments = path.split("/")
    kept = segments[: draw(st.integers(1, len(segments)))]
    return "/".join(kept) + "/" + draw(REST) + draw(st.sampled_from(["", "", "/"]))


@st.composite
def encoded(draw: st.DrawFn, path: str) -> str:
    """The path with what must be encoded so, and any of the rest: in either case, slashes too if the draw says so."""
    eager, slashes, lower = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    chosen = draw(st.sets(st.integers(0, len(path)))) if eager else set[int]()

    def one(at: int, char: str) -> str:
        if char == "/" and not (slashes and at):
            return char
        if char != "/" and at not in chosen:
            return quote(char, safe="!$&'()*+,;=:@")
        escapes = "".join(f"%{byte:02X}" for byte in char.encode())
        return escapes.lower() if lower else escapes

    return "".join(one(at, char) for at, char in enumerate(path))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), METHODS, paths())
def test_no_server_takes_a_path_for_more_than_the_proxy_does(
    servers: Servers, data: st.DataObject, method: str, path: str
) -> None:
    """Whatever route MLflow's own routing finds, the proxy has asked for that route's role, or a stronger one."""
    raw = data.draw(encoded(path))
    assert unquote(raw) == path
    try:
        route = match_route(method, raw)
    except InvalidPathError:
        return
    rows = [BY_NAME.get((method, name)) for name in servers.find(method, path)]
    if route is None:
        # Nothing is lost, except what has an empty name: FastAPI takes one at the end of a path.
        assert not any(rows) or path.endswith("/")
    elif (route.method, route.template) not in REMOVED_NAMES:
        assert rows
        assert all(row is not None and row.role <= route.role for row in rows)
