"""Finds the endpoint of a request.

Servers route on the percent-decoded path: `/api/2.0/mlflow/runs%2Fdelete` is runs/delete to them. A path is therefore
matched by its decoded form, and one that servers could read in two ways is rejected.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from .route import Endpoint


class InvalidPathError(ValueError):
    """A path that is never forwarded; the message is the reason."""


class Match(NamedTuple):
    """The endpoint of a request, and its path parameters: percent-decoded values by name."""

    endpoint: Endpoint
    parameters: Mapping[str, str]


# Segments of characters that RFC 3986 allows unencoded, none of them empty, . or ..
_PLAIN = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]++)+/?")
_ENCODED_SLASH = re.compile("%2[Ff]")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
# Of the control characters, only a tab, which keys of tags may contain. A server on Windows may read a backslash as a
# slash.
_FORBIDDEN = re.compile(r"(?P<empty>[/\\]{2})|(?P<dots>[/\\]\.\.?(?=[/\\]|\Z))|(?P<control>[\0-\x08\n-\x1f\x7f-\x9f])")
_REASONS = {
    "empty": "it has an empty segment (//)",
    "dots": "it has a . or .. segment",
    "control": "it has a control character",
}


_NO_PARAMETERS: Mapping[str, str] = {}
_Tail = tuple[re.Pattern[str], Endpoint]


@dataclass(slots=True)
class _Node:
    """A node in the tree of templates with parameters: what may follow the segments so far."""

    literals: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    parameter: "_Node | None" = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    # By method: templates that end in more than plain segments, tried in order against the rest of the path.
    tails: dict[str, list[_Tail]] = field(default_factory=dict[str, list[_Tail]])


class Router:
    """Finds endpoints by method and path. Of two for the same method and template, the later one is used."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._static: dict[tuple[str, str], Match] = {}
        self._tree = _Node()
        merged: dict[tuple[str, str], Endpoint] = {}
        for endpoint in endpoints:
            key = endpoint.route.method, endpoint.route.template
            merged[key] = replace(endpoint, fallback=merged.get(key)) if endpoint.condition else endpoint
        for endpoint in merged.values():
            self._insert(endpoint)
        methods = {endpoint.route.method for endpoint in merged.values()}
        self._methods = sorted(methods | {"HEAD"} if "GET" in methods else methods)

    def match(self, method: str, path: str) -> Match | None:
        """The endpoint for a method in capitals and a raw path without its query; None if there is none.

        Raises InvalidPathError for a path that servers and proxies interpret in different ways.
        """
        if method == "HEAD":
            method = "GET"
        # Nearly every request ends here: a static path has nothing to decode or to reject.
        if (found := self._static.get((method, path))) is not None:
            return found
        if _PLAIN.fullmatch(path):
            return self._find(method, path)
        decoded = _decode(path)
        found = self._find(method, decoded)
        # Some servers read an encoded slash as a slash, others as part of a segment.
        masked = _ENCODED_SLASH.sub("\0", path)
        if masked != path and _endpoint(self._find(method, _unquote(masked))) is not _endpoint(found):
            raise InvalidPathError("an encoded slash makes it ambiguous")
        slashed = decoded.replace("\\", "/")
        if slashed != decoded and _endpoint(self._find(method, slashed)) is not _endpoint(found):
            raise InvalidPathError("a backslash makes it ambiguous")
        return found

    def methods(self, path: str) -> list[str]:
        """The methods for which a raw path has an endpoint, in alphabetical order. Raises as ``match`` does."""
        return [method for method in self._methods if self.match(method, path) is not None]

    def _find(self, method: str, path: str) -> Match | None:
        if (found := self._static.get((method, path))) is not None:
            return found
        segments = path.split("/")
        return _descend(self._tree, method, segments, 1, ())

    def _insert(self, endpoint: Endpoint) -> None:
        method, template = endpoint.route.method, endpoint.route.template
        if "<" not in template:
            self._static[method, template] = Match(endpoint, _NO_PARAMETERS)
            return
        node = self._tree
        segments = template.split("/")[1:]
        for at, segment in enumerate(segments):
            if _PARAMETER.fullmatch(segment):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            elif "<" not in segment:
                node = node.literals.setdefault(segment, _Node())
            else:
                node.tails.setdefault(method, []).append((_tail("/".join(segments[at:])), endpoint))
                return
        node.endpoints[method] = endpoint


