"""Every private attribute of aiohttp that the proxy uses, in one place.

pyproject.toml limits aiohttp to the minor version for which tests/proxy_app/test_aiohttp_internals.py checks them. Each
function names the place in aiohttp's source, to be found again after an upgrade.
"""

from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.web_protocol import _ErrInfo  # pyright: ignore[reportPrivateUsage]

if TYPE_CHECKING:
    from aiohttp import StreamReader


def request_count(handler: web.RequestHandler) -> int:
    """How many request heads the connection has parsed (web_protocol.RequestHandler.data_received)."""
    return handler._request_count  # pyright: ignore[reportPrivateUsage]


def newest_body(handler: web.RequestHandler) -> "StreamReader | None":
    """The body of the last request that waits to be handled (RequestHandler._messages: a deque of head and body)."""
    messages = handler._messages  # pyright: ignore[reportPrivateUsage]
    return messages[-1][1] if messages else None


def newest_is_invalid(handler: web.RequestHandler) -> bool:
    """Whether the parser failed at the newest bytes (RequestHandler.data_received queues an _ErrInfo for a head)."""
    messages = handler._messages  # pyright: ignore[reportPrivateUsage]
    return bool(messages) and isinstance(messages[-1][0], _ErrInfo)


def is_closing(handler: web.RequestHandler) -> bool:
    """Whether the server has decided to close the connection (RequestHandler.force_close)."""
    return handler._force_close  # pyright: ignore[reportPrivateUsage]


def current_request(handler: web.RequestHandler) -> web.BaseRequest | None:
    """The request that is being handled (RequestHandler.start)."""
    return handler._current_request  # pyright: ignore[reportPrivateUsage]


def has_work(handler: web.RequestHandler) -> bool:
    """Whether a request is being handled or waits."""
    return current_request(handler) is not None or bool(handler._messages)  # pyright: ignore[reportPrivateUsage]


def waits_for_request(handler: web.RequestHandler) -> bool:
    """Whether the connection is idle, as aiohttp's keep-alive timer decides it (RequestHandler._process_keepalive)."""
    waiter = handler._waiter  # pyright: ignore[reportPrivateUsage]
    return waiter is not None and not waiter.done()


def set_keep_alive(response: web.StreamResponse, keep_alive: bool) -> None:
    """Set what StreamResponse.prepare sets before it writes the head: whether the connection stays open afterwards."""
    response._keep_alive = keep_alive  # pyright: ignore[reportPrivateUsage]
