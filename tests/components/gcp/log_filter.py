"""An evaluator of the part of Cloud Logging's query language that is used here, written from Google's documentation.

https://cloud.google.com/logging/docs/view/logging-query-language. Each line is a comparison, and all must match; a
field that is missing or null compares with nothing, so that only its NOT holds.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from .helpers import PROJECT

_TERM = re.compile(
    r'(?P<not>NOT )?(?:log_id\("(?P<log>[^"]+)"\)'
    r"|(?P<path>[a-z]\w*(?:\.\w+)*)(?: (?P<is>=~|>=|<=|=|>|<) (?P<what>\"[^\"]*\"|[A-Z]+|\d+)|(?P<there>:\*)))"
)
_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def entry(line: str, *, service: str = "mlflow", log: str = "stdout") -> dict[str, Any]:
    """The log entry that Cloud Logging's agent creates from a line of a container's output.

    https://cloud.google.com/logging/docs/structured-logging
    """
    fields: dict[str, Any] = json.loads(line)
    head = {name: fields.pop(name) for name in ("severity", "httpRequest", "time") if name in fields}
    return {
        **head,
        "logName": f"projects/{PROJECT}/logs/appengine.googleapis.com%2F{log}",
        "resource": {"type": "gae_app", "labels": {"project_id": PROJECT, "module_id": service, "version_id": "v1"}},
        "jsonPayload": fields,
    }


def finds(query: str, logged: Mapping[str, Any]) -> bool:
    """Whether a query matches an entry. Raises ValueError for an invalid query."""
    results = [_holds(term, logged) for term in query.split("\n")]
    return all(results)


def _holds(text: str, logged: Mapping[str, Any]) -> bool:
    term = _TERM.fullmatch(text)
    if term is None:
        raise ValueError(f"{text!r} is not understood")
    return _positive(term, logged) != bool(term["not"])


def _positive(term: re.Match[str], logged: Mapping[str, Any]) -> bool:
    if term["log"]:
        return logged["logName"].endswith("/logs/" + term["log"].replace("/", "%2F"))
    value: Any = logged
    for part in term["path"].split("."):
        value = cast("Mapping[str, Any]", value).get(part) if isinstance(value, Mapping) else None
    if term["there"] or value is None:
        return value is not None
    if term["path"] == "severity":
        return _ORDER[term["is"]](_SEVERITIES.index(value), _SEVERITIES.index(term["what"]))
    what = term["what"].strip('"')
    if term["is"] == "=~":
        return re.search(what, str(value)) is not None
    return _ORDER[term["is"]](*((value, what) if term["what"].startswith('"') else (float(value), float(what))))
