"""MLflow's UI in front of SageMaker: which server answers a route. The only file with this decision.

SageMaker's API has the routes below /api/. MLflow's page calls the same ones below /ajax-api/, and some that exist only
for the page; an MLflow server beside the proxy, the UI server, answers those. The proxy itself answers those in
handlers/mlflow_page.py.
"""

# (method, path) of the routes that the UI server answers. All others go to SageMaker, signed by the proxy.
UI_ROUTES = frozenset(
    {
        ("GET", "/"),
        ("GET", "/build/<path:filename>"),
        ("GET", "/static-files/<path:path>"),
        ("GET", "/graphql"),
        ("POST", "/graphql"),
        ("GET", "/ajax-api/3.0/mlflow/server-info"),
        ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk"),
        ("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"),
    }
)

# Resource groups that no server has: MLflow's assistant is an agent on its server's host, with the server's rights.
UNAVAILABLE_GROUPS = frozenset({"assistant"})


def sagemaker_path(path: str) -> str:
    """The path of a route in SageMaker's API, which has no /ajax-api/."""
    return "/api/" + path.removeprefix("/ajax-api/") if path.startswith("/ajax-api/") else path
