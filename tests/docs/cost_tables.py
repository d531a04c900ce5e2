"""The tables of the pages about costs, and how a stack's resources are counted for them."""

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from preview.graph import Graph

HOURS = 730
_ROW = re.compile(
    r"\| (?P<what>[^|]+) \| (?P<number>\d+) \| (?P<price>[\d.]+) (?P<each>per hour|per month) \| (?P<sum>[\d.]+) \|"
)
_TOTAL = re.compile(r"\| \*\*total\*\* \| \| \| \*\*([\d.]+)\*\* \|")


class Row(NamedTuple):
    number: int
    price: Decimal
    hourly: bool
    sum: Decimal


def section(page: str, stack: str) -> str:
    (found,) = re.findall(rf"^## Pulumi\.{stack}\.yaml: .*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(page: str, stack: str) -> Mapping[str, Row]:
    found = {
        one["what"]: Row(int(one["number"]), Decimal(one["price"]), one["each"] == "per hour", Decimal(one["sum"]))
        for one in _ROW.finditer(section(page, stack))
    }
    assert len(found) == section(page, stack).count("\n| ") - 2, "a row has another form"
    return found


def stated_total(page: str, stack: str) -> Decimal:
    """The sum below a stack's table."""
    (said,) = _TOTAL.findall(section(page, stack))
    return Decimal(said)


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def monthly(number: int, price: Decimal, *, hourly: bool) -> Decimal:
    return cents(number * price * (HOURS if hourly else 1))


def kinds(kind: str) -> Callable[[Graph], int]:
    return lambda graph: len(graph.of(kind))


def only(graph: Graph, kind: str) -> Mapping[str, Any]:
    (found,) = graph.of(kind)
    return found.inputs
