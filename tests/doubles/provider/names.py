"""Automatic names, in the format of Pulumi's bridge: name, hyphen, seven hex digits.

Rules: pulumi-terraform-bridge, pkg/tfbridge/names.go; limits: pulumi-aws, provider/resources.go.
"""

import hashlib
import secrets
from typing import Any

from .kind import Name, Values
from .wire import UNKNOWN

DIGITS = 7


class TooLongError(Exception):
    """The Pulumi name is too long for the digits to fit."""


def with_name(rule: Name, program_name: str, inputs: Values, olds: Values, seed: bytes) -> dict[str, Any]:
    """Return the inputs with a name; an earlier automatic name stays. Raises TooLongError."""
    if inputs.get(rule.field) is not None:
        return dict(inputs)
    if rule.field in olds.get("__defaults", []):
        name = olds[rule.field]
    else:
        prefix = (program_name.lower() if rule.lower else program_name) + "-"
        if len(prefix) + DIGITS > rule.limit:
            raise TooLongError(
                f"name {program_name!r} plus {DIGITS + 1} characters exceeds {rule.limit}, the limit of {rule.field}"
            )
        digits = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(DIGITS)
        name = prefix + digits[:DIGITS]
    return {**inputs, rule.field: name, "__defaults": [rule.field]}


def has_same_chosen_name(rule: Name | None, olds: Values, news: Values) -> bool:
    """Whether the program chose a name that does not change: the replacement cannot exist beside the old one."""
    if rule is None or rule.field in news.get("__defaults", []):
        return False
    name = news.get(rule.field)
    return name is not None and name is not UNKNOWN and name == olds.get(rule.field)
