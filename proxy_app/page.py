"""The proxy's own page for a browser, and the link from it into SageMaker's UI."""

import html
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from string import Template

from aiohttp import web

from . import errors
from .callers import Caller, Role
from .proxy import OwnPage
from .routes import Route
from .settings import Settings
from .target import PlainTarget, Target

_UI_LINK_PATH = "/proxy/ui-link"
_PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
_RIGHTS = {
    Role.VIEWER: "read and search: experiments, runs, metrics, models, traces",
    Role.EDITOR: "read, search and write; not delete, and not change a model's stage or alias",
    Role.ADMIN: "do everything: read, write, delete, change models' stages and aliases",
}
_ARTIFACTS = """<p class="soft">Artifacts do not pass through the proxy yet: to log or load one, a client needs
AWS credentials of its own for the artifact bucket.</p>"""
_UI = """<section><h2>MLflow's own pages</h2>
<p class="soft">Opens SageMaker's UI in this tab by a link for one use, with the proxy's own rights.
That is why only admins have this button.</p>
<form method="post" action="{path}"><button type="submit">Open the MLflow UI</button></form></section>"""


class Page:
    """Where you are, who you are, what you may do, the lines to paste; for admins the way into the UI."""

    def __init__(self, settings: Settings, target: Target, ui_link: Callable[[], Awaitable[str]] | None) -> None:
        self._settings = settings
        self._target = target
        self._ui_link = ui_link

    def pages(self) -> list[OwnPage]:
        """What the proxy answers by this."""
        shown = OwnPage(Route("GET", "/", "proxy", Role.VIEWER, replay=True), self._show)
        # The link carries the proxy's own rights, not the caller's: hence admins only.
        opened = OwnPage(Route("POST", _UI_LINK_PATH, "proxy", Role.ADMIN, replay=True), self._open_ui)
        return [shown, opened] if self._ui_link else [shown]

    async def _show(self, request: web.BaseRequest, caller: Caller) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        text = _PAGE.substitute(
            nonce=nonce,
            where=html.escape(self._target.label),
            caller=html.escape(caller.name),
            role=caller.role.label,
            rights=_RIGHTS[caller.role],
            url=html.escape(self._settings.public_url or f"{request.scheme}://{request.host}"),
            artifacts="" if isinstance(self._target, PlainTarget) else _ARTIFACTS,
            ui=_UI.format(path=_UI_LINK_PATH) if self._ui_link and caller.role >= Role.ADMIN else "",
        )
        return web.Response(
            # A caller's Host may be in it, and need not be UTF-8.
            body=text.encode("utf-8", "replace"),
            content_type="text/html",
            charset="utf-8",
            headers={
                # No form-action: browsers hold it against the form's answer too, which leads to the UI's host.
                "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; "
                "base-uri 'none'; frame-ancestors 'none'",
                "Cache-Control": "no-store",
                # With no-referrer browsers send `Origin: null` with the form, which is a foreign page's.
                "Referrer-Policy": "same-origin",
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def _open_ui(self, _: web.BaseRequest, __: Caller) -> web.Response:
        if self._ui_link is None:
            raise errors.no_such_route("A plain MLflow server has no such link.")
        headers = {"Location": await self._ui_link(), "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return web.Response(status=303, headers=headers)
