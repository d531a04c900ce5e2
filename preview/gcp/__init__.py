"""The preview of Google Cloud resources."""

from ..cloud import Cloud
from . import diagram, displayed_inputs, exposure, permissions, retention_rules

CLOUD = Cloud(
    exposure=exposure.exposure,
    permissions_title="IAM bindings",
    permissions=permissions.lines,
    retentions=retention_rules.retentions,
    edges=diagram.edges,
    nodes=diagram.NODES,
    displayed_inputs=displayed_inputs.DISPLAYED_INPUTS,
)
