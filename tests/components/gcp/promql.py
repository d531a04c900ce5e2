"""Validates the PromQL of the alerts: known names, and balanced parentheses.

https://cloud.google.com/monitoring/promql/promql-mapping; log-based metrics require monitored_resource.
"""

import re
from collections.abc import Mapping

from .monitoring_filter import RESOURCES, Metric

_TOKEN = re.compile(
    r'\s*(?:(?P<metric>\w+:\w+)\{(?P<labels>\w+="[^"]*"(?:,\w+="[^"]*")*)\}\[\d+m\]'
    r"|(?P<word>[a-z_]+)|\d+(?:\.\d+)?|>|,|(?P<open>\()|(?P<close>\)))"
)
_WORDS = frozenset({"and", "by", "histogram_quantile", "increase", "le", "on", "sum"})


def selectors(query: str, log_metrics: Mapping[str, Metric]) -> list[tuple[str, Mapping[str, str]]]:
    """(metric type, labels) of each selector of a query. Raises ValueError for an invalid query."""
    scalars = {name: "" for name, metric in log_metrics.items() if metric.value != "DISTRIBUTION"}
    distributions = [name for name, metric in log_metrics.items() if metric.value == "DISTRIBUTION"]
    known = {_promql_name(name): name for name in scalars}
    known |= {_promql_name(name) + suffix: name for name in distributions for suffix in ("_bucket", "_count", "_sum")}
    found: list[tuple[str, Mapping[str, str]]] = []
    position, depth = 0, 0
    while position < len(query):
        token = _TOKEN.match(query, position)
        if token is None or (token["word"] and token["word"] not in _WORDS):
            raise ValueError(f"{query[position:]!r} is not valid PromQL")
        if token["metric"]:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', token["labels"]))
            resource = labels.get("monitored_resource", "")
            if token["metric"] not in known or log_metrics[known[token["metric"]]].resource != resource:
                raise ValueError(f"{token['metric']} of {resource} is unknown")
            if not labels.keys() - {"monitored_resource"} <= RESOURCES[resource]:
                raise ValueError(f"{resource} has no such labels: {labels}")
            found.append((known[token["metric"]], labels))
        depth += bool(token["open"]) - bool(token["close"])
        if depth < 0:
            break
        position = token.end()
    if depth or not found:
        raise ValueError(f"{query!r} has unbalanced parentheses or no selector")
    return found


def _promql_name(metric: str) -> str:
    """The PromQL name of a metric type: / becomes :, and invalid characters become _."""
    domain, path = metric.split("/", 1)
    return ":".join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in (domain, path))
