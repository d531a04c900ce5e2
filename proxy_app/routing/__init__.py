"""Routes: the role that a request needs, and the handler that serves it."""

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
