"""The gate's own page for a browser, and the link from it into SageMaker's UI."""

import html
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from string import Template

from aiohttp import web

from . import errors
from .callers import Caller, Role
from .cross_site import refuse_foreign_writes
from .gate import Gate
from .settings import Settings
from .target import PlainTarget, Target

UI_LINK_PATH = "/gate/ui-link"
_PAGE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
_RIGHTS = {
    Role.VIEWER: "read and search: experiments, runs, metrics, models, traces",
    Role.EDITOR: "read, search and write; not delete, and not change a model's stage or alias",
    Role.ADMIN: "do everything: read, write, delete, change models' stages and aliases",
}
_ARTIFACTS = """<p class="soft">Artifacts do not pass through the gate yet: to log or load one, a client needs
AWS credentials of its own for the artifact bucket.</p>"""
_REFUSED = """<!doctype html><meta charset="utf-8"><title>MLflow gate</title>
<h1>A token is needed</h1><p>{message}</p>
<p>Reload this page: your browser asks for a name (any) and a password (your token).</p>
"""
_UI = """<section><h2>MLflow's own pages</h2>
<p class="soft">Opens SageMaker's UI in this tab by a link for one use, with the gate's own rights.
That is why only admins have this button.</p>
<form method="post" action="{path}"><button type="submit">Open the MLflow UI</button></form></section>"""


class Page:
    """Where you are, who you are, what you may do, the lines to paste; for admins the way into the UI."""

    def __init__(
        self, settings: Settings, target: Target, gate: Gate, ui_link: Callable[[], Awaitable[str]] | None
    ) -> None:
        self._settings = settings
        self._target = target
        self._gate = gate
        self._ui_link = ui_link

    async def show(self, request: web.BaseRequest) -> web.Response:
        """``GET /``. A browser without credentials is asked for them (Basic: any name, the token as password)."""
        try:
            caller = self._gate.recognise(request)
        except errors.Refusal as refusal:
            response = refusal.response()
            if "text/html" in request.headers.get("Accept", ""):
                response.content_type = "text/html"
                response.text = _REFUSED.format(message=html.escape(refusal.message))
            return response
        nonce = secrets.token_urlsafe(16)
        text = _PAGE.substitute(
            nonce=nonce,
            where=html.escape(self._target.label),
            caller=html.escape(caller.name),
            role=caller.role.label,
            rights=_RIGHTS[caller.role],
            url=html.escape(self._url(request)),
            artifacts="" if isinstance(self._target, PlainTarget) else _ARTIFACTS,
            ui=_UI.format(path=UI_LINK_PATH) if self._offers_ui(caller) else "",
        )
        return web.Response(
            text=text,
            content_type="text/html",
            headers={
                # The form's answer leads to the UI's host, and browsers hold form-action against that too.
                "Content-Security-Policy": f"default-src 'none'; style-src 'nonce-{nonce}'; "
                "form-action 'self' https:; base-uri 'none'; frame-ancestors 'none'",
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def open_ui(self, request: web.BaseRequest) -> web.Response:
        """``POST /gate/ui-link``: on to a fresh presigned link; admins only, since it carries the gate's rights."""
        try:
            caller = self._gate.recognise(request)
            refuse_foreign_writes(request, self._settings.public_url)
            if caller.role < Role.ADMIN:
                raise errors.forbidden(
                    f"{caller.name} is {caller.role.label} here, and the UI's link carries the gate's own rights: "
                    "it needs the role admin.",
                    reason="role",
                )
            if self._ui_link is None:
                raise errors.no_such_route("There is no UI link: the gate stands in front of a plain MLflow server.")
            link = await self._ui_link()
        except errors.Refusal as refusal:
            return refusal.response()
        return web.Response(
            status=303, headers={"Location": link, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        )

    def _offers_ui(self, caller: Caller) -> bool:
        return self._ui_link is not None and caller.role >= Role.ADMIN

    def _url(self, request: web.BaseRequest) -> str:
        return self._settings.public_url or f"{request.scheme}://{request.host}"
