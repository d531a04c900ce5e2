"""What a preview knows of AWS."""

from ..cloud import Cloud
from . import arrows, destroy, drawn, exposure, matters, rights

CLOUD = Cloud(
    exposure=exposure.exposure,
    rights_title="IAM roles",
    rights=rights.lines,
    kept=destroy.kept,
    arrows=arrows.arrows,
    drawn=drawn.DRAWN,
    matters=matters.MATTERS,
)
