"""Who may come through Identity-Aware Proxy, as IAM names them."""

import re
from typing import TYPE_CHECKING, Annotated

from ..validation import Expected

# https://cloud.google.com/iam/docs/principals-overview. allUsers and allAuthenticatedUsers are left out on purpose.
_ADDRESS = r"[^@\s:]+@[^@\s:]+\.[^@\s:]+"
_FORM = re.compile(
    rf"(?:user|group|serviceAccount):{_ADDRESS}|domain:(?:[a-z0-9-]+\.)+[a-z]{{2,}}"
    r"|principal(?:Set)?://iam\.googleapis\.com/\S+"
)
HOW = "user:, group: or serviceAccount: with an address, domain:NAME, or principal(Set)://iam.googleapis.com/PRINCIPAL"

if TYPE_CHECKING:
    Member = str
else:
    Member = Annotated[str, Expected(HOW)]


def is_member(text: str) -> bool:
    return _FORM.fullmatch(text) is not None
