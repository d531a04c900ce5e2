"""Builds the proxy from its settings: the only module that connects authenticators, handlers and upstreams."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from .access_log import AccessLog
from .artifacts.rewriter import LocationRewriter
from .artifacts.service import ArtifactService
from .artifacts.settings import ArtifactSettings
from .auth import authenticators as registry
from .context import Lifecycle
from .credentials import CredentialKeeper, Source, aws_chain
from .handlers.forward import Forward
from .handlers.health import Health
from .handlers.home_page import HomePage
from .handlers.mlflow_page import MlflowPage
from .limits.admission import Admission
from .metrics import Metrics
from .older_mlflow import OlderMlflow
from .presigned_expiry import PRESIGNED_ROUTES, PresignedExpiry
from .proxy import Authorizer, Proxy
from .request_body import BodyReader
from .rewriting import JsonRewriter, Rewriter
from .routing import MLFLOW_ROUTES, UI_ROUTES, UNAVAILABLE_GROUPS, Endpoint, Router
from .settings import Settings
from .target import PlainTarget, Target, check_role_arn, sagemaker_target
from .upstream.plain import PlainUpstream
from .upstream.sagemaker import SageMakerUpstream
from .upstream.ui_server import UiServer
from .user_tag import UserTag


def target_of(settings: Settings) -> Target:
    """The target that the settings select. Raises TargetError for an invalid ARN."""
    if settings.upstream_url:
        return PlainTarget(settings.upstream_url)
    if settings.assume_role_arn:
        check_role_arn(settings.assume_role_arn)
    return sagemaker_target(settings.target_arn, settings.target_endpoint)


@dataclass(frozen=True, slots=True)
class App:
    """The parts of the proxy that the server needs."""

    proxy: Proxy
    metrics: Metrics
    access_log: AccessLog
    lifecycle: Lifecycle
    _parts: Sequence[Callable[[], AbstractAsyncContextManager[None]]]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run the background tasks of all parts. Raises TokenError or StoreError if the tokens cannot be read."""
        async with contextlib.AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part())
            yield


@dataclass(frozen=True, slots=True)
class Extensions:
    """Additions to the proxy: endpoints (they replace MLflow's), authorizers, a factory of a rewriter of bodies."""

    endpoints: Sequence[Endpoint] = ()
    authorizers: Sequence[Authorizer] = ()
    rewriter: Callable[[BodyReader], Rewriter] | None = None


NO_EXTENSIONS = Extensions()


def create_app(
    settings: Settings,
    *,
    source: Source | None = None,
    access_log: AccessLog | None = None,
    extensions: Extensions = NO_EXTENSIONS,
) -> App:
    """Build the proxy. ``source`` replaces the AWS credential chain. Raises TargetError or SettingsError."""
    target = target_of(settings)
    metrics, lifecycle = Metrics(), Lifecycle()
    body_reader = BodyReader(settings.body_limit, settings.body_budget, settings.body_timeout)
    ui_link = artifacts = None
    plain = isinstance(target, PlainTarget)
    if isinstance(target, PlainTarget):
        upstream = PlainUpstream(settings, target)
    else:
        keeper = CredentialKeeper(source or aws_chain(settings.assume_role_arn, target.region))
        keeper.add_metrics(metrics)
        upstream = SageMakerUpstream(settings, target, keeper)
        upstream.concurrency.add_metrics(metrics)
        ui_link = upstream.ui_link
        if (root := settings.section(ArtifactSettings).artifacts_root) is not None:
            artifacts = ArtifactService(settings, root, target, keeper, upstream, body_reader)
            artifacts.add_metrics(metrics)
    authenticators = [kind.create(settings) for kind in registry.AUTHENTICATORS if kind.enabled(settings)]
    for authenticator in authenticators:
        authenticator.add_metrics(metrics)

    health = Health(lifecycle, [*(authenticator.probe for authenticator in authenticators), upstream.probe])
    health.add_metrics(metrics)
    rewriters: list[Rewriter] = []
    if (root := settings.section(ArtifactSettings).artifacts_root) is not None:
        rewriters.append(LocationRewriter(root, body_reader))
    if settings.user_tag:
        rewriters.append(JsonRewriter(UserTag(), body_reader))
    if extensions.rewriter is not None:
        rewriters.append(extensions.rewriter(body_reader))
    ui_server = UiServer(settings) if settings.ui_url else None
    forward = Forward(upstream, [*rewriters, OlderMlflow()] if ui_server else rewriters)
    forward_to_ui = Forward(ui_server, rewriters) if ui_server else forward
    endpoints = [
        Endpoint(route, forward_to_ui if (route.method, route.template) in UI_ROUTES else forward)
        for route in MLFLOW_ROUTES
        if plain or route.resource_group not in UNAVAILABLE_GROUPS
    ]
    capped = Forward(upstream, [*rewriters, JsonRewriter(PresignedExpiry(), body_reader)])
    endpoints += [Endpoint(route, capped) for route in MLFLOW_ROUTES if route.template in PRESIGNED_ROUTES]
    has_page = plain or ui_server is not None
    if has_page:
        endpoints += MlflowPage(forward_to_ui, sagemaker=not plain).endpoints()
    if artifacts is not None:
        endpoints += artifacts.endpoints(forward_to_ui)
    if all(authenticator.home_page for authenticator in authenticators):
        endpoints += HomePage(settings, target, ui_link, at_root=not has_page).endpoints()
    endpoints += health.endpoints()
    for authenticator in authenticators:
        endpoints += authenticator.endpoints()
    endpoints += extensions.endpoints

    admission = Admission(settings)
    admission.add_metrics(metrics)
    proxy = Proxy(
        settings,
        Router(endpoints),
        authenticators,
        extensions.authorizers,
        admission,
        body_reader,
        metrics,
        access_log := access_log or AccessLog(),
        lifecycle,
    )
    for authenticator in authenticators:
        authenticator.on_revocation(proxy.end_requests)
    metrics.gauge("mlflow_proxy_requests_in_flight", "Requests in flight.", lambda: proxy.in_flight)
    metrics.gauge(
        "mlflow_proxy_requests_unauthenticated", "Requests before authentication.", lambda: proxy.unauthenticated
    )
    metrics.gauge(
        "mlflow_proxy_body_budget_free_bytes", "Free memory for request bodies.", lambda: body_reader.budget.free
    )
    # Tokens first: without them the proxy does not start.
    parts = [*(authenticator.running for authenticator in authenticators), upstream.running, health.running]
    if ui_server is not None:
        parts.append(ui_server.running)
    if artifacts is not None:
        parts.append(artifacts.running)
    return App(proxy, metrics, access_log, lifecycle, parts)
