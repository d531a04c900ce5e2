"""Errors of `pulumi up` for a version that does not start name the command that prints the reason."""

import pulumi
import pytest

from components.failure_hint import failure_hint
from preview.recorder import record
from tests.doubles.provider.faults import Fault, Once
from tests.engine import programs
from tests.engine.conftest import Start


@pytest.mark.parametrize(
    ("stack", "kind", "hint"),
    [
        ("dev", "aws:ecs/service:Service", "aws logs tail /mlflow/dev/mlflow --since 1h"),
        ("gcp-dev", "gcp:appengine/flexibleAppVersion:FlexibleAppVersion", "docs/gcp.md, Logs and alerts"),
    ],
)
def test_failed_version_is_reported_with_the_command_for_its_log(
    start: Start, stack: str, kind: str, hint: str
) -> None:
    engine = start(config=programs.config_of(stack), secrets=programs.secrets_of(stack))
    engine.double.plan = Once("create", kind, Fault.BEFORE)
    failed = engine.up()
    assert failed.code != 0
    errors = "\n".join(failed.errors)
    assert hint in errors
    # The provider's own error is shown as well.
    assert "injected failure" in errors


@pytest.mark.parametrize(("operation", "is_hinted"), [("create", True), ("update", True), ("delete", False)])
def test_hint_is_for_creations_and_updates(operation: str, is_hinted: bool) -> None:
    hooks: list[pulumi.ResourceHookBinding] = []
    # The hook needs the event loop of a program.
    record(lambda: hooks.append(failure_hint("hint", "what to do")))
    (hook,) = hooks[0].on_error or []
    args = pulumi.ErrorHookArgs("urn", "", "name", "type", failed_operation=operation, errors=["an error"])
    if is_hinted:
        with pytest.raises(pulumi.RunError, match="an error\nwhat to do"):
            hook(args)
    else:
        assert hook(args) is False
