"""Why a path has no route, as far as the path tells."""

import re

from .mlflow_routes import NOT_FORWARDED

_API = re.compile(r"/(?:ajax-)?api/\d+\.\d+/")
_PREVIEW = re.compile(r"/(?:ajax-)?api/\d+\.\d+/preview/")
_ACCOUNTS = re.compile(r"/(?:ajax-)?api/\d+\.\d+/mlflow/(?:users|roles|[a-z/-]+/permissions)(?:/|\Z)")


def describe_unknown(method: str, path: str) -> str:
    """The message for a request without a route; ``path`` is without its query. The path is not repeated."""
    if reason := NOT_FORWARDED.get(f"{method} {path}"):
        return f"The proxy does not forward this request: it {reason}."
    if _PREVIEW.match(path):
        return (
            "The paths with /preview/ are those of MLflow 1, which MLflow 2.16 and newer do not serve. "
            "Update the MLflow client."
        )
    if _ACCOUNTS.match(path):
        return (
            "MLflow's own users and permissions are not used here: the proxy authenticates users and has their roles."
        )
    if (api := _API.search(path)) is not None and api.start() > 0:
        return (
            "MLflow's API is at the root of this host: remove the path from the tracking URI, or set "
            "MLFLOW_PROXY_PATH_PREFIX of the proxy."
        )
    return (
        f"The proxy has no {method} route for this path: it forwards the API of MLflow 2.16 to 3.17 only. Check the "
        "tracking URI; routes of a newer MLflow have to be added to proxy_app/routing/mlflow_routes.py."
    )
