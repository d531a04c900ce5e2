"""The route table, compared with the installed MLflow; route matching, compared with MLflow's own routing libraries."""

import contextlib
import re
import time
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy_app.auth import Role
from proxy_app.routing import MLFLOW_ROUTES, NOT_FORWARDED, InvalidPathError
from proxy_app.routing.mlflow_routes import REMOVED_ROUTES
from tests.doubles.mlflow_routing import Served, Servers, template_of
from tests.doubles.routes import match_route

# Importing MLflow's server takes a while on a busy machine.
pytestmark = pytest.mark.timeout(300)

BY_NAME = {(route.method, route.template): route for route in MLFLOW_ROUTES}
REMOVED_NAMES = {(route.method, route.template) for route in REMOVED_ROUTES}

# Reviewed manually: these methods other than GET write nothing. Names with /ajax-api/ are listed as /api/.
READS = {
    "/api/2.0/mlflow/artifacts/presigned-download-url",
    "/api/2.0/mlflow/experiments/search",
    "/api/2.0/mlflow/experiments/search-datasets",
    "/api/2.0/mlflow/logged-models/search",
    "/api/2.0/mlflow/registered-models/get-latest-versions",
    "/api/2.0/mlflow/runs/search",
    "/api/2.0/mlflow/traces/search",
    "/api/2.0mlflow/experiments/search-datasets",
    "/api/3.0/mlflow/datasets/search",
    "/api/3.0/mlflow/issues/search",
    "/api/3.0/mlflow/traces/batchGetInfos",
    "/api/3.0/mlflow/traces/calculate-filter-correlation",
    "/api/3.0/mlflow/traces/metrics",
    "/api/3.0/mlflow/traces/search",
    "/graphql",
}


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served.load(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def servers(served: Served) -> Servers:
    return Servers(served)


def test_every_mlflow_route_is_in_the_table_or_in_not_forwarded(served: Served) -> None:
    names = served.names()
    assert len(names) > 400
    not_forwarded = {tuple(name.split()) for name in NOT_FORWARDED}
    assert names - set(BY_NAME) == not_forwarded
    assert not_forwarded <= names


def test_every_row_is_a_route_of_the_installed_mlflow_or_a_removed_one(served: Served) -> None:
    assert REMOVED_NAMES
    assert set(BY_NAME) - served.names() == REMOVED_NAMES


def test_table_has_no_duplicates() -> None:
    assert len(BY_NAME) == len(MLFLOW_ROUTES)


@pytest.mark.parametrize("name", NOT_FORWARDED)
def test_route_that_is_not_forwarded_does_not_match(name: str) -> None:
    method, path = name.split()
    assert match_route(method, path) is None


def test_deletion_requires_admin() -> None:
    deleting = [
        route
        for route in MLFLOW_ROUTES
        if route.method == "DELETE" or any(word in route.template for word in ("delete", "remove", "detach"))
    ]
    assert len(deleting) > 80
    assert {route.role for route in deleting} == {Role.ADMIN}


def test_viewer_role_allows_reads_only() -> None:
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
def test_writes_beyond_tracking_data_require_admin(pattern: str) -> None:
    writes = [route for route in MLFLOW_ROUTES if route.method != "GET" and re.search(pattern, route.template)]
    assert writes
    assert {route.role for route in writes} == {Role.ADMIN}


# Functions of MLflow's handlers that reach beyond tracking data: jobs and scorers run with the server's keys; a job's
# parameters name hosts and may hold keys; agents connect to what MCP servers name.
ADMIN_ONLY = {
    "submit_job",
    "get_job",
    "list_jobs",
    "cancel_job",
    "delete_jobs",
    "register_scorer",
    "upsert_online_scoring_config",
    "create_mcp_access_endpoint",
    "update_mcp_access_endpoint",
    "create_mcp_server_version",
    "update_mcp_server_version",
    "set_mcp_server_alias",
}


@pytest.mark.parametrize("function", sorted(ADMIN_ONLY))
def test_route_whose_handler_reaches_beyond_tracking_data_requires_admin(served: Served, function: str) -> None:
    rows = [
        BY_NAME[method, template_of(path)]
        for path, methods, names in served.uses
        for method in methods
        if function in names and method not in {"HEAD", "OPTIONS"}
    ]
    assert rows
    assert {route.role for route in rows} == {Role.ADMIN}


def test_graphql_mutations_are_the_known_read_only_ones(served: Served) -> None:
    assert served.mutations == ["mlflowSearchDatasets", "mlflowSearchRuns", "testMutation"]


def test_ajax_api_routes_have_the_rules_of_the_api_routes() -> None:
    api_routes = [route for route in MLFLOW_ROUTES if route.template.startswith("/api/")]
    assert len(api_routes) > 200
    for route in api_routes:
        ajax_route = BY_NAME[route.method, "/ajax-" + route.template[1:]]
        assert (ajax_route.role, ajax_route.idempotent, ajax_route.resource_group) == (
            route.role,
            route.idempotent,
            route.resource_group,
        )


def test_creation_is_not_idempotent() -> None:
    creating = re.compile(r"/(create|register|runs/outputs|runs/log-model|attach|invoke|test)$|^/v1/traces$|^/gateway/")
    routes = [route for route in MLFLOW_ROUTES if route.method == "POST" and creating.search(route.template)]
    assert len(routes) > 40
    assert not [route for route in routes if route.idempotent]


def test_reads_are_idempotent() -> None:
    groups = {route.resource_group for route in MLFLOW_ROUTES if route.role is Role.VIEWER and not route.idempotent}
    assert groups == set()


def test_filled_in_template_matches_its_route() -> None:
    for route in MLFLOW_ROUTES:
        path = re.sub(r"<path:\w+>", "some/where.txt", route.template)
        assert match_route(route.method, re.sub(r"<\w+>", "some-id", path)) is route


def test_head_matches_get_and_methods_are_case_sensitive() -> None:
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
def test_encoded_path_matches_like_the_decoded_one(path: str, template: str) -> None:
    assert match_route("POST", path) is BY_NAME["POST", template]


AMBIGUOUS_PATHS = re.findall(
    r"\S+",
    r"""
    * api/2.0/mlflow/runs/get %2Fapi/2.0/mlflow/runs/get http://mlflow/api/2.0/mlflow/runs/get
    // //api/2.0/mlflow/runs/get /api//2.0/mlflow/runs/get /api%2f/2.0/mlflow/runs/get /api/2.0/mlflow/runs/get//
    /. /.. /./version /static-files/../version /static-files/.. /static-files/. /static-files/a%2f%2E%2E
    /static-files/%2e%2e/version /static-files/%2E%2e/version /static-files/%2e./version /static-files/.%2E/version
    /static-files/%2e/version /static-files/a%2F..%2f../version /static-files/..%5cversion /static-files/a\b
    /static-files/a%5C%5Cb /static-files/a%5C/b /static-files/a%5c..%5cb /static-files/a%5C. /static-files/.%5Ca
    /static-files/a%00b /static-files/a%0Ab /static-files/a%0Bb /static-files/a%0d%0ab
    /static-files/a%7fb /static-files/a%C2%85b
    /static-files/a% /static-files/a%2 /static-files/a%zz /static-files/a%u0041
    /static-files/%ff /static-files/%c0%ae%c0%ae/version /static-files/%ed%a0%80
    /static-files/a#b /version#
    """,
)


@pytest.mark.parametrize(
    "path",
    [*AMBIGUOUS_PATHS, "", "/static-files/a\0b", "/static-files/a\nb", "/static-files/a\tb", "/static-files/\udcff"],
)
def test_path_that_servers_parse_differently_is_rejected(path: str) -> None:
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
def test_encoded_slash_that_changes_the_route_is_rejected(method: str, path: str) -> None:
    with pytest.raises(InvalidPathError, match="ambiguous"):
        match_route(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/2.0/mlflow/logged-models/a%5Cb"),
        ("DELETE", "/api/2.0/mlflow/logged-models/m-1/tags/a%5Cb"),
        ("PATCH", "/api/3.0/mlflow/mcp-servers/a%5Cversions%5C1"),
    ],
)
def test_backslash_that_changes_the_route_as_a_slash_is_rejected(method: str, path: str) -> None:
    with pytest.raises(InvalidPathError, match="a backslash makes it ambiguous"):
        match_route(method, path)


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("PUT", r"1/run/artifacts/dir%5Cmodel.bin", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"),
        ("GET", r"1/run/artifacts/a%09b", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"),
        ("DELETE", "m-1/tags/a%09b", "/api/2.0/mlflow/logged-models/<model_id>/tags/<tag_key>"),
    ],
)
def test_backslash_in_a_path_and_tab_pass(method: str, path: str, template: str) -> None:
    found = match_route(method, template.partition("<")[0] + path)
    assert found is BY_NAME[method, template]


