"""A failed `pulumi up` of a version that does not start prints the command that prints the reason."""

import pytest

from tests.doubles.provider.faults import Fault, Once
from tests.engine import programs
from tests.engine.conftest import Start

SERVICE, VERSION = "aws:ecs/service:Service", "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"


@pytest.mark.parametrize(
    ("stack", "kind", "hint", "changed"),
    [
        ("dev", SERVICE, "aws logs tail /mlflow/dev/mlflow --since 1h", {"service": {"bodyLimitMib": 16}}),
        ("gcp-dev", VERSION, "docs/gcp.md, Logs and alerts", None),
    ],
)
def test_failed_version_is_reported_with_the_command_for_its_log(
    start: Start, stack: str, kind: str, hint: str, changed: dict[str, object] | None
) -> None:
    engine = start(config=programs.config_of(stack), secrets=programs.secrets_of(stack))
    # The provider's wait fails after the resource exists.
    engine.double.plan = Once("create", kind, Fault.AFTER)
    failed = [engine.up()]
    if changed is not None:
        engine.up().ok()
        engine.configure(programs.config_of(stack, changed))
        engine.double.plan = Once("update", kind, Fault.AFTER)
        failed.append(engine.up())
    for run in failed:
        assert run.code != 0
        assert hint in run.output
        # The provider's own error is shown as well.
        assert "injected failure" in "\n".join(run.errors)


def test_domain_of_others_is_reported_with_what_its_owner_must_do(start: Start) -> None:
    config = programs.config_of("gcp-dev", {"app": {"domain": "mlflow.example.org"}})
    run = start(config=config, secrets=programs.secrets_of("gcp-dev")).up()
    assert run.code != 0
    assert "not authorized to administer the domain 'mlflow.example.org'" in "\n".join(run.errors)
    assert "must be a verified owner of mlflow.example.org or of a domain above it: docs/gcp.md" in run.output
