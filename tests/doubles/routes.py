"""The proxy's router with MLflow's routes, without an upstream."""

from aiohttp import web

from proxy_app.context import RequestContext
from proxy_app.routing import MLFLOW_ROUTES, Endpoint, Route, Router


async def _unused(_: RequestContext) -> web.StreamResponse:
    raise AssertionError


ROUTER = Router(Endpoint(route, _unused) for route in MLFLOW_ROUTES)


def match_route(method: str, path: str) -> Route | None:
    """The route of a request, or None. Raises InvalidPathError."""
    match = ROUTER.match(method, path)
    return match.endpoint.route if match else None