def test_path_is_decoded_once() -> None:
    """Servers decode once; MLflow itself refuses artifact paths that become dots when decoded further."""
    assert match_route("POST", "/api/2.0/mlflow/runs%252Fdelete") is None
    artifact = match_route("GET", "/api/2.0/mlflow-artifacts/artifacts/100%25/a%2520b")
    assert artifact is BY_NAME["GET", "/api/2.0/mlflow-artifacts/artifacts/<path:artifact_path>"]


def test_static_path_matches_exactly() -> None:
    for route in MLFLOW_ROUTES:
        if "<" in route.template or route.template == "/":
            continue
        slash = route.template.removesuffix("/") if route.template.endswith("/") else route.template + "/"
        for similar in (slash, route.template + "x", route.template.swapcase()):
            found = match_route(route.method, similar)
            assert found is None or found.template != route.template


@pytest.mark.parametrize("chunk", ["a/versions/", "a/versions/b/tags/", "a/endpoints/", "a", "%41%2F"])
@pytest.mark.parametrize("end", ["", "/", "x", "x/y/z"])
def test_long_path_is_matched_without_backtracking(chunk: str, end: str) -> None:
    path = "/api/3.0/mlflow/mcp-servers/" + chunk * (65536 // len(chunk)) + end
    started = time.process_time()
    for method in ("GET", "POST", "PATCH", "DELETE"):
        with contextlib.suppress(InvalidPathError):
            match_route(method, path)
    # Backtracking takes minutes.
    assert time.process_time() - started < 2


METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6) | st.sampled_from(
    [".", "..", "%", "%2F", "a b", "a/b", "ü", "日本", "a+b", "latest", "m-1:generateContent"]
)
# Parameters that equal a segment of a template are where routes may be confused.
WORDS = st.sampled_from(
    sorted({word for route in MLFLOW_ROUTES for word in route.template.split("/") if "<" not in word})
)
REST = st.lists(VALUES | WORDS, min_size=1, max_size=5).map("/".join)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """A decoded path: a template with its parameters filled in, or the beginning of one with other segments."""
    template = draw(st.sampled_from(MLFLOW_ROUTES)).template
    template = re.sub(r"<path:\w+>", lambda _: draw(REST), template)
    path = re.sub(r"<\w+>", lambda _: draw(VALUES | WORDS), template)
    if draw(st.booleans()):
        return path
    segments = path.split("/")
    beginning = segments[: draw(st.integers(1, len(segments)))]
    return "/".join(beginning) + "/" + draw(REST) + draw(st.sampled_from(["", "", "/"]))


