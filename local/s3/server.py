"""moto's WSGI server with objects on disk and requests from web pages rejected."""

import io
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast
from wsgiref.types import StartResponse, WSGIEnvironment

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from local.s3.store import Store

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class _Handler(MotoRequestHandler):
    # Head and body are written separately: with Nagle's algorithm each response waits 40 ms for a delayed ACK.
    disable_nagle_algorithm = True


class DurableS3:
    """WSGI app that passes requests to moto, and responds to a write after it is on disk."""

    def __init__(self, store: Store) -> None:
        self._moto = cast("WSGIApplication", DomainDispatcherApplication(create_backend_app))
        self._store = store
        # One write at a time: Store.sync must not see a half-written object.
        self._write_lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a WSGI request, after its write is on disk; 403 for requests that a web page could send."""
        if reason := _rejection_reason(environ):
            return _text_response(start_response, "403 Forbidden", reason)
        if environ["REQUEST_METHOD"] in _READS:
            return self._moto(environ, start_response)
        body: bytes = environ["wsgi.input"].read(*_read_arguments(environ))
        if len(body) < int(environ.get("CONTENT_LENGTH") or 0):
            return _text_response(start_response, "400 Bad Request", "IncompleteBody")
        environ["wsgi.input"] = io.BytesIO(body)
        with self._write_lock:
            response = list(self._moto(environ, start_response))
            self._store.sync()
        return response


def _read_arguments(environ: WSGIEnvironment) -> tuple[int, ...]:
    """The arguments of `read`: none (to the end) for a chunked body, else the Content-Length."""
    return () if environ.get("wsgi.input_terminated") else (int(environ.get("CONTENT_LENGTH") or 0),)


def _rejection_reason(environ: WSGIEnvironment) -> str:
    """Why a request is rejected; empty when it is accepted.

    moto does not check signatures, so requests that a web page could send are rejected. So is moto's own API, whose
    reset would delete the objects on disk, too.
    """
    host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0]
    if host not in {"127.0.0.1", "localhost"}:
        return "Invalid Host: use 127.0.0.1 or localhost, with path-style bucket addresses."
    if "HTTP_ORIGIN" in environ:
        return "Requests with an Origin header are not allowed."
    if str(environ.get("PATH_INFO", "")).startswith("/moto-api"):
        return "moto's API is disabled."
    return ""


def _text_response(start_response: Callable[..., Any], status: str, text: str) -> list[bytes]:
    body = text.encode()
    start_response(
        status,
        [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")],
    )
    return [body]


def create_server(store: Store, port: int) -> BaseWSGIServer:
    """A server that listens on 127.0.0.1; port 0: any free one."""
    return make_server("127.0.0.1", port, DurableS3(store), threaded=True, request_handler=_Handler)
