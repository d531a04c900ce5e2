"""Puts the gate together from its settings."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from aiohttp import web

from .bodies import Bodies
from .callers import Recogniser
from .callers.anyone import Anyone
from .callers.token_store import FileStore, SecretStore
from .callers.tokens import TokenCallers
from .credentials import CredentialKeeper, Source, aws_chain
from .gate import Gate
from .health import Health
from .observe import Observer
from .page import UI_LINK_PATH, Page
from .settings import Settings
from .target import PlainTarget, Target, check_role_arn, sagemaker_target
from .upstream.plain import PlainUpstream
from .upstream.sagemaker import SageMakerUpstream


def target_of(settings: Settings) -> Target:
    """What the settings put behind the gate. Raises TargetError."""
    if settings.upstream_url:
        return PlainTarget(settings.upstream_url)
    if settings.assume_role_arn:
        check_role_arn(settings.assume_role_arn)
    return sagemaker_target(settings.target_arn, settings.target_endpoint)


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class App:
    """The gate and its own pages. ``pages`` are by method and path; all else is the gate's to answer."""

    gate: Gate
    health: Health
    observer: Observer
    pages: Mapping[tuple[str, str], Handler]
    _parts: Sequence[Callable[[], AbstractAsyncContextManager[None]]]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Requests can be answered in this block. Raises TokenError or StoreError when no tokens can be read."""
        async with contextlib.AsyncExitStack() as stack:
            for part in self._parts:
                await stack.enter_async_context(part())
            yield

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request.

        A dict and not aiohttp's Application: that would route each request anew, a tenth of all the work for it, and
        say 100-continue before anybody has asked who is calling.
        """
        method = "GET" if request.method == "HEAD" else request.method
        page = self.pages.get((method, request.raw_path.partition("?")[0]))
        return await (page or self.gate.handle)(request)


def create_app(settings: Settings, *, source: Source | None = None, observer: Observer | None = None) -> App:
    """The gate from its settings; ``source`` replaces the AWS chain. Raises TargetError."""
    target = target_of(settings)
    observer = observer or Observer()
    bodies = Bodies(settings)
    observer.gauge("gate_body_budget_free_bytes", "Left for signed bodies.", lambda: bodies.budget.free)
    ui_link = None
    if isinstance(target, PlainTarget):
        upstream = PlainUpstream(settings, target, bodies)
    else:
        keeper = CredentialKeeper(source or aws_chain(settings.assume_role_arn, target.region))
        upstream = SageMakerUpstream(settings, target, bodies, keeper)
        ui_link = upstream.ui_link
        observer.gauge("gate_credentials_expiry_seconds", "Epoch; 0 if never.", lambda: keeper.expires or 0)
        observer.gauge("gate_credentials_failures", "Failed refreshes in a row.", lambda: keeper.failures)

    tokens: TokenCallers | None = None
    recognisers: list[Recogniser] = [Anyone()]
    if settings.auth:
        store = FileStore(settings.tokens_file) if settings.tokens_file else SecretStore(settings.tokens_secret)
        tokens = TokenCallers(store, settings.tokens_reload)
        recognisers = [tokens]
        observer.gauge("gate_tokens_read_seconds", "Epoch, when last read.", lambda: tokens.loaded_at)

    gate = Gate(settings, recognisers, upstream, observer)
    observer.gauge("gate_requests_in_flight", "Requests under way.", lambda: gate.in_flight)
    health = Health(upstream.probe)
    page = Page(settings, target, gate, ui_link)

    return App(
        gate,
        health,
        observer,
        {
            ("GET", "/healthz"): health.healthz,
            ("GET", "/readyz"): health.readyz,
            ("GET", "/"): page.show,
            ("POST", UI_LINK_PATH): page.open_ui,
        },
        [tokens.running, upstream.running] if tokens else [upstream.running],
    )