@st.composite
def encoded(draw: st.DrawFn, path: str) -> str:
    """The path with required and optional percent-encoding, in upper or lower case, optionally of slashes too."""
    eager, slashes, lower = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    chosen = draw(st.sets(st.integers(0, len(path)))) if eager else set[int]()

    def encode(index: int, char: str) -> str:
        if char == "/" and not (slashes and index):
            return char
        if char != "/" and index not in chosen:
            return quote(char, safe="!$&'()*+,;=:@")
        escapes = "".join(f"%{byte:02X}" for byte in char.encode())
        return escapes.lower() if lower else escapes

    return "".join(encode(index, char) for index, char in enumerate(path))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), METHODS, paths())
def test_role_is_at_least_that_of_the_route_that_mlflow_finds(
    servers: Servers, data: st.DataObject, method: str, path: str
) -> None:
    """For any path, the proxy requires the role of the route that MLflow's routing finds, or a higher one."""
    raw = data.draw(encoded(path))
    assert unquote(raw) == path
    try:
        route = match_route(method, raw)
    except InvalidPathError:
        return
    # A server on Windows may read a backslash as a slash.
    found = servers.find(method, path) | servers.find(method, path.replace("\\", "/"))
    rows = [BY_NAME.get((method, name)) for name in found]
    if route is None:
        # Every route of the table is reachable, except with an empty parameter, which FastAPI accepts at the end.
        assert not any(rows) or path.endswith("/")
    elif (route.method, route.template) not in REMOVED_NAMES:
        assert rows
        assert all(row is not None and row.role <= route.role for row in rows)
