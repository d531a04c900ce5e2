"""What a browser sends for another site's page changes nothing; what no browser sends is not judged here."""

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


def judge(
    headers: dict[str, str], *, method: str = "POST", public_url: str = "", host: str | None = "proxy:8080"
) -> bool:
    """Whether it passes."""
    sent = CIMultiDict(headers)
    if host is not None:
        sent["Host"] = host
    try:
        check_csrf(make_request(sent, method), public_url)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("method", WRITES)
def test_a_client_that_is_no_browser_writes(method: str) -> None:
    assert judge({}, method=method)
    assert judge({}, method=method, host=None)


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
def test_a_page_of_another_site_writes_nothing(method: str, headers: dict[str, str]) -> None:
    assert not judge(headers, method=method)
    assert not judge(headers, method=method, public_url=PUBLIC)


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
def test_what_only_looks_like_the_own_origin_is_another(origin: str) -> None:
    assert not judge({"Origin": origin})
    assert not judge({"Origin": origin}, host="")
    assert not judge({"Origin": origin}, host=None)


@pytest.mark.parametrize("method", READS)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://["])
def test_reads_are_left_to_the_browsers_own_rules(method: str, origin: str) -> None:
    assert judge({"Origin": origin, "Sec-Fetch-Site": "cross-site"}, method=method)


@pytest.mark.parametrize("method", WRITES)
def test_the_own_page_writes(method: str) -> None:
    assert judge({"Origin": "http://proxy:8080"}, method=method)
    assert judge({"Origin": "http://proxy:8080", "Sec-Fetch-Site": "same-origin"}, method=method)
    assert judge({"Sec-Fetch-Site": "none"}, method=method)
    # The proxy does not see whether a load balancer took the request by TLS.
    assert judge({"Origin": "https://proxy:8080"}, method=method)


def test_the_public_origin_is_the_own_one_whatever_host_is_asked_for() -> None:
    assert judge({"Origin": PUBLIC, "Sec-Fetch-Site": "same-origin"}, public_url=PUBLIC, host="10.0.0.1:8080")
    assert not judge({"Origin": PUBLIC}, host="10.0.0.1:8080")
    for near in (f"{PUBLIC}.evil.example", f"{PUBLIC}:8443", PUBLIC.replace("https", "http"), f"{PUBLIC}/"):
        assert not judge({"Origin": near}, public_url=PUBLIC, host="10.0.0.1:8080")


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=30), st.sampled_from(WRITES))
def test_any_other_origin_is_refused(origin: str, method: str) -> None:
    assert not judge({"Origin": origin}, method=method, public_url=PUBLIC)
    assert not judge({"Origin": f"http://{origin}"}, method=method, public_url=PUBLIC)


def test_the_refusal_says_whose_page_it_was() -> None:
    request = make_request({"Origin": "https://evil.example", "Host": "proxy"})
    with pytest.raises(ApiError) as refused:
        check_csrf(request, "")
    assert (refused.value.status, refused.value.error_code) == (403, "PERMISSION_DENIED")
    assert refused.value.reason == "csrf"
    assert refused.value.message == "Cross-origin request: a page of https://evil.example may not make changes."
