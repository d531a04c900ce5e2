"""moto's WSGI server, made durable and closed to web pages."""

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
    # Head and body are sent apart: without this each answer waits 40 ms for the client's delayed acknowledgement.
    disable_nagle_algorithm = True


class Durable:
    """Passes requests to moto; a write is answered when it is on disk."""

    def __init__(self, store: Store) -> None:
        self._moto = cast("WSGIApplication", DomainDispatcherApplication(create_backend_app))
        self._store = store
        # One write at a time: a sync must not see an object that moto has only half made.
        self._writing = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if refusal := _refusal(environ):
            return _plain(start_response, "403 Forbidden", refusal)
        if environ["REQUEST_METHOD"] in _READS:
            return self._moto(environ, start_response)
        body: bytes = environ["wsgi.input"].read(*_length(environ))
        if len(body) < int(environ.get("CONTENT_LENGTH") or 0):
            return _plain(start_response, "400 Bad Request", "IncompleteBody")
        environ["wsgi.input"] = io.BytesIO(body)
        with self._writing:
            answer = list(self._moto(environ, start_response))
            self._store.sync()
        return answer


def _length(environ: WSGIEnvironment) -> tuple[int, ...]:
    """What to read: to the end of a chunked body, else as much as was said."""
    return () if environ.get("wsgi.input_terminated") else (int(environ.get("CONTENT_LENGTH") or 0),)


def _refusal(environ: WSGIEnvironment) -> str:
    """moto asks nobody for a signature, so what a web page could send is kept out; and so is moto's own API,
    whose reset would take everything from the disk too."""
    host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0]
    if host not in {"127.0.0.1", "localhost"}:
        return "This S3 is reached as 127.0.0.1 or localhost, with the bucket in the path."
    if "HTTP_ORIGIN" in environ:
        return "Not for web pages."
    if str(environ.get("PATH_INFO", "")).startswith("/moto-api"):
        return "moto's own API is closed here."
    return ""


def _plain(start_response: Callable[..., Any], status: str, text: str) -> list[bytes]:
    body = text.encode()
    start_response(
        status,
        [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")],
    )
    return [body]


def make(store: Store, port: int) -> BaseWSGIServer:
    """A server on 127.0.0.1 that listens already; port 0 takes a free one."""
    return make_server("127.0.0.1", port, Durable(store), threaded=True, request_handler=_Handler)
