"""Canonical paths and queries: the encoding keeps the meaning of the URL and is unique."""

import re
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_app.routing import InvalidPathError
from proxy_app.sigv4 import canonical_path, canonical_query, encoded_query
from tests.doubles.routes import match_route
from tests.proxy_app.url_strategies import PATHS, QUERIES

ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~]|%[0-9A-F]{2})*")


def _segments(path: str) -> list[bytes]:
    return [unquote_to_bytes(segment) for segment in path.split("/")]


def _meaning(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, errors="surrogateescape")


@given(PATHS)
def test_path_keeps_its_meaning_when_encoded(path: str) -> None:
    sent = canonical_path(path)
    assert all(ENCODED.fullmatch(segment) for segment in sent.split("/"))
    assert _segments(sent) == _segments(path)
    assert canonical_path(sent) == sent


@given(QUERIES)
def test_query_keeps_its_meaning_and_its_order_when_encoded(query: str) -> None:
    sent = encoded_query(query)
    pairs = [tuple(pair.split("=")) for pair in sent.split("&")] if sent else []
    assert all(len(pair) == 2 and all(map(ENCODED.fullmatch, pair)) for pair in pairs)
    assert _meaning(sent) == _meaning(query)
    assert encoded_query(sent) == sent


@given(QUERIES)
def test_canonical_query_has_the_same_pairs_sorted_by_name_then_value(query: str) -> None:
    sent = encoded_query(query)
    signed = canonical_query(sent)
    pairs = [tuple(pair.split("=")) for pair in signed.split("&")] if signed else []
    assert pairs == sorted(tuple(pair.split("=")) for pair in sent.split("&") if sent)
    assert canonical_query(signed) == signed


@given(st.permutations(["run_ids=2", "run_ids=1", "run_ids=1", "a=", "a-b=1", "A=1", "%61=0", "%C3%A9=1", "z"]))
def test_canonical_query_does_not_depend_on_the_order_of_the_parameters(pairs: list[str]) -> None:
    signed = canonical_query(encoded_query("&".join(pairs)))
    assert signed == "%C3%A9=1&A=1&a=&a=0&a-b=1&run_ids=1&run_ids=1&run_ids=2&z="


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("a+b", "a%2Bb"),
        ("a%2Fb", "a%2Fb"),
        ("a%2fb", "a%2Fb"),
        ("%7E", "~"),
        ("it's", "it%27s"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("a=b,c;d:e@f", "a%3Db%2Cc%3Bd%3Ae%40f"),
        ("é", "%C3%A9"),
        ("%FF", "%FF"),
    ],
)
def test_special_characters_in_a_path_are_encoded(raw: str, sent: str) -> None:
    assert canonical_path(f"/x/{raw}") == f"/x/{sent}"


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        ("", ""),
        ("a", "a="),
        ("a=", "a="),
        ("=a", "=a"),
        ("a=b=c", "a=b%3Dc"),
        ("a+b=c+d", "a%20b=c%20d"),
        ("a=%2B", "a=%2B"),
        ("a=1&&b=2&", "a=1&b=2"),
        ("b=1&a=2&a=1", "b=1&a=2&a=1"),
        ("order_by=version_number+DESC&order_by=name", "order_by=version_number%20DESC&order_by=name"),
        ("a=1;b=2", "a=1%3Bb%3D2"),
        ("path=dir/it's (1)*!:a", "path=dir%2Fit%27s%20%281%29%2A%21%3Aa"),
        ("f=params.`a%25` = '5'", "f=params.%60a%25%60%20%3D%20%275%27"),
    ],
)
def test_special_characters_in_a_query_are_encoded(raw: str, sent: str) -> None:
    assert encoded_query(raw) == sent


@given(PATHS.map(lambda path: "/api/2.0/mlflow-artifacts/artifacts" + path))
def test_canonical_path_matches_the_same_route(path: str) -> None:
    try:
        route = match_route("PUT", path)
    except InvalidPathError:
        return
    assert match_route("PUT", canonical_path(path)) is route
