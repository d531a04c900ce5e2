"""Requests without a connection, for functions that use the head of a request only."""

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from proxy_app.context import Lifecycle, RequestContext
from proxy_app.request_body import BodyReader

# Creating a mocked request takes milliseconds, cloning it microseconds.
_REQUEST = make_mocked_request("GET", "/")


def make_request(headers: CIMultiDict[str] | dict[str, str], method: str = "POST") -> web.BaseRequest:
    """A request with these headers."""
    return _REQUEST.clone(method=method, headers=CIMultiDict(headers))


def context(headers: CIMultiDict[str] | dict[str, str], method: str = "POST") -> RequestContext:
    """The context of a request with these headers."""
    return RequestContext(make_request(headers, method), BodyReader(1024, 1024, 1.0), Lifecycle())
