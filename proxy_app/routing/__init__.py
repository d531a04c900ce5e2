"""Routes: the role that a request needs, and the handler that serves it."""

from .mlflow_routes import MLFLOW_ROUTES, NOT_FORWARDED
from .route import Endpoint, Handler, Route
from .router import InvalidPathError, Match, Router
from .ui_routes import UI_ROUTES, UNAVAILABLE_GROUPS, sagemaker_path
from .unknown import describe_unknown

__all__ = [
    "MLFLOW_ROUTES",
    "NOT_FORWARDED",
    "UI_ROUTES",
    "UNAVAILABLE_GROUPS",
    "Endpoint",
    "Handler",
    "InvalidPathError",
    "Match",
    "Route",
    "Router",
    "describe_unknown",
    "sagemaker_path",
]
