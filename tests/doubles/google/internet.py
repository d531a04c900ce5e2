"""The network between clients and the fake sites: an HTTPS proxy (`HTTPS_PROXY`) that terminates TLS, and plain HTTP
on loopback."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Generator
from email.utils import formatdate
from typing import Any, cast

from local.fake_sagemaker.tls import Authority

from .accounts import Clock
from .http import Request, Response, Site


class Internet:
    """`sites` maps hosts to fakes. `requests` has every request, `unexpected_hosts` the requested hosts without a site.

    `untrusted` hosts present a certificate that no client trusts. `wrong` has the assertions that sites raised.
    """

    def __init__(self, clock: Clock, authority: Authority, other_authority: Authority) -> None:
        self.clock = clock
        self.authority = authority
        self._context = authority.server_context()
        self._other_context = other_authority.server_context()
        self.sites: dict[str, Site] = {}
        self.untrusted: set[str] = set()
        self.unexpected_hosts: list[str] = []
        self.requests: list[Request] = []
        self.wrong: list[str] = []
        self.proxy_url = ""

    def context_for(self, host: str) -> ssl.SSLContext:
        """The TLS context with the certificate of this host."""
        return self._other_context if host in self.untrusted else self._context

    def respond(self, request: Request) -> Response:
        """The response of the request's site; 500 if the site raises AssertionError."""
        self.requests.append(request)
        try:
            return self.sites[request.host](request)
        # World.check fails the test with it at its end.
        except AssertionError as error:
            self.wrong.append(f"{request}: {error}")
            return Response(500, str(error).encode())

    def requests_to(self, host: str) -> list[Request]:
        """The requests to this host."""
        return [request for request in self.requests if request.host == host]

    @contextlib.contextmanager
    def running(self) -> Generator["Internet"]:
        """Run the HTTPS proxy."""
        with self._serving(_Proxy) as address:
            self.proxy_url = f"http://{address}"
            yield self

    @contextlib.contextmanager
    def listening(self, site: Site) -> Generator[str]:
        """Serve a site on plain HTTP; yields its host:port."""
        with self._serving(_Plain) as address:
            self.sites[address] = site
            yield address

    @contextlib.contextmanager
    def _serving(self, handler: type["_Handler"]) -> Generator[str]:
        server = _Server(("127.0.0.1", 0), handler)
        server.internet = self
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    internet: Internet
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client that rejects the certificate closes the connection."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host = ""
    timeout = 60
    # One write per response: a second one would wait for the acknowledgement of the first.
    wbufsize = -1
    disable_nagle_algorithm = True

    @property
    def internet(self) -> Internet:
        return cast("_Server", self.server).internet

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class calls it
        pass

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.internet.clock.now(), usegmt=True)

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        host = self.host or self.headers["Host"]
        response = self.internet.respond(Request(host, self.command, self.path, self.headers, body))
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _do  # noqa: N815 - as the base class calls them


class _Plain(_Handler):
    pass


class _Proxy(_Handler):
    def do_CONNECT(self) -> None:
        internet = self.internet
        host = self.path.removesuffix(":443")
        if host not in internet.sites:
            internet.unexpected_hosts.append(self.path)
            self.send_error(502, "No such host")
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        with (
            contextlib.suppress(OSError),
            internet.context_for(host).wrap_socket(self.connection, server_side=True) as tls,
        ):
            type("_Site", (_Handler,), {"host": host})(tls, self.client_address, self.server)
