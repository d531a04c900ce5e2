"""Types of settings that hold Google Cloud identifiers."""

import re
from typing import TYPE_CHECKING, Annotated

from ..validation import Expected, text_type

# https://cloud.google.com/iam/docs/principals-overview. allUsers and allAuthenticatedUsers are excluded on purpose.
_ADDRESS = r"[^@\s:]+@[^@\s:]+\.[^@\s:]+"
_MEMBER = re.compile(
    rf"(?:user|group|serviceAccount):{_ADDRESS}|domain:(?:[a-z0-9-]+\.)+[a-z]{{2,}}"
    r"|principal(?:Set)?://iam\.googleapis\.com/\S+"
)
MEMBER_FORMS = (
    "user:, group: or serviceAccount: with an address, domain:NAME, or principal(Set)://iam.googleapis.com/PRINCIPAL"
)

if TYPE_CHECKING:
    KmsKey = Member = Project = Region = str
else:
    # https://cloud.google.com/kms/docs/resource-hierarchy#retrieve_resource_id
    KmsKey = text_type(
        r"projects/[^/]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}",
        "projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY",
    )
    Member = Annotated[str, Expected(MEMBER_FORMS)]
    Project = Annotated[str, Expected("a project ID (or gcp:project in the stack's config)")]
    Region = Annotated[str, Expected("a Google Cloud region (or gcp:region in the stack's config)")]


def is_member(text: str) -> bool:
    """Whether a text is an IAM member in one of the MEMBER_FORMS."""
    return _MEMBER.fullmatch(text) is not None
