"""Evaluates the subset of Cloud Logging's query language that the component uses, after Google's documentation.

https://cloud.google.com/logging/docs/view/logging-query-language. Each line is a comparison, and all have to
match. A comparison with a missing or null field is false, and its negation is true.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from .helpers import PROJECT

_TERM = re.compile(
    r'(?P<not>NOT )?(?:log_id\("(?P<log>[^"]+)"\)'
    r"|(?P<path>[a-z]\w*(?:\.\w+)*)(?: (?P<operator>=~|>=|<=|=|>|<) (?P<value>\"[^\"]*\"|[A-Z]+|\d+)|(?P<exists>:\*)))"
)
_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def log_entry(line: str, *, service: str = "mlflow", log: str = "stdout") -> dict[str, Any]:
    """The log entry that Cloud Logging's agent creates from a line of a container's output.

    https://cloud.google.com/logging/docs/structured-logging
    """
    fields: dict[str, Any] = json.loads(line)
    entry_fields = {name: fields.pop(name) for name in ("severity", "httpRequest", "time") if name in fields}
    return {
        **entry_fields,
        "logName": f"projects/{PROJECT}/logs/appengine.googleapis.com%2F{log}",
        "resource": {"type": "gae_app", "labels": {"project_id": PROJECT, "module_id": service, "version_id": "v1"}},
        "jsonPayload": fields,
    }


def matches(query: str, entry: Mapping[str, Any]) -> bool:
    """Whether a query matches an entry. Raises ValueError for an invalid query."""
    results = [_term_matches(term, entry) for term in query.split("\n")]
    return all(results)


def _term_matches(text: str, entry: Mapping[str, Any]) -> bool:
    term = _TERM.fullmatch(text)
    if term is None:
        raise ValueError(f"{text!r} is not a valid comparison")
    return _without_negation(term, entry) != bool(term["not"])


def _without_negation(term: re.Match[str], entry: Mapping[str, Any]) -> bool:
    if term["log"]:
        return entry["logName"].endswith("/logs/" + term["log"].replace("/", "%2F"))
    value: Any = entry
    for part in term["path"].split("."):
        value = cast("Mapping[str, Any]", value).get(part) if isinstance(value, Mapping) else None
    if term["exists"] or value is None:
        return value is not None
    if term["path"] == "severity":
        return _ORDER[term["operator"]](_SEVERITIES.index(value), _SEVERITIES.index(term["value"]))
    operand = term["value"].strip('"')
    if term["operator"] == "=~":
        return re.search(operand, str(value)) is not None
    return _ORDER[term["operator"]](
        *((value, operand) if term["value"].startswith('"') else (float(value), float(operand)))
    )
