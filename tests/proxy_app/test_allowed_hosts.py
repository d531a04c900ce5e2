"""Allowed host names: the check of the Host header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.allowed_hosts import check_host
from proxy_app.errors import ApiError
from tests.doubles import fake_upstreams
from tests.doubles.fake_upstreams import OK
from tests.doubles.raw_client import RawResponse
from tests.doubles.request_factory import make_request
from tests.doubles.running_proxy import READ, RunningProxy

from .conftest import StartProxy, StartUpstream

NAMES = ("mlflow.example.com", "*-dot-mlflow-dot-p.ew.r.appspot.com", "*.lab.example.com", "10.0.0.1")


def is_allowed(host: str | None) -> bool:
    try:
        check_host(make_request({} if host is None else {"Host": host}), NAMES)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        *("mlflow.example.com", "MLflow.Example.COM", "mlflow.example.com:8080", "10.0.0.1:80"),
        *("v1-dot-mlflow-dot-p.ew.r.appspot.com", "a.lab.example.com", "a-b.lab.example.com:443"),
        # The DNS root's dot: curl and browsers send it as it is in the URL.
        *("mlflow.example.com.", "mlflow.example.com.:443", "a.lab.example.com."),
    ],
)
def test_allowed_host_is_accepted_on_any_port(host: str) -> None:
    assert is_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        *(None, "", ":", ":8080", "[", "[::1]", "localhost", "127.0.0.1", "10.0.0.10", "10.0.0.1.evil.example"),
        *(
            "evil.example",
            "example.com",
            "a.mlflow.example.com",
            "mlflow.example.com..",
            "mlflow.example.com.evil.example",
            ".",
        ),
        *(
            "evilmlflow.example.com",
            "mlflow-example.com",
            "mlflow.example.com@evil.example",
            "evil.example#mlflow.example.com",
        ),
        *("evil.example/mlflow.example.com", "evil.example?mlflow.example.com", "evil.example\\mlflow.example.com"),
        *("mlflow.example.com, evil.example", "*-dot-mlflow-dot-p.ew.r.appspot.com.evil.example"),
        *(
            "-dot-mlflow-dot-p.ew.r.appspot.com",
            "a.b-dot-mlflow-dot-p.ew.r.appspot.com",
            "mlflow-dot-p.ew.r.appspot.com",
        ),
        "evil.example@mlflow.example.com",
        "mlflow.example.com/evil.example",
        "mlflow.example.com?evil.example",
        "mlflow.example.com#.evil.example",
        "mlflow.example.com:port",
        "mlflow.example.com:80:80",
        "[mlflow.example.com]",
        *("lab.example.com", ".lab.example.com", "a.b.lab.example.com", "evil-lab.example.com"),
    ],
)
def test_other_host_is_rejected(host: str | None) -> None:
    assert not is_allowed(host)


@given(st.text("az09-.", min_size=1, max_size=10))
def test_allowed_host_with_a_prefix_or_suffix_is_rejected(text: str) -> None:
    assert not is_allowed(f"{text}mlflow.example.com")
    # A single dot at the end is the DNS root's.
    assert is_allowed(f"mlflow.example.com{text}") == (text == ".")


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30))
def test_arbitrary_text_is_not_an_allowed_host(text: str) -> None:
    assert not is_allowed(text)
    assert not is_allowed(f"{text}.evil.example")


async def send(proxy: RunningProxy, target: str, *lines: str) -> RawResponse:
    head = [f"GET {target} HTTP/1.1", *lines, f"Authorization: Bearer {proxy.tokens.viewer}"]
    return await proxy.send("\r\n".join(head).encode() + b"\r\n\r\n")


async def test_other_host_is_rejected_before_authentication(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    fake_upstream = await start_upstream(fake_upstreams.respond_with(OK))
    proxy = await start_proxy(fake_upstream.origin, allowed_hosts=NAMES)
    assert (await send(proxy, READ, "Host: mlflow.example.com")).status == 200
    for target in (READ, "/", "/no/such/route"):
        response = await send(proxy, target, "Host: evil.example")
        assert response.error == (403, "PERMISSION_DENIED")
        assert "MLFLOW_PROXY_ALLOWED_HOSTS" in response.message
        assert (proxy.lines[-1]["principal"], proxy.lines[-1]["error"]) == (None, "host-not-allowed")
    # X-Forwarded-Host is ignored.
    assert (await send(proxy, READ, "Host: evil.example", "X-Forwarded-Host: mlflow.example.com")).status == 403
    assert (await send(proxy, READ, "X-Forwarded-Host: mlflow.example.com")).status == 400
    assert len(fake_upstream.requests) == 1


async def test_health_checks_accept_any_host(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    """The health checks of load balancers have an IP address as host."""
    proxy = await start_proxy((await start_upstream(fake_upstreams.respond_with(OK))).origin, allowed_hosts=NAMES)
    for path in ("/healthz", "/startupz", "/readyz"):
        assert (await send(proxy, path, "Host: 10.1.2.3:8080")).status == 200


async def test_any_host_is_accepted_by_default(start_upstream: StartUpstream, start_proxy: StartProxy) -> None:
    proxy = await start_proxy((await start_upstream(fake_upstreams.respond_with(OK))).origin)
    assert (await send(proxy, READ, "Host: evil.example")).status == 200


async def test_write_from_the_origin_of_another_allowed_host_is_rejected(
    start_upstream: StartUpstream, start_proxy: StartProxy
) -> None:
    """Each version of an App Engine service has a host of its own, which is another origin."""
    proxy = await start_proxy((await start_upstream(fake_upstreams.respond_with(OK))).origin, allowed_hosts=NAMES)
    version = "v1-dot-mlflow-dot-p.ew.r.appspot.com"
    write = "POST /api/2.0/mlflow/runs/search HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/json\r\n"
    for host, origin, status in [
        (version, version, 200),
        ("mlflow.example.com", "mlflow.example.com", 200),
        ("mlflow.example.com", version, 403),
        ("evil.example", "evil.example", 403),
    ]:
        data = (
            f"{write}Host: {host}\r\nOrigin: https://{origin}\r\nAuthorization: Bearer {proxy.tokens.admin}\r\n\r\n{{}}"
        )
        assert (await proxy.send(data.encode())).status == status
