"""The names that the provider gives, as Pulumi's bridge makes them: name, hyphen, seven hex digits.

Rules: pulumi-terraform-bridge, pkg/tfbridge/names.go; limits: pulumi-aws, provider/resources.go.
"""

import hashlib
import secrets
from typing import Any

from .kind import Name, Values
from .wire import UNKNOWN

DIGITS = 7


class TooLongError(Exception):
    """The name in the program leaves no room for the digits."""


def with_name(rule: Name, program_name: str, inputs: Values, olds: Values, seed: bytes) -> dict[str, Any]:
    """The inputs, with a name. The one that it has had is kept. Raises TooLongError."""
    if inputs.get(rule.field) is not None:
        return dict(inputs)
    if rule.field in olds.get("__defaults", []):
        made = olds[rule.field]
    else:
        prefix = (program_name.lower() if rule.lower else program_name) + "-"
        if len(prefix) + DIGITS > rule.limit:
            raise TooLongError(
                f"name {program_name!r} plus {DIGITS + 1} letters is longer than {rule.limit}, what {rule.field} allows"
            )
        digits = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(DIGITS)
        made = prefix + digits[:DIGITS]
    return {**inputs, rule.field: made, "__defaults": [rule.field]}


def chosen_and_kept(rule: Name | None, olds: Values, news: Values) -> bool:
    """The program chose the name, and it stays: a replacement cannot be made beside the old one."""
    if rule is None or rule.field in news.get("__defaults", []):
        return False
    name = news.get(rule.field)
    return name is not None and name is not UNKNOWN and name == olds.get(rule.field)
