"""What a request asks of MLflow: its route in the table, or a refusal of its path.

Servers route on the percent-decoded path: `/api/2.0/mlflow/runs%2Fdelete` is runs/delete to them. So a path is judged
by what it decodes to, once, and one that could be read in two ways is refused.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from .callers import Role
from .route_table import OLDER, TABLE


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path of MLflow's. ``template`` names the path's parameters instead of their values.

    ``replay``: it does no harm if it comes again after its answer was lost.
    """

    method: str
    template: str
    family: str
    role: Role
    replay: bool


class PathRefused(Exception):
    """A path that no server should be asked for; its text says what is wrong with it."""


# Segments of the characters that RFC 3986 lets stand unencoded, none of them empty, . or ..
_PLAIN = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]++)+/?")
_ENCODED_SLASH = re.compile("%2[Ff]")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = re.compile(r"(?P<empty>//)|(?P<dots>/\.\.?(?=/|\Z))|(?P<backslash>\\)|(?P<control>[\0-\x1f\x7f-\x9f])")
_REASONS = {
    "empty": "it has an empty segment (//)",
    "dots": "it has a . or .. segment",
    "backslash": "it has a backslash",
    "control": "it has a control character",
}


def match(method: str, path: str) -> Route | None:
    """The route of a request; None if the table has none.

    ``method`` is in capitals, as HTTP has it; ``path`` is the raw path, percent-encoded, without the query.
    Raises PathRefused for what servers and proxies read in different ways.
    """
    if method == "HEAD":
        method = "GET"
    # Nearly every request ends here. A path that the table holds as it stands has nothing to decode or to refuse.
    if (route := _STATIC.get((method, path))) is not None:
        return route
    if _PLAIN.fullmatch(path):
        return _find(method, path)
    route = _find(method, _decode(path))
    # An encoded slash is a slash to servers, and part of a name to whoever splits the path first.
    masked = _ENCODED_SLASH.sub("\0", path)
    if masked != path and _find(method, _unquote(masked)) is not route:
        raise PathRefused("an encoded slash lets it be read in two ways")
    return route


def _decode(path: str) -> str:
    """The path as servers see it. PathRefused if they might differ."""
    if not path.startswith("/"):
        raise PathRefused("it does not start with /")
    # No request line has one; a client that is handed it would cut the path there.
    if "#" in path:
        raise PathRefused("it has a fragment (#)")
    if _BAD_ESCAPE.search(path):
        raise PathRefused("it has a % without two hexadecimal digits")
    decoded = _unquote(path)
    if found := _FORBIDDEN.search(decoded):
        raise PathRefused(_REASONS[found.lastgroup or ""])
    return decoded


def _unquote(path: str) -> str:
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeError:
        raise PathRefused("it is not UTF-8") from None


_Tail = tuple[Callable[[str], object], Route]


@dataclass(slots=True)
class _Node:
    """A place in the tree of routes with parameters: what may follow the segments so far."""

    literals: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    parameter: "_Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict[str, Route])
    # By method: routes that end in more than segments, tried in order against the rest of the path.
    tails: dict[str, list[_Tail]] = field(default_factory=dict[str, list[_Tail]])


_STATIC: dict[tuple[str, str], Route] = {}
_TREE = _Node()
_PARAMETER = re.compile(r"<\w+>")
_PATH_PARAMETER = re.compile(r"<path:\w+>")


def _find(method: str, path: str) -> Route | None:
    return _STATIC.get((method, path)) or _descend(_TREE, method, path.split("/"), 1)


def _descend(node: _Node, method: str, segments: list[str], at: int) -> Route | None:
    """Literals before parameters before tails, as werkzeug has it; the tree's depth bounds the work."""
    if at == len(segments):
        return node.routes.get(method)
    segment = segments[at]
    for child in (node.literals.get(segment), node.parameter if segment else None):
        if child is not None and (route := _descend(child, method, segments, at + 1)) is not None:
            return route
    if segment and (tails := node.tails.get(method)) is not None:
        rest = "/".join(segments[at:])
        return next((route for fits, route in tails if fits(rest)), None)
    return None


def _tail(template: str) -> Callable[[str], object]:
    """Whether a text fits the template from its first part on that is not a segment, in time linear in the text.

    All but the last `<path:x>` end at the first place where they can, once and for all; the last takes the most it can.
    """
    *earlier, last = [_PARAMETER.sub("[^/]+", re.escape(part)) for part in _PATH_PARAMETER.split(template)]
    if not earlier:
        return re.compile(last).fullmatch
    start, *between = earlier
    return re.compile(start + "".join(f"(?>.*?{part})" for part in between) + ".*" + last, re.DOTALL).fullmatch


def _insert(route: Route) -> None:
    if "<" not in route.template:
        _STATIC[route.method, route.template] = route
        return
    node = _TREE
    segments = route.template.split("/")[1:]
    for at, segment in enumerate(segments):
        if _PARAMETER.fullmatch(segment):
            node.parameter = node.parameter or _Node()
            node = node.parameter
        elif "<" not in segment:
            node = node.literals.setdefault(segment, _Node())
        else:
            node.tails.setdefault(route.method, []).append((_tail("/".join(segments[at:])), route))
            return
    node.routes[route.method] = route


def _parse(table: str) -> Iterator[Route]:
    family = ""
    for line in table.splitlines():
        text = line.partition("#")[0].split()
        if len(text) == 1:
            family = text[0].strip("[]")
        elif text:
            methods, role, times, path = text
            replay = {"again": True, "once": False}[times]
            templates = [path, "/ajax-" + path[1:]] if path.startswith("/api/") else [path]
            for template, method in itertools.product(templates, methods.split(",")):
                yield Route(method, template, family, Role[role.upper()], replay)


ROUTES = (*_parse(TABLE), *_parse(OLDER))
for _route in ROUTES:
    _insert(_route)
