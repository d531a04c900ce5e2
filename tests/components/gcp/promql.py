"""A checker of the PromQL of the alerts: names are known, and parentheses are balanced.

https://cloud.google.com/monitoring/promql/promql-mapping; log-based metrics want monitored_resource.
"""

import re
from collections.abc import Mapping

from .monitoring_filter import RESOURCES, Metric

_TOKEN = re.compile(
    r'\s*(?:(?P<metric>\w+:\w+)\{(?P<labels>\w+="[^"]*"(?:,\w+="[^"]*")*)\}\[\d+m\]'
    r"|(?P<word>[a-z_]+)|\d+(?:\.\d+)?|>|,|(?P<open>\()|(?P<close>\)))"
)
_WORDS = frozenset({"and", "by", "histogram_quantile", "increase", "le", "on", "sum"})


def selectors(query: str, own: Mapping[str, Metric]) -> list[tuple[str, Mapping[str, str]]]:
    """(metric type, labels) of each selector of a query. Raises ValueError for an invalid query."""
    parts = {name: "" for name, metric in own.items() if metric.value != "DISTRIBUTION"}
    spread = [name for name, metric in own.items() if metric.value == "DISTRIBUTION"]
    known = {_mapped(name): name for name in parts}
    known |= {_mapped(name) + part: name for name in spread for part in ("_bucket", "_count", "_sum")}
    found: list[tuple[str, Mapping[str, str]]] = []
    place, depth = 0, 0
    while place < len(query):
        token = _TOKEN.match(query, place)
        if token is None or (token["word"] and token["word"] not in _WORDS):
            raise ValueError(f"{query[place:]!r} is not understood")
        if token["metric"]:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', token["labels"]))
            resource = labels.get("monitored_resource", "")
            if token["metric"] not in known or own[known[token["metric"]]].resource != resource:
                raise ValueError(f"{token['metric']} of {resource} is not known")
            if not labels.keys() - {"monitored_resource"} <= RESOURCES[resource]:
                raise ValueError(f"{resource} has no such labels: {labels}")
            found.append((known[token["metric"]], labels))
        depth += bool(token["open"]) - bool(token["close"])
        if depth < 0:
            break
        place = token.end()
    if depth or not found:
        raise ValueError(f"{query!r} does not close its brackets, or asks for nothing")
    return found


def _mapped(metric: str) -> str:
    """The PromQL name of a metric type: / becomes :, and invalid characters become _."""
    domain, path = metric.split("/", 1)
    return ":".join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in (domain, path))
