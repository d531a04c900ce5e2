"""The token is sent to the configured hosts only, over TLS."""

import logging
from urllib.parse import quote

import hypothesis
import pytest
import requests
from hypothesis import strategies as st
from urllib3.util import parse_url

from mlflow_iap import IapAuth, SettingsError
from mlflow_iap.hosts import may_receive_token, parse_hosts
from tests.doubles.google.accounts import IAP_CLIENT, JOB
from tests.doubles.google.http import Request, Response
from tests.doubles.google.world import HOST, OTHER_HOST, URL, World

HOSTS = parse_hosts("mlflow.example.com, other.example.com:8443, 127.0.0.1:5000, [::1]:5000, localhost:5000")


@pytest.mark.parametrize(
    "url",
    [
        "https://mlflow.example.com/api",
        "https://MLflow.Example.com:443/api?x=1#y",
        "https://user@mlflow.example.com/",
        "https://other.example.com:8443/",
        "http://127.0.0.1:5000/",
        "http://[::1]:5000/",
        "https://localhost:5000/",
        "http://localhost:5000/",
    ],
)
def test_configured_host_gets_token(url: str) -> None:
    assert may_receive_token(url, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        "https://mlflow.example.com:8443/",
        "https://mlflow.example.com:80/",
        "https://other.example.com/",
        "https://sub.mlflow.example.com/",
        "https://mlflow.example.com.evil.example/",
        "https://mlflow.example.com@evil.example/",
        "https://evil.example/mlflow.example.com",
        "https://evil.example#@mlflow.example.com",
        "https://evil.example\\@mlflow.example.com",
        "http://127.0.0.1:5001/",
        "http://127.0.0.1/",
        "ftp://mlflow.example.com/",
        "file:///mlflow.example.com",
        "mlflow.example.com",
        "https://",
        "",
    ],
)
def test_other_url_gets_no_token(url: str) -> None:
    assert not may_receive_token(url, HOSTS)


@pytest.mark.parametrize(
    "url", ["http://mlflow.example.com/", "http://mlflow.example.com:443", "http://other.example.com:8443/"]
)
def test_configured_host_over_plain_http_raises_error(url: str) -> None:
    with pytest.raises(SettingsError, match="over http://: use https://"):
        may_receive_token(url, HOSTS)


@hypothesis.given(st.text(alphabet="htps:/\\@.#?[]%aelmoxvi-w0185 \t", max_size=60))
@hypothesis.example("https://evil.example\\.mlflow.example.com")
def test_requests_connects_to_configured_host_whenever_token_is_sent(text: str) -> None:
    for url in (
        text,
        "https://" + text,
        f"https://mlflow.example.com{text}",
        f"https://{quote(text)}mlflow.example.com",
    ):
        request = requests.Request("GET", url)
        try:
            prepared = request.prepare()
            allowed = may_receive_token(prepared.url or "", HOSTS)
        # requests encodes a user name and a password as Latin-1.
        except (requests.RequestException, SettingsError, UnicodeError):
            continue
        if allowed:
            parts = parse_url(prepared.url or "")
            assert f"{parts.host}:{parts.port or {'https': 443, 'http': 80}[parts.scheme or '']}" in {
                "mlflow.example.com:443",
                "other.example.com:8443",
                "127.0.0.1:5000",
                "[::1]:5000",
                "localhost:5000",
            }


@pytest.mark.parametrize(
    "text", ["https://mlflow.example.com", "a/b", "a b", "*.example.com", "a:0x1", "a:99999", "-a"]
)
def test_invalid_host_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="hosts without https://"):
        parse_hosts(text)


def set_environment(world: World, monkeypatch: pytest.MonkeyPatch, uri: str = URL) -> None:
    monkeypatch.setenv("MLFLOW_IAP_TOKEN", world.accounts.id_token(IAP_CLIENT, JOB))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


def test_redirect_to_another_host_drops_token(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(world, monkeypatch)
    world.iap.application_response = Response(302, b"", {"Location": f"https://{OTHER_HOST}/file"})
    for headers in ({}, {"Authorization": "Basic eA=="}):
        response = requests.get(URL, auth=auth, headers=headers, timeout=30)
        assert response.text == "a file"
    sent = world.internet.requests_to(OTHER_HOST)
    assert len(sent) == 2
    for request in sent:
        assert not request.headers["Authorization"]
        assert not request.headers["Proxy-Authorization"]


def test_other_host_gets_no_token_and_one_warning_is_logged(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_environment(world, monkeypatch)
    with caplog.at_level(logging.WARNING, "mlflow_iap"):
        for _ in range(3):
            assert requests.get(f"https://{OTHER_HOST}/file", auth=auth, timeout=30).text == "a file"
    warning = f"No IAP token is sent to {OTHER_HOST}: MLFLOW_IAP_HOSTS is {HOST}."
    assert [record.message for record in caplog.records] == [warning]
    assert not world.internet.requests_to(OTHER_HOST)[0].headers["Authorization"]


def test_later_change_of_tracking_uri_does_not_change_hosts(
    world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(world, monkeypatch)
    assert requests.get(URL, auth=auth, timeout=30).status_code == 200
    # mlflow.set_tracking_uri does the same.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://{OTHER_HOST}")
    requests.get(f"https://{OTHER_HOST}/", auth=auth, timeout=30)
    assert not world.internet.requests_to(OTHER_HOST)[0].headers["Authorization"]


def test_plain_http_gets_token_on_loopback_only(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[Request] = []
    with world.internet.listening(lambda request: (received.append(request), Response(200))[1]) as address:
        set_environment(world, monkeypatch, f"http://{address}")
        assert requests.get(f"http://{address}/", auth=auth, timeout=30).status_code == 200
        assert received[0].headers["Authorization"].startswith("Bearer eyJ")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{HOST}")
        with pytest.raises(SettingsError, match=f"No token is sent to {HOST} over http"):
            requests.get(f"http://{HOST}/", auth=IapAuth(), timeout=30)


def test_default_host_is_that_of_a_url_audience(world: World, auth: IapAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(world, monkeypatch, f"https://{OTHER_HOST}")
    monkeypatch.setenv("MLFLOW_IAP_AUDIENCE", f"https://{HOST}/*")
    assert {str(host) for host in auth.settings.hosts} == {HOST}
