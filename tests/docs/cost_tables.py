"""Parse the tables of docs/costs.md and docs/gcp-costs.md, and count the resources of a stack."""

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from preview.graph import Graph

HOURS = 730
_ROW = re.compile(
    r"\| (?P<item>[^|]+) \| (?P<number>\d+) \| (?P<price>[\d.]+) (?P<each>per hour|per month) \| (?P<sum>[\d.]+) \|"
)
_TOTAL = re.compile(r"\| \*\*total\*\* \| \| \| \*\*([\d.]+)\*\* \|")


class Row(NamedTuple):
    """A row of a cost table: quantity, unit price, whether the price is per hour, and the monthly sum."""

    number: int
    price: Decimal
    hourly: bool
    sum: Decimal


def section(page: str, stack: str) -> str:
    """Return the section of a stack file in a page."""
    (found,) = re.findall(rf"^## Pulumi\.{stack}\.yaml: .*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(page: str, stack: str) -> Mapping[str, Row]:
    """Return the cost table of a stack by item."""
    found = {
        row["item"]: Row(int(row["number"]), Decimal(row["price"]), row["each"] == "per hour", Decimal(row["sum"]))
        for row in _ROW.finditer(section(page, stack))
    }
    assert len(found) == section(page, stack).count("\n| ") - 2, "a row has an unknown format"
    return found


def stated_total(page: str, stack: str) -> Decimal:
    """Return the last row of a stack's table, the total."""
    (total,) = _TOTAL.findall(section(page, stack))
    return Decimal(total)


def cents(amount: Decimal) -> Decimal:
    """Round an amount in US dollars to cents."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def monthly(number: int, price: Decimal, *, hourly: bool) -> Decimal:
    """Return the monthly cost of a quantity at a unit price."""
    return cents(number * price * (HOURS if hourly else 1))


def kinds(kind: str) -> Callable[[Graph], int]:
    """Return a function that counts the resources of a type."""
    return lambda graph: len(graph.of(kind))


def only(graph: Graph, kind: str) -> Mapping[str, Any]:
    """Return the inputs of the only resource of a type."""
    (found,) = graph.of(kind)
    return found.inputs
