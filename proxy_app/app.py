"""Puts the gate together from its settings."""

from collections.abc import AsyncGenerator

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

GATE = web.AppKey("gate", Gate)
HEALTH = web.AppKey("health", Health)
OBSERVER = web.AppKey("observer", Observer)


def target_of(settings: Settings) -> Target:
    """What the settings put behind the gate. Raises TargetError."""
    if settings.upstream_url:
        return PlainTarget(settings.upstream_url)
    if settings.assume_role_arn:
        check_role_arn(settings.assume_role_arn)
    return sagemaker_target(settings.target_arn, settings.target_endpoint)


def create_app(
    settings: Settings, *, source: Source | None = None, observer: Observer | None = None
) -> web.Application:
    """The gate as an application; ``source`` replaces the AWS chain. Raises TargetError.

    Its start fails with TokenError or StoreError when there are no tokens to be read.
    """
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

    async def upstream_running(_: web.Application) -> AsyncGenerator[None]:
        async with upstream.running():
            yield

    async def tokens_running(_: web.Application) -> AsyncGenerator[None]:
        if tokens is None:
            yield
            return
        async with tokens.running():
            yield

    app = web.Application()
    app[GATE], app[HEALTH], app[OBSERVER] = gate, health, observer
    app.cleanup_ctx.extend((tokens_running, upstream_running))
    app.router.add_get("/healthz", health.healthz)
    app.router.add_get("/readyz", health.readyz)
    app.router.add_get("/", page.show)
    app.router.add_post(UI_LINK_PATH, page.open_ui)
    app.router.add_route("*", "/{path:.*}", gate.handle, expect_handler=_answer_expectation_later)
    return app


async def _answer_expectation_later(_: web.Request) -> None:
    """Says nothing yet to ``Expect: 100-continue``: the body is asked for once the request may have one."""
