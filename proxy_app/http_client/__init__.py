"""An HTTP/1.1 client for one hop of a proxy: one origin, pooled connections, safe retries.

It is independent of MLflow and of the proxy. aiohttp's client supports far more than a hop needs (redirects, cookies,
encodings, sessions), which takes 40 % of the proxy's processor time (``make bench``).
"""

from .connection import Body, ClientError, ConnectError, ReadError, ReadTimeout, Response
from .pool import CertificateError, ConnectionPool, Headers, InvalidHeaderError, Timeouts

__all__ = [
    "Body",
    "CertificateError",
    "ClientError",
    "ConnectError",
    "ConnectionPool",
    "Headers",
    "InvalidHeaderError",
    "ReadError",
    "ReadTimeout",
    "Response",
    "Timeouts",
]
