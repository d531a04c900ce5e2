"""Without authentication the proxy accepts the loopback host names only."""

import pytest

from proxy_app.auth import Role
from proxy_app.auth.no_auth import NoAuth
from proxy_app.errors import ApiError
from tests.doubles.request_factory import context


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080", "LOCALHOST:1"])
async def test_request_for_a_loopback_host_is_an_admin(host: str) -> None:
    principal = await NoAuth().authenticate(context({"Host": host}))
    assert principal.role is Role.ADMIN


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "", "["])
async def test_request_for_another_host_is_rejected(host: str) -> None:
    with pytest.raises(ApiError) as error:
        await NoAuth().authenticate(context({"Host": host}))
    assert (error.value.status, error.value.reason) == (403, "host-not-allowed")
