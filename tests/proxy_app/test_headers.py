"""Which headers pass, up and down: lists, and properties over every way to write a name."""

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy_app.headers import to_client, to_upstream
from tests.doubles.request_factory import make_request

Pairs = Sequence[tuple[str, str]]

# What would lend a caller the proxy's voice, or is about the caller's own connection.
NEVER_UP = [
    *("authorization", "cookie", "host", "origin", "referer", "expect", "forwarded", "x-real-ip", "x-request-id"),
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"),
    *("proxy-connection", "proxy-authorization", "proxy-authenticate"),
    *("x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "x-amz-target", "x-amz-anything-new"),
    *("x-mlflow-sm-tracking-server-arn", "x-sm-mlflow-app-arn"),
    *("x-amzn-oidc-data", "x-amzn-oidc-identity", "x-amzn-oidc-accesstoken", "x-amzn-mtls-clientcert"),
    *("x-goog-iap-jwt-assertion", "x-goog-authenticated-user-email"),
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-user"),
    *("sec-fetch-site", "sec-fetch-mode", "sec-websocket-key"),
]
UP = [
    *("accept", "accept-encoding", "content-encoding", "content-type", "user-agent", "cache-control"),
    *("range", "if-none-match", "if-modified-since", "traceparent", "tracestate"),
    *("x-mlflow-workspace", "x-mlflow-experiment-id", "x-forward", "x-amz", "xamz-date", "x-my-header"),
]
NEVER_DOWN = [
    *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"),
    *("set-cookie", "strict-transport-security", "alt-svc", "server", "date", "x-request-id"),
    *("proxy-authenticate", "www-authenticate"),
]
DOWN = [
    *("content-type", "content-encoding", "content-disposition", "content-range", "accept-ranges"),
    *("etag", "last-modified", "cache-control", "vary", "retry-after", "location", "x-mlflow-anything"),
]

ORIGIN = "https://eu-west-1.experiments.sagemaker.aws"


def up(pairs: Pairs) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in to_upstream(make_request(CIMultiDict(pairs)))]


def down(pairs: Pairs, origin: str = ORIGIN) -> list[tuple[str, str]]:
    kept = to_client([(name.encode(), value.encode()) for name, value in pairs], origin)
    return [(name.decode(), value.decode()) for name, value in kept]


@st.composite
def cased(draw: st.DrawFn, names: list[str]) -> str:
    """One of these names, each letter in capitals or not."""
    name = draw(st.sampled_from(names))
    capitals = draw(st.integers(0, 2 ** len(name) - 1))
    return "".join(letter.upper() if capitals >> at & 1 else letter for at, letter in enumerate(name))


def pairs_of(names: list[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    return st.lists(st.tuples(cased(names), st.sampled_from(["a", "b", "close", "1, 2"])), max_size=8)


# --- To the upstream


@pytest.mark.parametrize("name", NEVER_UP)
def test_this_never_reaches_the_upstream(name: str) -> None:
    for written in (name, name.upper(), name.title()):
        assert up([("Accept", "*/*"), (written, "x")]) == [("Accept", "*/*")]


@pytest.mark.parametrize("name", UP)
def test_this_reaches_the_upstream_as_sent(name: str) -> None:
    assert up([(name.title(), "One,  two"), (name, "three")]) == [(name.title(), "One,  two"), (name, "three")]


@given(pairs_of(NEVER_UP + UP))
def test_however_they_are_written_only_those_reach_the_upstream_in_order(pairs: list[tuple[str, str]]) -> None:
    assert up(pairs) == [(name, value) for name, value in pairs if name.lower() in UP]


@given(cased([name for name in NEVER_UP if "-" in name]), st.data())
def test_no_look_alike_with_underscores_reaches_the_upstream(name: str, data: st.DataObject) -> None:
    # CGI-like servers read x_amz_date and X-Amz_Date as x-amz-date.
    dashes = [at for at, letter in enumerate(name) if letter == "-"]
    turned = data.draw(st.sets(st.sampled_from(dashes), min_size=1))
    look_alike = "".join("_" if at in turned else letter for at, letter in enumerate(name))
    assert up([(look_alike, "x"), ("Accept", "*/*")]) == [("Accept", "*/*")]


@pytest.mark.parametrize(
    "connection",
    [
        ["X-One, X-Two"],
        ["x-one,x-two"],
        ["close, X-ONE , x-two"],
        ["keep-alive, X-One", "X-Two"],
        ["close", "x-two,x-one,"],
        ["X-One,,, X-Two, authorization"],
    ],
)
def test_what_connection_names_is_for_one_hop(connection: list[str]) -> None:
    named = [("X-One", "1"), ("x-two", "2"), ("X-ONE", "3")]
    kept = [("X-Three", "3"), ("Accept", "*/*")]
    assert up([*named, *kept, *(("Connection", value) for value in connection)]) == kept
    assert down([*named, *kept, *(("connection", value) for value in connection)]) == kept


@pytest.mark.parametrize("connection", ["close", "Keep-Alive", "keep-alive", ""])
def test_a_usual_connection_header_names_nothing(connection: str) -> None:
    assert up([("X-One", "1"), ("Connection", connection)]) == [("X-One", "1")]
    assert down([("X-One", "1"), ("Connection", connection)]) == [("X-One", "1")]


# --- To the caller


@pytest.mark.parametrize("name", NEVER_DOWN)
def test_this_never_comes_down(name: str) -> None:
    for written in (name, name.upper(), name.title()):
        assert down([("ETag", "e"), (written, "x")]) == [("ETag", "e")]


@given(pairs_of(NEVER_DOWN + DOWN))
def test_however_they_are_written_only_those_come_down_in_order(pairs: list[tuple[str, str]]) -> None:
    assert down(pairs) == [(name, value) for name, value in pairs if name.lower() in DOWN]


@pytest.mark.parametrize(
    ("said", "values"),
    [
        (f"{ORIGIN}/api/2.0/x?a=1#f", "/api/2.0/x?a=1#f"),
        (f"{ORIGIN}/", "/"),
        ("/relative", "/relative"),
        ("relative", "relative"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"{ORIGIN}.evil.example/x", f"{ORIGIN}.evil.example/x"),
        (f"{ORIGIN}:8443/x", f"{ORIGIN}:8443/x"),
        # Cut short, these would lead to another host.
        (f"{ORIGIN}//evil.example/x", f"{ORIGIN}//evil.example/x"),
        (f"{ORIGIN}/\\evil.example/x", f"{ORIGIN}/\\evil.example/x"),
        (f"{ORIGIN}/\t/evil.example/x", f"{ORIGIN}/\t/evil.example/x"),
        ("https://bucket.s3.amazonaws.com/key?X-Amz-Signature=1",) * 2,
    ],
)
def test_a_redirect_within_the_upstream_stays_within_the_proxy(said: str, values: str) -> None:
    assert down([("Location", said), ("ETag", said)]) == [("Location", values), ("ETag", said)]


def test_a_header_that_comes_twice_comes_down_twice() -> None:
    assert down([("Vary", "a"), ("Vary", "b")]) == [("Vary", "a"), ("Vary", "b")]


def test_a_header_of_other_bytes_comes_down_as_sent() -> None:
    sent = [(b"X-Name", b"caf\xe9"), (b"Location", b"/caf\xe9"), (b"x-other", "é".encode())]
    assert to_client(sent, ORIGIN) == sent


def test_long_names_are_not_remembered() -> None:
    tracemalloc.start()
    try:
        for number in range(200):
            name = f"{number}".ljust(50_000, "x")
            assert up([(name, "1")]) == [(name, "1")]
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
