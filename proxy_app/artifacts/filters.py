"""Locations in the filters of MLflow's searches."""

import re
from collections.abc import Callable

from .locations import LOCATION_TAGS

_TAGS = "|".join(re.escape(tag) for tag in LOCATION_TAGS)
_ATTRIBUTE = r"(?:(?:attributes?|attr|run)\s*\.\s*)?"
_NAMES = "|".join(
    start + quote + name + quote
    for start, name in ((_ATTRIBUTE, "(?:source_path|artifact_uri)"), (r"(?:tags?|trace)\s*\.\s*", f"(?:{_TAGS})"))
    for quote in ("", "`", '"')
)
# A comparison of a location, or a string of something else, which may contain such a text.
_COMPARISON = re.compile(
    rf"""(?P<start>(?<![\w.`"'])(?:{_NAMES})\s*(?:!=|=|LIKE\b|ILIKE\b)\s*)(?P<quote>['"])(?P<location>.*?)(?P=quote)"""
    r"""|'[^']*'|"[^"]*"|`[^`]*`""",
    re.IGNORECASE | re.DOTALL,
)


def map_filter(text: str, to_storage: Callable[[str], str]) -> str:
    """The filter with the locations mapped that it compares: of runs, model versions and traces.

    A pattern of LIKE is mapped like a location: it must begin with ``mlflow-artifacts:/`` and not with a wildcard.
    """

    def mapped(found: re.Match[str]) -> str:
        if found["start"] is None:
            return found[0]
        return found["start"] + found["quote"] + to_storage(found["location"]) + found["quote"]

    return _COMPARISON.sub(mapped, text)
