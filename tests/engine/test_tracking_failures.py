"""A SageMaker MLflow whose creation or update did not take effect does not become a successful `pulumi up`."""

import re
from typing import Any

import pytest

from tests.doubles.provider.faults import Fault, Once
from tests.doubles.provider.kinds.aws.sagemaker import APP, TRACKING_SERVER
from tests.engine import programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine

# Only SageMaker and what it needs.
PROGRAM = """
    import pulumi
    import pulumi_aws as aws
    from components.aws.deployment import Deployment
    from components.aws.settings import TrackingSettings
    from components.aws.tracking import Tracking

    config = pulumi.Config("test")
    Tracking(
        Deployment(
            component="mlflow", name="mlflow", stack="dev", region=aws.get_region_output().region,
            account=aws.get_caller_identity_output().account_id, partition=aws.get_partition_output().partition,
            tags={}, deletion_protection=False, kms_key_arn=None,
            permissions_boundary_arn=None,
        ),
        TrackingSettings(**config.require_object("tracking")),
    )
"""


def _start(start: Start, **tracking: Any) -> Engine:
    engine = start(PROGRAM, config={**programs.CONFIG, "test:tracking": tracking})
    programs.copy_packages(engine.folder)
    return engine


def _set(engine: Engine, **tracking: Any) -> None:
    engine.configure({**engine.config, "test:tracking": tracking})


@pytest.mark.parametrize("kind", ["app", "server"])
def test_failed_creation_is_an_error_until_it_is_created_again(start: Start, kind: str) -> None:
    engine = _start(start, kind=kind)
    token = APP if kind == "app" else TRACKING_SERVER
    engine.double.plan = Once("create", token, Fault.AFTER)
    assert engine.up().code != 0
    assert engine.preview().code != 0
    repeated = [engine.up(), engine.up()]
    assert all(run.code != 0 for run in repeated)
    # The commands are those of the message.
    message = "\n".join(repeated[-1].errors)
    assert "The last creation or update of the" in message
    again = re.search(r"create it again with `pulumi (up|destroy) (--\w+) '([^']+)'`", message)
    assert again is not None
    command, flag, urn = again.groups()
    assert urn in message.split("state unprotect")[1]
    (engine.up if command == "up" else engine.destroy)(flag, urn).ok()
    engine.up().ok()
    assert len(engine.double.cloud.of(token)) == 1
    assert engine.up("--expect-no-changes").ok().steps == []


@pytest.mark.parametrize("kind", ["app", "server"])
def test_creation_that_only_took_long_continues_after_a_refresh(start: Start, kind: str) -> None:
    engine = _start(start, kind=kind)
    token = APP if kind == "app" else TRACKING_SERVER
    engine.double.plan = Once("create", token, Fault.AFTER)
    assert engine.up().code != 0
    engine.refresh().ok()
    assert engine.up().ok().steps == []
    assert len([done for done in engine.double.journal if done.kind == token]) == 1


def test_switching_model_registration_off_is_refused_until_sagemaker_has_it_off(start: Start) -> None:
    engine = _start(start, kind="server", automatic_model_registration=True)
    engine.up().ok()
    _set(engine, kind="server", automatic_model_registration=False)
    for run in (engine.preview(), engine.up()):
        assert run.code != 0
        assert "tracking.automaticModelRegistration" in "\n".join(run.errors)
    (server,) = engine.double.cloud.of(TRACKING_SERVER)
    # As the command of the message does.
    server.inputs["automaticModelRegistration"] = False
    engine.refresh().ok()
    engine.up().ok()
    assert engine.up("--expect-no-changes").ok().steps == []


def test_app_switches_model_registration_off(start: Start) -> None:
    engine = _start(start, kind="app", automatic_model_registration=True)
    engine.up().ok()
    _set(engine, kind="app")
    engine.up().ok()
    (app,) = engine.double.cloud.of(APP)
    assert app.inputs["modelRegistrationMode"] == "AutoModelRegistrationDisabled"
