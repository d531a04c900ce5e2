"""Routes: what a request asks for, the role that it needs, and the handler that answers it."""

from .mlflow_routes import MLFLOW_ROUTES, NOT_FORWARDED
from .route import Endpoint, Handler, Route
from .router import InvalidPathError, Match, Router

__all__ = [
    "MLFLOW_ROUTES",
    "NOT_FORWARDED",
    "Endpoint",
    "Handler",
    "InvalidPathError",
    "Match",
    "Route",
    "Router",
]
