"""For each check: stacks and worlds in which it finds its fault, and in which it passes."""

from collections.abc import Mapping

from tests.preflight.faults import aws, aws_network, gcp, local
from tests.preflight.faults.case import Case

CASES: Mapping[str, tuple[Case, ...]] = {**local.CASES, **aws.CASES, **aws_network.CASES, **gcp.CASES}
