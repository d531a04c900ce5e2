"""An existing App Engine application is imported or used unchanged: a project has one, which cannot be deleted."""

import os
from collections.abc import Callable

import pytest

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kinds.gcp import app_engine
from tests.engine import account, programs
from tests.engine.conftest import Start
from tests.engine.engine import Engine, Run

APPLICATION = app_engine.APPLICATION
ALL = os.environ.get("ENGINE_TESTS") == "all"


def prepare_application(cloud: Cloud) -> None:
    """Prepare an account with an application."""
    account.prepare(cloud)
    account.add_application(cloud)


def prepare_application_in_us(cloud: Cloud) -> None:
    """Prepare an account with an application in another location."""
    account.prepare(cloud)
    account.add_application(cloud, "us-central")


def prepare_application_without_iap(cloud: Cloud) -> None:
    """Prepare an account with an application without Identity-Aware Proxy."""
    account.prepare(cloud)
    account.add_application(cloud, iap=False)


def start_stack(start: Start, mode: str, prepare: Callable[[Cloud], object] = prepare_application) -> Engine:
    """Start a development stack with a mode of the application."""
    secrets = {} if mode == "existing" else programs.secrets_of("gcp-dev")
    return start(config=programs.config_of("gcp-dev", {"app": {"mode": mode}}), secrets=secrets, prepare=prepare)


def oauth_client(engine: Engine) -> tuple[str, str]:
    """Return id and secret of the application's OAuth client."""
    iap = engine.double.cloud.of(APPLICATION)[0].inputs["iap"]
    return iap["oauth2ClientId"], iap["oauth2ClientSecret"]


def application_steps(run: Run) -> set[str]:
    """Return the operations on the application."""
    return {step.op for step in run.steps if step.kind == APPLICATION}


def destroy_and_check_application(engine: Engine) -> None:
    """Destroy the stack, and check that the existing application and its version stay."""
    retained = engine.retained_on_destroy()
    run = engine.destroy().ok()
    assert run.warnings == []
    leftovers = engine.double.cloud.left
    for leftover in ("Application my-project", "StandardAppVersion apps/my-project/services/default/versions/old"):
        assert leftover in leftovers
    assert engine.resources == []
    assert not [resource for resource in engine.double.cloud if resource.kind.token == app_engine.FLEXIBLE]
    assert [line for line in retained if "placeholder" in line or "service default" in line] == []


def test_existing_application_fails_in_mode_create_and_can_be_imported(start: Start) -> None:
    engine = start_stack(start, "create")
    failed = engine.up()
    assert failed.code != 0
    errors = "\n".join(failed.errors)
    assert "app.mode: import" in errors
    assert "app.mode: existing" in errors
    assert "already exists and cannot be re-created" in errors
    assert oauth_client(engine)[1] == "an-old-secret"

    engine.configure(programs.config_of("gcp-dev", {"app": {"mode": "import"}}))
    run = engine.up().ok()
    assert application_steps(run) == {"import", "update"}
    assert run.warnings == []
    assert oauth_client(engine) == (engine.config["mlflow:gcp"]["oauthClient"]["clientId"], programs.OAUTH_SECRET)
    if ALL:
        assert engine.up("--expect-no-changes").ok().steps == []
    destroy_and_check_application(engine)


def test_mode_existing_changes_nothing_in_the_application(start: Start) -> None:
    engine = start_stack(start, "existing")
    run = engine.up().ok()
    assert application_steps(run) == set()
    assert oauth_client(engine) == ("1-old.apps.googleusercontent.com", "an-old-secret")
    if ALL:
        assert engine.up("--expect-no-changes").ok().steps == []
        assert engine.refresh("--expect-no-changes").ok().steps == []
    destroy_and_check_application(engine)


if ALL:

    def test_destroyed_stack_can_be_created_again_by_importing_the_application(start: Start) -> None:
        engine = start(config=programs.config_of("gcp-dev"), secrets=programs.secrets_of("gcp-dev"))
        engine.up().ok()
        engine.destroy().ok()
        failed = engine.up()
        assert "app.mode: import" in "\n".join(failed.errors)
        engine.configure(programs.config_of("gcp-dev", {"app": {"mode": "import"}}))
        engine.up().ok()
        assert engine.up("--expect-no-changes").ok().steps == []
        engine.destroy().ok()

    @pytest.mark.parametrize("mode", ["import", "existing"])
    def test_application_in_another_location_is_an_error_with_the_setting(start: Start, mode: str) -> None:
        engine = start_stack(start, mode, prepare_application_in_us)
        run = engine.up()
        assert run.code != 0
        assert "app.location: us-central" in run.output
        assert not [resource for resource in engine.double.cloud if resource.kind.token == app_engine.FLEXIBLE]
        engine.destroy().ok()

    @pytest.mark.parametrize("mode", ["import", "existing"])
    def test_missing_application_is_an_error(start: Start, mode: str) -> None:
        engine = start_stack(start, mode, account.prepare)
        run = engine.up()
        assert run.code != 0
        assert "does not exist" in run.output
        engine.destroy().ok()

    def test_application_without_iap_causes_a_warning(start: Start) -> None:
        engine = start_stack(start, "existing", prepare_application_without_iap)
        run = engine.up().ok()
        assert "Identity-Aware Proxy is off" in "\n".join(run.warnings)
        engine.destroy().ok()

    def test_oauth_client_from_existing_secrets_is_used_and_not_in_the_state(start: Start) -> None:
        values = {"id": "1-existing.apps.googleusercontent.com", "secret": "existing-client-secret-77"}

        def add_secrets(cloud: Cloud) -> None:
            account.prepare(cloud)
            account.add_secrets(cloud, values)

        oauth_client_settings = {
            f"client{name.title()}Secret": f"projects/my-project/secrets/existing-{name}" for name in values
        }
        settings = {"oauthClient": {"clientId": None, **oauth_client_settings}}
        engine = start(config=programs.config_of("gcp-dev", settings), prepare=add_secrets)
        engine.up().ok()
        assert oauth_client(engine) == (values["id"], values["secret"])
        outputs = engine.outputs()
        assert outputs["token_audience"] == values["id"]
        assert outputs["oauth_client_secret"] == "projects/my-project/secrets/existing-secret"
        assert values["secret"] not in engine.state_file.read_text(encoding="utf-8") + "".join(engine.console_output)
        assert engine.up("--expect-no-changes").ok().steps == []
        engine.destroy().ok()
        assert [leftover for leftover in engine.double.cloud.left if "secrets/existing-" in leftover]
