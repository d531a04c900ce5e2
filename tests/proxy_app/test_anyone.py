"""Without authentication only this machine's own names are answered."""

import pytest
from aiohttp.test_utils import make_mocked_request

from proxy_app.callers import Role
from proxy_app.callers.anyone import Anyone
from proxy_app.errors import Refusal


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080", "LOCALHOST:1"])
async def test_this_machine_is_an_admin(host: str) -> None:
    caller = await Anyone().recognise(make_mocked_request("POST", "/", headers={"Host": host}))
    assert caller is not None
    assert caller.role is Role.ADMIN


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "", "["])
async def test_a_foreign_name_that_leads_here_is_refused(host: str) -> None:
    with pytest.raises(Refusal) as refused:
        await Anyone().recognise(make_mocked_request("GET", "/", headers={"Host": host}))
    assert (refused.value.status, refused.value.reason) == (403, "foreign-host")
