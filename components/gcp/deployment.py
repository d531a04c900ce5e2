"""The names, labels and locations that all resources of one component share."""

import re
from dataclasses import dataclass

import pulumi

from ..names import ResourceNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(ResourceNames):
    """Passed to every child component. ``project`` and ``region`` are Google Cloud's."""

    project: str
    region: str
    labels: dict[str, pulumi.Input[str]]
    deletion_protection: bool
    kms_key: str | None = None
    """Customer-managed encryption key, projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY."""


def label_value(text: str) -> str:
    """A text as the value of a label: up to 63 lowercase letters, digits, underscores and hyphens.

    https://cloud.google.com/resource-manager/docs/labels-overview#requirements
    """
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
