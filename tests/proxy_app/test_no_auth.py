"""Without authentication only this machine's own names are answered."""

import pytest

from proxy_app.auth import Role
from proxy_app.auth.no_auth import NoAuth
from proxy_app.errors import ApiError
from tests.doubles.request_factory import context


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080", "LOCALHOST:1"])
async def test_this_machine_is_an_admin(host: str) -> None:
    principal = await NoAuth().authenticate(context({"Host": host}))
    assert principal.role is Role.ADMIN


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "", "["])
async def test_a_foreign_name_that_leads_here_is_refused(host: str) -> None:
    with pytest.raises(ApiError) as refused:
        await NoAuth().authenticate(context({"Host": host}))
    assert (refused.value.status, refused.value.reason) == (403, "host-not-allowed")
