"""An HTTP/1.1 client for a proxy's hop: one origin, pooled connections, retries that are safe.

It knows nothing of MLflow or of the proxy. aiohttp's client does far more than a hop needs (redirects, cookies,
encodings, sessions) and takes 40 % of the proxy's processor time for it (``make bench``).
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
