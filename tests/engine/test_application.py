"""A project has one App Engine application, which cannot be deleted: an existing one is imported or used as it is."""

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


def existing_application(cloud: Cloud) -> None:
    """Prepare an account with an application."""
    account.prepare(cloud)
    account.add_application(cloud)


def in_another_location(cloud: Cloud) -> None:
    """Prepare an account with an application in another location."""
    account.prepare(cloud)
    account.add_application(cloud, "us-central")


def without_iap(cloud: Cloud) -> None:
    """Prepare an account with an application without Identity-Aware Proxy."""
    account.prepare(cloud)
    account.add_application(cloud, proxy=False)


def stack(start: Start, mode: str, prepare: Callable[[Cloud], object] = existing_application) -> Engine:
    """Start a development stack with a mode of the application."""
    secrets = {} if mode == "existing" else programs.secrets_of("gcp-dev")
    return start(config=programs.config_of("gcp-dev", {"app": {"mode": mode}}), secrets=secrets, prepare=prepare)


def oauth_client(engine: Engine) -> tuple[str, str]:
    """Return id and secret of the application's OAuth client."""
    proxy = engine.double.cloud.of(APPLICATION)[0].inputs["iap"]
    return proxy["oauth2ClientId"], proxy["oauth2ClientSecret"]


def application_steps(run: Run) -> set[str]:
    """Return the operations on the application."""
    return {step.op for step in run.steps if step.kind == APPLICATION}


def assert_unchanged_by_destroy(engine: Engine) -> None:
    """Destroy the stack: the existing application stays as it was."""
    kept = engine.kept()
    run = engine.destroy().ok()
    assert run.warnings == []
    left = engine.double.cloud.left
    for one in ("Application my-project", "StandardAppVersion apps/my-project/services/default/versions/old"):
        assert one in left
    assert engine.resources == []
    assert not [one for one in engine.double.cloud if one.kind.token == app_engine.FLEXIBLE]
    assert [line for line in kept if "placeholder" in line or "service default" in line] == []


def test_existing_application_fails_with_the_modes_and_can_be_imported(start: Start) -> None:
    engine = stack(start, "create")
    refused = engine.up()
    assert refused.code != 0
    said = "\n".join(refused.errors)
    assert "app.mode: import" in said
    assert "app.mode: existing" in said
    assert "already exists and cannot be re-created" in said
    assert oauth_client(engine)[1] == "an-old-secret"

    engine.configure(programs.config_of("gcp-dev", {"app": {"mode": "import"}}))
    run = engine.up().ok()
    assert application_steps(run) == {"import", "update"}
    assert run.warnings == []
    assert oauth_client(engine) == (engine.config["mlflow:gcp"]["oauthClient"]["clientId"], programs.OAUTH_SECRET)
    if ALL:
        assert engine.up("--expect-no-changes").ok().steps == []
    assert_unchanged_by_destroy(engine)


def test_mode_existing_changes_nothing_in_the_application(start: Start) -> None:
    engine = stack(start, "existing")
    run = engine.up().ok()
    assert application_steps(run) == set()
    assert oauth_client(engine) == ("1-old.apps.googleusercontent.com", "an-old-secret")
    if ALL:
        assert engine.up("--expect-no-changes").ok().steps == []
        assert engine.refresh("--expect-no-changes").ok().steps == []
    assert_unchanged_by_destroy(engine)


if ALL:

    def test_a_destroyed_stack_is_made_again_with_the_application_that_stayed(start: Start) -> None:
        engine = start(config=programs.config_of("gcp-dev"), secrets=programs.secrets_of("gcp-dev"))
        engine.up().ok()
        engine.destroy().ok()
        refused = engine.up()
        assert "app.mode: import" in "\n".join(refused.errors)
        engine.configure(programs.config_of("gcp-dev", {"app": {"mode": "import"}}))
        engine.up().ok()
        assert engine.up("--expect-no-changes").ok().steps == []
        engine.destroy().ok()

    @pytest.mark.parametrize("mode", ["import", "existing"])
    def test_one_in_another_region_is_an_error_that_says_what_to_set(start: Start, mode: str) -> None:
        engine = stack(start, mode, in_another_location)
        run = engine.up()
        assert run.code != 0
        assert "app.location: us-central" in run.output
        assert not [one for one in engine.double.cloud if one.kind.token == app_engine.FLEXIBLE]
        engine.destroy().ok()

    @pytest.mark.parametrize("mode", ["import", "existing"])
    def test_none_at_all_is_an_error(start: Start, mode: str) -> None:
        engine = stack(start, mode, account.prepare)
        run = engine.up()
        assert run.code != 0
        assert "does not exist" in run.output
        engine.destroy().ok()

    def test_one_without_a_proxy_is_warned_of(start: Start) -> None:
        engine = stack(start, "existing", without_iap)
        run = engine.up().ok()
        assert "Identity-Aware Proxy is off" in "\n".join(run.warnings)
        engine.destroy().ok()

    def test_a_client_in_secrets_that_are_there_is_read_and_copied_nowhere(start: Start) -> None:
        names = {"id": "1-theirs.apps.googleusercontent.com", "secret": "their-client-secret-77"}

        def add_secrets(cloud: Cloud) -> None:
            account.prepare(cloud)
            account.add_secrets(cloud, names)

        sign_in = {f"client{name.title()}Secret": f"projects/my-project/secrets/their-{name}" for name in names}
        settings = {"oauthClient": {"clientId": None, **sign_in}}
        engine = start(config=programs.config_of("gcp-dev", settings), prepare=add_secrets)
        engine.up().ok()
        assert oauth_client(engine) == (names["id"], names["secret"])
        outputs = engine.outputs()
        assert outputs["token_audience"] == names["id"]
        assert outputs["oauth_client_secret"] == "projects/my-project/secrets/their-secret"
        assert names["secret"] not in engine.state_file.read_text(encoding="utf-8") + "".join(engine.console_output)
        assert engine.up("--expect-no-changes").ok().steps == []
        engine.destroy().ok()
        assert [one for one in engine.double.cloud.left if "secrets/their-" in one]
