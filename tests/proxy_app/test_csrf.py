"""The CSRF check: cross-site writes by browsers are rejected, requests of other clients are not affected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy_app.csrf import check_csrf
from proxy_app.errors import ApiError
from tests.doubles.request_factory import make_request

WRITES = ["POST", "PUT", "PATCH", "DELETE"]
READS = ["GET", "HEAD", "OPTIONS"]
PUBLIC = "https://mlflow.example.com"


def is_allowed(
    headers: dict[str, str],
    *,
    method: str = "POST",
    public_url: str = "",
    host: str | None = "proxy:8080",
    changes_state: bool = False,
) -> bool:
    sent = CIMultiDict(headers)
    if host is not None:
        sent["Host"] = host
    try:
        check_csrf(make_request(sent, method), public_url, changes_state=changes_state)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("method", WRITES)
def test_write_without_browser_headers_is_allowed(method: str) -> None:
    assert is_allowed({}, method=method)
    assert is_allowed({}, method=method, host=None)


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "CROSS-SITE"},
        {"Sec-Fetch-Site": "something-new"},
        {"Origin": "http://proxy:8080", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_cross_site_write_is_rejected(method: str, headers: dict[str, str]) -> None:
    assert not is_allowed(headers, method=method)
    assert not is_allowed(headers, method=method, public_url=PUBLIC)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://proxy",
        "http://proxy:80800",
        "http://proxy:8080.evil.example",
        "http://evil.example/proxy:8080",
        "http://proxy:8080@evil.example",
        "http://evil.example@proxy:8080",
        "proxy:8080",
        "http://[",
        "http://[proxy:8080",
        "http://proxy:8080 http://evil.example",
    ],
)
def test_origin_that_resembles_the_host_is_rejected(origin: str) -> None:
    assert not is_allowed({"Origin": origin})
    assert not is_allowed({"Origin": origin}, host="")
    assert not is_allowed({"Origin": origin}, host=None)


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "something-new"])
@pytest.mark.parametrize(
    "headers",
    [
        {},  # <img>, <script>, fetch without CORS
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": "https://evil.example"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"},
        {"Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "websocket"},
        {"Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Dest": "document"},
    ],
)
def test_cross_site_read_that_opens_no_page_is_rejected(method: str, site: str, headers: dict[str, str]) -> None:
    assert not is_allowed({"Sec-Fetch-Site": site, **headers}, method=method)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "same-origin"])
def test_link_of_another_site_opens_a_page_unless_its_route_changes_state(site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert is_allowed(headers, method="GET")
    assert is_allowed(headers, method="GET", changes_state=True) == (site in {"none", "same-origin"})
    assert is_allowed(headers, method="POST") == (site in {"none", "same-origin"})


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        # API clients may send an Origin; a browser's scripts cannot read the response to another origin.
        {"Origin": "https://elsewhere.example"},
    ],
)
def test_read_of_the_same_origin_or_of_an_api_client_is_allowed(method: str, headers: dict[str, str]) -> None:
    assert is_allowed(headers, method=method)
    assert is_allowed(headers, method=method, changes_state=True)


@pytest.mark.parametrize("method", WRITES)
def test_same_origin_write_is_allowed(method: str) -> None:
    assert is_allowed({"Origin": "http://proxy:8080"}, method=method)
    assert is_allowed({"Origin": "http://proxy:8080", "Sec-Fetch-Site": "same-origin"}, method=method)
    assert is_allowed({"Sec-Fetch-Site": "none"}, method=method)
    # The proxy does not know whether the load balancer received the request over TLS.
    assert is_allowed({"Origin": "https://proxy:8080"}, method=method)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://mlflow.example.com", "mlflow.example.com:443"),
        ("http://mlflow.example.com", "mlflow.example.com:80"),
        ("https://mlflow.example.com:443", "mlflow.example.com"),
        ("HTTPS://MLflow.Example.COM", "mlflow.example.com"),
        ("https://mlflow.example.com", "MLFLOW.example.com"),
        ("https://mlflow.example.com.", "mlflow.example.com"),
        ("https://mlflow.example.com", "mlflow.example.com.:443"),
        ("https://[::1]:8080", "[::1]:8080"),
    ],
)
def test_spelling_of_host_and_default_port_does_not_matter(origin: str, host: str) -> None:
    assert is_allowed({"Origin": origin}, host=host)
    scheme = origin.partition(":")[0].lower()
    assert is_allowed({"Origin": origin}, host="10.0.0.1", public_url=f"{scheme}://{host}")
    assert not is_allowed({"Origin": origin}, host=f"{host}.evil.example")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://mlflow.example.com", "mlflow.example.com:443"),
        ("https://mlflow.example.com", "mlflow.example.com:80"),
        ("https://mlflow.example.com..", "mlflow.example.com"),
        ("https://mlflow.example.com:", "mlflow.example.com:8443"),
        ("https://", ""),
        ("https://.", "."),
    ],
)
def test_other_port_or_an_empty_name_is_another_origin(origin: str, host: str) -> None:
    assert not is_allowed({"Origin": origin}, host=host)


def test_public_url_is_an_allowed_origin_with_any_host() -> None:
    assert is_allowed({"Origin": PUBLIC, "Sec-Fetch-Site": "same-origin"}, public_url=PUBLIC, host="10.0.0.1:8080")
    assert not is_allowed({"Origin": PUBLIC}, host="10.0.0.1:8080")
    for origin in (f"{PUBLIC}.evil.example", f"{PUBLIC}:8443", PUBLIC.replace("https", "http"), f"{PUBLIC}/"):
        assert not is_allowed({"Origin": origin}, public_url=PUBLIC, host="10.0.0.1:8080")


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=30), st.sampled_from(WRITES))
def test_arbitrary_origin_is_rejected(origin: str, method: str) -> None:
    assert not is_allowed({"Origin": origin}, method=method, public_url=PUBLIC)
    assert not is_allowed({"Origin": f"http://{origin}"}, method=method, public_url=PUBLIC)


def test_error_names_the_origin() -> None:
    request = make_request({"Origin": "https://evil.example", "Host": "proxy"})
    with pytest.raises(ApiError) as rejection:
        check_csrf(request, "")
    assert (rejection.value.status, rejection.value.error_code) == (403, "PERMISSION_DENIED")
    assert rejection.value.reason == "csrf"
    assert rejection.value.message == "Cross-origin request: a page of https://evil.example may not make it."
