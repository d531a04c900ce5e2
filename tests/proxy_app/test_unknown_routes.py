"""The message for a path without a route says what is true of the path."""

import pytest

from proxy_app.routing import MLFLOW_ROUTES, NOT_FORWARDED, describe_unknown
from tests.doubles.routes import match_route


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/2.0/preview/mlflow/runs/search", "those of MLflow 1"),
        ("/ajax-api/2.0/preview/mlflow/experiments/list", "those of MLflow 1"),
        ("/mlflow/api/2.0/mlflow/runs/get", "remove the path from the tracking URI"),
        ("/a/b/ajax-api/3.0/mlflow/traces", "remove the path from the tracking URI"),
        ("/api/2.0/mlflow/users/get", "users and permissions are not used"),
        ("/api/2.0/mlflow/registered-models/permissions/get", "users and permissions are not used"),
        ("/ajax-api/3.0/mlflow/roles/list", "users and permissions are not used"),
        ("/api/2.0/mlflow/new/route", "no GET route for this path"),
        ("/api/2.0/mlflow/permissions-of-tea", "no GET route for this path"),
        ("/favicon.ico", "no GET route for this path"),
    ],
)
def test_message_names_the_cause(path: str, words: str) -> None:
    message = describe_unknown("GET", path)
    assert words in message
    assert path not in message


@pytest.mark.parametrize("name", NOT_FORWARDED)
def test_message_names_the_reason_of_a_route_that_is_not_forwarded(name: str) -> None:
    method, path = name.split()
    assert NOT_FORWARDED[name] in describe_unknown(method, path)


def test_every_route_below_a_path_is_told_to_remove_it() -> None:
    routes = [route for route in MLFLOW_ROUTES if "api/" in route.template and "api/2.0mlflow" not in route.template]
    assert len(routes) > 300
    for route in routes:
        path = f"/mlflow{route.template}"
        assert match_route(route.method, path) is None
        assert "MLFLOW_PROXY_PATH_PREFIX" in describe_unknown(route.method, path)
