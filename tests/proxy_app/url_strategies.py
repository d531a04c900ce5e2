"""Hypothesis strategies for paths and queries, valid and invalid, with characters that clients often encode wrongly."""

from urllib.parse import unquote_to_bytes

from hypothesis import strategies as st

LETTERS = "abcABC019-._~ +'\"!*()$,:;@=/?&%#[]{}|^`<>é漢🙂\u00a0\u2028"
ESCAPES = ["%20", "%2B", "%2b", "%2F", "%2f", "%25", "%26", "%3D", "%3d", "%27", "%7E", "%00"]
MORE_ESCAPES = ["%C3%A9", "%e6%bc%a2", "%FF", "%zz", "%4"]


def _text(excluded: str) -> st.SearchStrategy[str]:
    atoms = [*(letter for letter in LETTERS if letter not in excluded), *ESCAPES, *MORE_ESCAPES]
    return st.lists(st.sampled_from(atoms), max_size=8).map("".join)


def _is_valid_segment(segment: str) -> bool:
    return unquote_to_bytes(segment) not in {b"", b".", b".."}


PATHS = st.lists(_text("/?#").filter(_is_valid_segment), min_size=1, max_size=5).flatmap(
    lambda segments: st.sampled_from(["", "/"]).map(lambda end: "/" + "/".join(segments) + end)
)
PAIRS = st.one_of(
    st.just(""),
    _text("&=#"),
    st.tuples(_text("&=#"), _text("&#")).map("=".join),
    st.sampled_from(["run_ids=1", "run_ids=2", "a", "a=", "=a", "=", "a=b=c", "a;b=c;d", "a+b=c+d", "a%2Bb"]),
)
QUERIES = st.lists(PAIRS, max_size=6).map("&".join)
