"""CloudWatch Logs' filter patterns for JSON, as far as they are used here, by AWS's documentation of them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
A property that is missing or null equals nothing, differs from nothing, and is in no order: only NOT EXISTS finds it.
That is the narrower reading of what AWS leaves open, so a pattern that counts by it counts by any.
"""

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r'\s*(&&|\|\||[()]|\$\.\w+|NOT EXISTS|>=|<=|!=|[=<>]|"[^"]*"|-?\d+(?:\.\d+)?)')
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def matches(pattern: str, line: Mapping[str, Any]) -> bool:
    """Whether a line counts. Raises ValueError for a pattern that is none."""
    if not (pattern.startswith("{ ") and pattern.endswith(" }")):
        raise ValueError(f"{pattern!r} is not in braces")
    reading = _Reading(pattern[2:-2], line)
    result = reading.either()
    if reading.tokens:
        raise ValueError(f"{pattern!r} goes on with {reading.tokens}")
    return result


class _Reading:
    def __init__(self, text: str, line: Mapping[str, Any]) -> None:
        self.tokens: list[str] = []
        self._line = line
        place = 0
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise ValueError(f"{text[place:]!r} is not understood")
            self.tokens.append(found[1])
            place = found.end()

    def either(self) -> bool:
        result = self.both()
        while self._next_is("||"):
            result = self.both() or result
        return result

    def both(self) -> bool:
        result = self.one()
        while self._next_is("&&"):
            result = self.one() and result
        return result

    def one(self) -> bool:
        if self._next_is("("):
            result = self.either()
            if not self._next_is(")"):
                raise ValueError("a parenthesis is not closed")
            return result
        name, compared = self.tokens.pop(0), self.tokens.pop(0)
        if not name.startswith("$."):
            raise ValueError(f"{name!r} is no property")
        if compared == "NOT EXISTS":
            return name[2:] not in self._line
        return _compare(self._line.get(name[2:]), compared, self.tokens.pop(0))

    def _next_is(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            del self.tokens[0]
            return True
        return False


def _compare(value: Any, compared: str, literal: str) -> bool:
    if value is None:
        return False
    if literal.startswith('"'):
        same = isinstance(value, str) and fnmatch.fnmatchcase(value, literal.strip('"'))
    elif compared in _ORDER:
        return isinstance(value, int | float) and _ORDER[compared](value, float(literal))
    else:
        same = isinstance(value, int | float) and value == float(literal)
    if compared not in {"=", "!="}:
        raise ValueError(f"{compared} is not for texts")
    return same if compared == "=" else not same