def _endpoint(match: Match | None) -> Endpoint | None:
    return match.endpoint if match else None


def _descend(node: _Node, method: str, segments: list[str], at: int, values: tuple[str, ...]) -> Match | None:
    """Literals take precedence over parameters, these over tails, as in werkzeug. The tree's depth bounds the work."""
    if at == len(segments):
        endpoint = node.endpoints.get(method)
        return Match(endpoint, dict(zip(_names(endpoint), values, strict=True))) if endpoint else None
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None and (found := _descend(literal, method, segments, at + 1, values)) is not None:
        return found
    if not segment:
        return None
    if node.parameter is not None:
        found = _descend(node.parameter, method, segments, at + 1, (*values, segment))
        if found is not None:
            return found
    if (tails := node.tails.get(method)) is not None:
        rest = "/".join(segments[at:])
        for pattern, endpoint in tails:
            if (fits := pattern.fullmatch(rest)) is not None:
                earlier = zip(_names(endpoint), values, strict=False)
                return Match(endpoint, {**dict(earlier), **fits.groupdict()})
    return None


_PARAMETER = re.compile(r"<(\w+)>")
_ANY_PARAMETER = re.compile(r"<(?:path:)?(\w+)>")
_PATH_PARAMETER = re.compile(r"<path:(\w+)>")


def _names(endpoint: Endpoint) -> list[str]:
    return _ANY_PARAMETER.findall(endpoint.route.template)


def _tail(template: str) -> re.Pattern[str]:
    """A pattern for a template from its first segment with more than a plain parameter; linear in the path's length.

    Each ``<path:x>`` but the last matches as little as possible, without backtracking; the last one matches the rest.
    """
    start, *parts = _PATH_PARAMETER.split(template)
    names, texts = parts[::2], [_segments(text) for text in parts[1::2]]
    if not names:
        return re.compile(_segments(start))
    earlier = "".join(f"(?>(?P<{name}>.*?){text})" for name, text in zip(names[:-1], texts[:-1], strict=True))
    return re.compile(f"{_segments(start)}{earlier}(?P<{names[-1]}>.*){texts[-1]}", re.DOTALL)


def _segments(text: str) -> str:
    literal, *parts = _PARAMETER.split(text)
    named = "".join(f"(?P<{name}>[^/]+){re.escape(rest)}" for name, rest in zip(parts[::2], parts[1::2], strict=True))
    return re.escape(literal) + named


def _decode(path: str) -> str:
    """The percent-decoded path. Raises InvalidPathError if servers may decode it in different ways."""
    if not path.startswith("/"):
        raise InvalidPathError("it does not start with /")
    # A request line has no fragment; some servers cut the path there.
    if "#" in path:
        raise InvalidPathError("it has a fragment (#)")
    # Browsers and some servers read it as a slash.
    if "\\" in path:
        raise InvalidPathError("it has a backslash that is not percent-encoded")
    if "\t" in path:
        raise InvalidPathError("it has a tab that is not percent-encoded")
    if _BAD_ESCAPE.search(path):
        raise InvalidPathError("it has a % without two hexadecimal digits")
    decoded = _unquote(path)
    if found := _FORBIDDEN.search(decoded):
        raise InvalidPathError(_REASONS[found.lastgroup or ""])
    return decoded


def _unquote(path: str) -> str:
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeError:
        raise InvalidPathError("it is not UTF-8") from None
