"""The private attributes of aiohttp that the proxy uses have the expected meaning: a new release may change them."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy_app import aiohttp_internals as internals

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


class Transport(asyncio.Transport):
    """Discards what is written."""

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def open_connection(release: asyncio.Event) -> web.RequestHandler:
    """A connection whose handler waits for ``release``."""

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    handler = web.RequestHandler(web.Server(handle), loop=asyncio.get_running_loop())
    handler.connection_made(Transport())
    await asyncio.sleep(0.01)
    return handler


async def test_connection_waits_for_a_request_until_one_arrives() -> None:
    release = asyncio.Event()
    handler = await open_connection(release)
    assert internals.waits_for_request(handler)
    assert (internals.request_count(handler), internals.has_work(handler)) == (0, False)
    handler.data_received(HEAD)
    # web_protocol.py: data_received appends to _messages and counts in _request_count.
    assert internals.request_count(handler) == 1
    assert internals.has_work(handler)
    body = internals.newest_body(handler)
    assert body is not None
    assert not body.is_eof()
    await asyncio.sleep(0.01)
    # web_protocol.py: start() takes the message and sets _current_request while the handler runs.
    current = internals.current_request(handler)
    assert current is not None
    assert current.method == "POST"
    assert internals.newest_body(handler) is None
    assert not internals.waits_for_request(handler)
    handler.data_received(b"{}")
    assert body.is_eof()
    release.set()
    await asyncio.sleep(0.05)
    assert internals.waits_for_request(handler)
    assert internals.current_request(handler) is None
    handler.connection_lost(None)


async def test_parser_error_in_a_body_is_detected() -> None:
    handler = await open_connection(asyncio.Event())
    handler.data_received(b"POST / HTTP/1.1\r\nHost: proxy\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert not internals.newest_is_invalid(handler)
    # web_protocol.py: data_received appends an _ErrInfo to _messages.
    handler.data_received(b"no chunk\r\n")
    assert internals.newest_is_invalid(handler)
    handler.connection_lost(None)


async def test_forced_close_is_detected() -> None:
    handler = await open_connection(asyncio.Event())
    assert not internals.is_closing(handler)
    handler.force_close()
    assert internals.is_closing(handler)
    handler.connection_lost(None)


def test_set_keep_alive_sets_keep_alive_of_a_response() -> None:
    # web_response.py: StreamResponse.keep_alive returns _keep_alive, and the server reads it after the response.
    for keep_alive in (True, False):
        response = web.StreamResponse()
        internals.set_keep_alive(response, keep_alive)
        assert response.keep_alive is keep_alive
    assert make_mocked_request("GET", "/").keep_alive is True
