"""An evaluator of CloudWatch Logs filter patterns for JSON, for the part of the syntax that this project uses.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
A comparison with a missing or null property is false, also with !=; NOT EXISTS is true for a missing property. AWS does
not document all of these cases; this is the strictest interpretation, so a match here is a match in CloudWatch.
"""

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
    """Whether a log line matches. Raises ValueError for an invalid pattern."""
    if not (pattern.startswith("{ ") and pattern.endswith(" }")):
        raise ValueError(f"{pattern!r} has no braces around it")
    parser = _Parser(pattern[2:-2], line)
    result = parser.or_expression()
    if parser.tokens:
        raise ValueError(f"{pattern!r} has unexpected tokens: {parser.tokens}")
    return result


class _Parser:
    def __init__(self, text: str, line: Mapping[str, Any]) -> None:
        self.tokens: list[str] = []
        self._line = line
        position = 0
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise ValueError(f"{text[position:]!r} is no valid token")
            self.tokens.append(found[1])
            position = found.end()

    def or_expression(self) -> bool:
        result = self.and_expression()
        while self._next_is("||"):
            result = self.and_expression() or result
        return result

    def and_expression(self) -> bool:
        result = self.comparison()
        while self._next_is("&&"):
            result = self.comparison() and result
        return result

    def comparison(self) -> bool:
        if self._next_is("("):
            result = self.or_expression()
            if not self._next_is(")"):
                raise ValueError("a parenthesis is not closed")
            return result
        name, operation = self.tokens.pop(0), self.tokens.pop(0)
        if not name.startswith("$."):
            raise ValueError(f"{name!r} is not a property selector")
        if operation == "NOT EXISTS":
            return name[2:] not in self._line
        return _compare(self._line.get(name[2:]), operation, self.tokens.pop(0))

    def _next_is(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            del self.tokens[0]
            return True
        return False


def _compare(value: Any, comparison: str, literal: str) -> bool:
    if value is None:
        return False
    if literal.startswith('"'):
        # The only wildcard is *.
        regex = ".*".join(re.escape(part) for part in literal.strip('"').split("*"))
        equal = isinstance(value, str) and re.fullmatch(regex, value) is not None
    elif comparison in _ORDER:
        return isinstance(value, int | float) and _ORDER[comparison](value, float(literal))
    else:
        equal = isinstance(value, int | float) and value == float(literal)
    if comparison not in {"=", "!="}:
        raise ValueError(f"{comparison} does not apply to strings")
    return equal if comparison == "=" else not equal
