"""The proxy's home page for browsers, and for admins the link to SageMaker's MLflow UI."""

import html
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from string import Template

from aiohttp import web

from ..auth import Role
from ..context import RequestContext
from ..routing import Endpoint, Route
from ..settings import Settings
from ..target import PlainTarget, Target

_PATH = "/proxy"
_UI_LINK_PATH = "/proxy/ui-link"
_PAGE = Template((Path(__file__).parent / "home_page.html").read_text(encoding="utf-8"))
_PERMISSIONS = {
    Role.VIEWER: "read and search experiments, runs, metrics, models and traces",
    Role.EDITOR: "read, search and write; not delete, and not change a model's stage or alias",
    Role.ADMIN: "read, write and delete everything, and change models' stages and aliases",
}
_ARTIFACTS = """<p class="soft">The proxy does not serve artifacts yet: to log or load one, a client needs AWS
credentials for the artifact bucket.</p>"""
_UI = """<section><h2>MLflow UI</h2>
<p class="soft">Opens SageMaker's MLflow UI in this tab through a single-use link. The link carries the proxy's rights,
therefore it is for admins only.</p>
<form method="post" action="{path}"><button type="submit">Open the MLflow UI</button></form></section>"""


class HomePage:
    """Shows the target, the user's name and role, and the commands that configure a client.

    ``ui_link`` creates a single-use URL of SageMaker's MLflow UI; None if the target has no such UI.
    """

    def __init__(
        self, settings: Settings, target: Target, ui_link: Callable[[], Awaitable[str]] | None, *, at_root: bool
    ) -> None:
        self._settings = settings
        self._target = target
        self._ui_link = ui_link
        self._at_root = at_root

    def endpoints(self) -> list[Endpoint]:
        """The page at /proxy, with ``at_root`` also at /, and, with ``ui_link``, the route of admins to the UI."""
        endpoints = [
            Endpoint(Route("GET", path, "proxy", Role.VIEWER, idempotent=True), self._show)
            for path in ([_PATH, "/"] if self._at_root else [_PATH])
        ]
        if self._ui_link is not None:
            # The link carries the proxy's rights, not the user's: hence admins only.
            link = Route("POST", _UI_LINK_PATH, "proxy", Role.ADMIN, idempotent=True)
            endpoints.append(Endpoint(link, self._open_ui))
        return endpoints

    async def _show(self, context: RequestContext) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        request, principal = context.request, context.authenticated
        text = _PAGE.substitute(
            nonce=nonce,
            target=html.escape(self._target.label),
            user=html.escape(principal.name),
            role=principal.role.label,
            permissions=_PERMISSIONS[principal.role],
            url=html.escape((self._settings.public_url or f"{request.scheme}://{request.host}") + context.path_prefix),
            artifacts="" if isinstance(self._target, PlainTarget) else _ARTIFACTS,
            ui=_UI.format(path=context.path_prefix + _UI_LINK_PATH)
            if self._ui_link and principal.role >= Role.ADMIN
            else "",
        )
        return web.Response(
            # The page may contain the request's Host, which need not be UTF-8.
            body=text.encode("utf-8", "replace"),
            content_type="text/html",
            charset="utf-8",
            headers={
                # No form-action: browsers apply it to the form's redirect to SageMaker's host, too.
                "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; "
                "base-uri 'none'; frame-ancestors 'none'",
                "Cache-Control": "no-store",
                # With no-referrer browsers send `Origin: null` with the form, which is another origin.
                "Referrer-Policy": "same-origin",
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def _open_ui(self, _: RequestContext) -> web.Response:
        location = await self._ui_link() if self._ui_link else "/"
        headers = {"Location": location, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return web.Response(status=303, headers=headers)
