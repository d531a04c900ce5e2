"""Puts the proxy together from its settings."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from aiohttp import web

from .bodies import Bodies
from .callers import Recogniser
from .callers.anyone import Anyone
from .callers.token_store import FileStore, SecretStore
from .callers.tokens import TokenCallers
from .credentials import CredentialKeeper, Source, aws_chain
from .health import Health
from .observe import Observer
from .page import Page
from .proxy import Proxy
from .settings import Settings
from .target import PlainTarget, Target, check_role_arn, sagemaker_target
from .upstream.plain import PlainUpstream
from .upstream.sagemaker import SageMakerUpstream


def target_of(settings: Settings) -> Target:
    """What the settings put behind the proxy. Raises TargetError."""
    if settings.upstream_url:
        return PlainTarget(settings.upstream_url)
    if settings.assume_role_arn:
        check_role_arn(settings.assume_role_arn)
    return sagemaker_target(settings.target_arn, settings.target_endpoint)


@dataclass(frozen=True, slots=True)
class App:
    """The proxy, and beside it its health, which nobody has to show a token for."""

    proxy: Proxy
    health: Health
    observer: Observer
    _parts: Sequence[Callable[[], AbstractAsyncContextManager[None]]]
    # Without this header MLflow's health is ours: its monitors come past Identity-Aware Proxy. Empty: it is MLflow's.
    _health_without: str = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Requests can be answered in this block. Raises TokenError or StoreError when no tokens can be read."""
        async with contextlib.AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part())
            yield

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request.

        aiohttp's Application has no part in it: it would route each request once more, which is a tenth of all the
        work, and say 100-continue before anybody has asked who is calling.
        """
        if request.raw_path == "/healthz":
            return await self.health.healthz()
        if request.raw_path == "/readyz":
            return await self.health.readyz()
        if request.raw_path == "/health" and self._is_monitor(request):
            return await self.health.in_mlflows_words()
        return await self.proxy.handle(request)

    def _is_monitor(self, request: web.BaseRequest) -> bool:
        without = self._health_without
        return bool(without) and without not in request.headers and request.method in {"GET", "HEAD"}


def create_app(settings: Settings, *, source: Source | None = None, observer: Observer | None = None) -> App:
    """The proxy from its settings; ``source`` replaces the AWS chain. Raises TargetError, SettingsError."""
    target = target_of(settings)
    observer = observer or Observer()
    bodies = Bodies(settings)
    observer.gauge("mlflow_proxy_body_budget_free_bytes", "Left for signed bodies.", lambda: bodies.budget.free)
    ui_link, health_without = None, ""
    if isinstance(target, PlainTarget):
        upstream = PlainUpstream(settings, target, bodies)
    else:
        keeper = CredentialKeeper(source or aws_chain(settings.assume_role_arn, target.region))
        upstream = SageMakerUpstream(settings, target, bodies, keeper)
        ui_link = upstream.ui_link
        observer.gauge(
            "mlflow_proxy_aws_credentials_expiry_timestamp_seconds", "Epoch; 0 if never.", lambda: keeper.expires or 0
        )
        observer.gauge(
            "mlflow_proxy_aws_credentials_refresh_failures", "Failed refreshes in a row.", lambda: keeper.failures
        )

    recognisers: list[Recogniser] = [] if settings.auth else [Anyone()]
    probes = [upstream.probe]
    parts = [upstream.running]
    pages = Page(settings, target, ui_link).pages()
    if settings.tokens_file or settings.tokens_secret:
        store = FileStore(settings.tokens_file) if settings.tokens_file else SecretStore(settings.tokens_secret)
        tokens = TokenCallers(store, settings.tokens_reload)
        recognisers.append(tokens)
        parts.insert(0, tokens.running)
        observer.gauge(
            "mlflow_proxy_tokens_last_read_timestamp_seconds", "Epoch, when last read.", lambda: tokens.loaded_at
        )
    # The next two are imported here, since they load OpenSSL once more: 9 MiB that other proxies need not have.
    if settings.alb_arn:
        from .callers.alb_oidc import AlbCallers

        # Second, since whoever shows a token means it.
        recognisers.append(AlbCallers(settings))
    if settings.iap_audience:
        from .callers.iap import HEADER, IapCallers

        if isinstance(target, PlainTarget):
            health_without = HEADER
        through_iap = IapCallers(settings)
        recognisers.append(through_iap)
        probes.insert(0, through_iap.probe)
        parts.append(through_iap.running)
        # The proxy's own says how to use tokens, of which there are none: MLflow's own stands there.
        pages = []

    proxy = Proxy(settings, recognisers, pages, upstream, observer)
    observer.gauge("mlflow_proxy_requests_in_flight", "Requests under way.", lambda: proxy.in_flight)
    return App(proxy, Health(*probes), observer, parts, health_without)
