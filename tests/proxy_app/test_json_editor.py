"""JsonEditor against a model that parses the document, on random documents in random chunks."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_app.artifacts.json_editor import JsonEditor, Leaf, Paths

TAGS = frozenset({"located"})
PATHS: Paths = {
    b"a": Leaf.LOCATION,
    b"b": {None: {b"a": Leaf.LOCATION, b"c": {b"a": Leaf.LOCATION}}},
    b"tags": {None: {b"key": Leaf.TAG_NAME, b"value": Leaf.TAG_LOCATION}},
    b"map": {b"located": Leaf.LOCATION},
}


def edit(text: str) -> str:
    return text.replace("s3:", "x\n:") if text.startswith("s3:") else text


class Members(list[tuple[str, Any]]):
    """An object: its members in order, duplicates included."""


class Raw(str):
    """A number, or a constant, as it is written."""


def parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Members, parse_int=Raw, parse_float=Raw, parse_constant=Raw)


def model(value: Any, paths: "Paths | Leaf | None", tag: str | None = None) -> Any:
    """The value as it should be edited."""
    if isinstance(value, Members):
        below = paths if isinstance(paths, dict) else {}
        members, tag = Members(), None
        for name, item in value:
            leaf = below.get(name.encode(errors="surrogatepass"))
            if leaf is Leaf.TAG_NAME and type(item) is str:
                tag = item
            members.append((name, model(item, leaf, tag)))
        return members
    if isinstance(value, list):
        return [model(item, paths.get(None) if isinstance(paths, dict) else None) for item in value]  # pyright: ignore[reportUnknownVariableType]
    edited = paths is Leaf.LOCATION or (paths is Leaf.TAG_LOCATION and tag in TAGS)
    return edit(value) if edited and type(value) is str else value


def in_chunks(editor: JsonEditor, document: bytes, cuts: list[int]) -> bytes:
    ends = sorted({cut % (len(document) + 1) for cut in cuts} | {len(document)})
    starts = [0, *ends]
    return b"".join(editor.feed(document[a:b]) for a, b in zip(starts, ends, strict=False)) + editor.finish()


NAMES = st.sampled_from(["a", "b", "c", "tags", "map", "key", "value", "located", "ü", '"', "\\", "{", ""])
NUMBERS = st.sampled_from(["0", "-1", "9007199254740993", "18446744073709551617", "1e400", "0.10", "1E+2", "NaN"])
STRINGS = st.text(max_size=8) | st.sampled_from(
    ["s3://b", "located", '"s3:', "s3:\\", "}", "]", '\\"', "\ud800", "s3:ü"]
)
VALUES = st.recursive(
    STRINGS.map(lambda text: ("text", text)) | NUMBERS.map(lambda text: ("raw", text)) | st.just(("raw", "null")),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: ("list", items))
        | st.lists(st.tuples(NAMES, inner), max_size=5).map(lambda items: ("object", items))
    ),
    max_leaves=30,
)
SPACES = st.sampled_from(["", "", " ", "\n\t\r "])


@st.composite
def documents(draw: st.DrawFn) -> str:
    space: Callable[[], str] = lambda: draw(SPACES)  # noqa: E731

    def string(text: str) -> str:
        written = json.dumps(text, ensure_ascii=draw(st.booleans()) or not _encodable(text))
        if "\\" in written or draw(st.integers(0, 9)):
            return written
        return written.replace("a", "\\u0061")

    def write(value: tuple[str, Any]) -> str:
        kind, content = value
        if kind == "raw":
            return content
        if kind == "text":
            return string(content)
        if kind == "list":
            parts = [write(item) for item in content]
        else:
            parts = [f"{string(name)}{space()}:{space()}{write(item)}" for name, item in content]
        opening, closing = "[]" if kind == "list" else "{}"
        return opening + space() + f"{space()},{space()}".join(parts) + space() + closing

    # Most documents have the paths.
    root = draw(VALUES)
    known = [(name, draw(VALUES)) for name in draw(st.lists(st.sampled_from(["a", "map"]), max_size=2))]
    lists = draw(st.lists(st.sampled_from(["b", "tags"]), max_size=2))
    known += [(name, ("list", draw(st.lists(VALUES, max_size=3)))) for name in lists]
    tag = [("key", ("text", draw(st.sampled_from(["located", "other"])))), ("value", ("text", "s3:x"))]
    known.append(("tags", ("list", [("object", tag)])))
    return space() + write(("object", known) if draw(st.booleans()) else root) + space()


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(document=documents(), cuts=CUTS)
@example(document='{"a": "s3:x"}', cuts=list(range(20)))
@example(document='{"b": [[{"a": "s3:"}], {"a": "s3:", "c": {"a": "s3:"}, "d": {"a": "s3:"}}]}', cuts=list(range(90)))
@example(document='{"tags": [{"value": "s3:", "key": "located", "value": "s3:"}, {"value": "s3:"}]}', cuts=[])
@example(document='{"\\u0061": "\\u00733:", "a": "s3:", "a": ["s3:"], "": {"a": "s3:"}}', cuts=[])
def test_only_strings_at_the_paths_are_edited(document: str, cuts: list[int]) -> None:
    output = in_chunks(JsonEditor(PATHS, TAGS, edit), document.encode(), cuts)
    assert parse(output.decode()) == model(parse(document), PATHS)


@given(document=documents(), cuts=CUTS)
def test_document_without_an_edit_keeps_each_byte(document: str, cuts: list[int]) -> None:
    assert in_chunks(JsonEditor(PATHS, TAGS, str), document.encode(), cuts) == document.encode()


@given(document=st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ab 1', max_size=60).map(str.encode), cuts=CUTS)
def test_what_is_not_json_passes(document: bytes, cuts: list[int]) -> None:
    assert in_chunks(JsonEditor(PATHS, TAGS, str), document, cuts) == document


@pytest.mark.parametrize(
    "start",
    ['{"a": "', '{"x": "', '{"', '{"x": {"y": "', '{"a"', '{"a":', "[", '{"x": ' + "[" * 50, '{"x": "\\'],
    ids=repr,
)
def test_pending_bytes_are_bounded(start: str) -> None:
    editor = JsonEditor(PATHS, TAGS, edit)
    received = len(editor.feed(start.encode()))
    for count in range(1, 65):
        received += len(editor.feed(b" " * 65_536))
        assert len(start) + count * 65_536 - received <= 200_000


def test_location_longer_than_the_limit_passes_unchanged() -> None:
    document = json.dumps({"a": "s3:" + "x" * 300_000, "b": [{"a": "s3:"}]}).encode()
    chunks = list(range(0, len(document), 10_000))
    assert in_chunks(JsonEditor(PATHS, TAGS, edit), document, chunks) == document.replace(
        b'"a": "s3:"', b'"a": "x\\n:"'
    )
