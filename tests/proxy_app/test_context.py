"""RequestContext: what is missing before a step has set it, and the ID of a request."""

import re

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy_app.context import Lifecycle, RequestContext, new_request_id
from proxy_app.request_body import BodyReader


def context(**headers: str) -> RequestContext:
    request: web.BaseRequest = make_mocked_request("GET", "/", headers=headers)
    return RequestContext(request, BodyReader(1, 1, 1.0), Lifecycle())


def test_public_route_has_no_principal() -> None:
    with pytest.raises(RuntimeError, match="no principal"):
        _ = context().authenticated


def test_route_is_missing_before_routing() -> None:
    with pytest.raises(RuntimeError, match="not been matched"):
        _ = context().matched_route


def test_body_is_created_once() -> None:
    made = context()
    made.release()
    assert made.body is made.body
    made.release()


def test_request_id_is_random_unless_the_client_sends_a_valid_one() -> None:
    assert re.fullmatch("[0-9a-f]{16}", new_request_id())
    assert new_request_id() != new_request_id()
    assert context(**{"X-Request-Id": "client-1"}).request_id == "client-1"
    assert re.fullmatch("[0-9a-f]{16}", context(**{"X-Request-Id": 'a"b\n'}).request_id)
