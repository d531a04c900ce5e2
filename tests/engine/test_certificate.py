"""A certificate that the load balancer cannot use is reported before anything is created."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles.provider.cloud import Cloud
from tests.engine import account, programs
from tests.engine.conftest import Start

OTHER_REGION = programs.CERTIFICATE.replace("eu-west-1", "us-east-1")
CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str]] = {
    "unknown": (
        {},
        None,
        rf"loadBalancer\.certificateArn.*\n.*{programs.CERTIFICATE}' does not exist",
    ),
    "not-issued": (
        {},
        {"status": "PENDING_VALIDATION"},
        r"loadBalancer\.certificateArn: the certificate's status is PENDING_VALIDATION, expected ISSUED\. Create",
    ),
    "other-region": (
        {"certificateArn": OTHER_REGION},
        {"arn": OTHER_REGION},
        rf"loadBalancer\.certificateArn: got {OTHER_REGION}, expected an ARN in the stack's region, eu-west-1",
    ),
    "other-host": (
        {"hostName": "a.mlflow.example.com"},
        {"names": ("example.com", "*.example.com")},
        r"loadBalancer\.hostName: got a\.mlflow\.example\.com, but .* is for example\.com, \*\.example\.com\.",
    ),
}


def _with_certificate(existing: dict[str, Any] | None) -> Callable[[Cloud], object]:
    def prepare(cloud: Cloud) -> None:
        if existing is not None:
            account.add_certificate(cloud, **existing)

    return prepare


@pytest.mark.parametrize("name", CASES)
def test_a_certificate_that_cannot_be_used_fails_before_anything_is_created(start: Start, name: str) -> None:
    settings, existing, message = CASES[name]
    config = programs.config_of("prod", {"loadBalancer": settings})
    engine = start(config=config, prepare=_with_certificate(existing))
    for run in (engine.preview(), engine.up()):
        assert run.code != 0
        assert re.search(message, run.output), run.output
    assert engine.double.journal == []
    managed = [resource["type"] for resource in engine.resources if not resource.get("external")]
    assert [kind for kind in managed if not kind.startswith("pulumi:") and kind != "mlflow:index:AwsMlflowProxy"] == []
    # Backing out needs no change of the settings.
    engine.destroy().ok()
    assert engine.resources == []
