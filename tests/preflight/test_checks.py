"""Every check finds its faults, passes without them, and says which permission is missing."""

import re
from pathlib import Path
from typing import Any

import pytest

from preflight.checks import CHECKS, applying
from preflight.errors import Unchecked
from preflight.model import Check, Result, Status
from preflight.runner import result
from tests.components.aws.policies import action_data
from tests.components.scenario import ROOT
from tests.preflight import docs_page
from tests.preflight.conftest import Make
from tests.preflight.faults import CASES
from tests.preflight.faults.case import Case
from tests.preflight.faults.local import without_buildx
from tests.preflight.gcp_project import REQUIRED
from tests.preflight.stacks import World

BY_NAME = {check.name: check for check in CHECKS}
ALL_CASES = [(f"{name}-{number}", name, case) for name, cases in CASES.items() for number, case in enumerate(cases)]
# Local checks ask no API: what is missing is access to a file or socket, or the CLI.
LOCAL_DENIALS = {
    "pulumi": ("pulumi", "version"),
    "pulumi backend": ("pulumi", "whoami", "--json", "--non-interactive"),
    "pulumi passphrase": ("pulumi", "config", "--show-secrets", "--json", "--stack", "gcp-dev", "--non-interactive"),
    "pulumi state": ("pulumi", "stack", "export", "--stack", "dev", "--non-interactive"),
    "image builder": ("docker", "buildx", "inspect"),
    "disk space": ("docker", "info", "--format", "{{.DockerRootDir}}"),
}


def world_of(make: Make, case: Case) -> World:
    world = make(case.stack, dict(case.settings), dict(case.config))
    case.prepare(world)
    return world


def run(check: Check, world: World) -> Result:
    subject = world.subject()
    assert check in applying(subject), f"{check.name} does not apply"
    return result(check, subject)


def test_every_permission_of_the_policy_is_an_action_of_iam() -> None:
    actions = {name for check in AWS_CHECKS for name in docs_page.permissions(check)}
    assert "iam:SimulatePrincipalPolicy" in actions
    assert [name for name in actions if not action_data(name)] == []
    assert [name for name in actions if not re.match(r"\w+[-\w]*:(Describe|Get|List|Simulate)", name)] == []


def test_page_is_current() -> None:
    assert (ROOT / "docs" / "preflight.md").read_text() == docs_page.page(), "run `make docs`"


def test_every_check_has_a_case_with_its_fault() -> None:
    assert set(CASES) == set(BY_NAME)
    assert all(CASES.values())


@pytest.mark.parametrize(("name", "case"), [case[1:] for case in ALL_CASES], ids=[case[0] for case in ALL_CASES])
def test_a_check_passes_and_then_finds_its_fault(name: str, case: Case, make: Make) -> None:
    world = world_of(make, case)
    before = run(BY_NAME[name], world)
    assert before.status is Status.PASSED, before
    assert before.text
    case.break_it(world)
    after = run(BY_NAME[name], world)
    assert after.status is Status.FAILED, after
    assert any(re.search(case.found, fault.problem) and case.remedy in fault.remedy for fault in after.faults), after


AWS_CHECKS = [check for check in CHECKS if check.name.startswith("aws ")]
GCP_CHECKS = [check for check in CHECKS if check.name.startswith("gcp ")]
LOCAL_CHECKS = [check for check in CHECKS if check not in (*AWS_CHECKS, *GCP_CHECKS)]


@pytest.mark.parametrize("check", AWS_CHECKS, ids=lambda check: check.name)
def test_a_check_names_each_missing_permission_of_aws(check: Check, make: Make) -> None:
    world = world_of(make, CASES[check.name][0])
    assert run(check, world).status is Status.PASSED
    # No policy can deny this one.
    called = world.aws.called - {"sts:GetCallerIdentity"}
    assert called or check.name in ("aws credentials", "aws account")
    for operation in called:
        world.aws.denied = {operation}
        found = run(check, world)
        assert (found.status, found.permission) == (Status.UNCHECKED, operation), found


@pytest.mark.parametrize("check", GCP_CHECKS, ids=lambda check: check.name)
def test_a_check_names_each_missing_permission_of_google_cloud(check: Check, make: Make) -> None:
    world = world_of(make, CASES[check.name][0])
    assert run(check, world).status is Status.PASSED
    called = set(world.gcp.called)
    assert called or check.name in ("gcp credentials", "gcp OAuth redirect")
    for method in called:
        world.gcp.denied, world.gcp.disabled_apis = set(), set()
        if REQUIRED[method]:
            world.gcp.denied = {method}
        else:
            world.gcp.disabled_apis = {f"{method.partition('.')[0]}.googleapis.com"}
        found = run(check, world)
        assert (found.status, found.permission) == (Status.UNCHECKED, REQUIRED[method]), found


@pytest.mark.parametrize("check", LOCAL_CHECKS, ids=lambda check: check.name)
def test_a_local_check_says_why_it_could_not_be_done(check: Check, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(make, CASES[check.name][0])
    assert run(check, world).status is Status.PASSED
    if check.name in ("placeholders", "secrets"):
        # They read the stack's file, which the command has read before.
        return
    if check.name == "registry login":
        (world.machine.home / ".docker").mkdir()
        read = Path.read_text

        def read_others(path: Path) -> str:
            return _denied() if path.name == "config.json" else read(path)

        monkeypatch.setattr(Path, "read_text", read_others)
    else:
        denied = "permission denied while trying to connect to the Docker daemon socket"
        world.machine.outputs[LOCAL_DENIALS[check.name]] = type(world.machine.outputs["docker", "buildx", "inspect"])(
            1, "", denied
        )
    found = run(check, world)
    assert found.status is Status.UNCHECKED, found
    assert found.permission or "denied" in found.text


def _denied() -> str:
    raise PermissionError


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_a_deployed_stack_has_no_faults(stack: str, make: Make) -> None:
    world = make(stack)
    world.deploy()
    subject = world.subject()
    # The names and the application are its own.
    world.gcp.application = {"locationId": "europe-west", "servingStatus": "SERVING"}
    world.gcp.named |= {
        f"projects/acme-mlflow/secrets/gcp-dev-mlflow-{name}" for name in ("database-password", "oauth-client-secret")
    }
    found = [result(check, subject) for check in applying(subject)]
    assert [one for one in found if one.status is not Status.PASSED] == []


@pytest.mark.parametrize("check", AWS_CHECKS, ids=lambda check: check.name)
def test_without_credentials_no_check_of_aws_can_be_done(check: Check, make: Make) -> None:
    from botocore.exceptions import NoCredentialsError

    world = world_of(make, CASES[check.name][0])

    def none(_: object) -> dict[str, Any]:
        raise NoCredentialsError

    world.aws.respond = lambda *_: none(None)  # pyright: ignore
    assert run(check, world).status is Status.UNCHECKED


def test_a_new_project_gets_its_default_compute_account_with_the_api(make: Make) -> None:
    world = make("gcp-dev")
    world.gcp.accounts.clear()
    world.gcp.enabled.remove("compute.googleapis.com")
    assert run(BY_NAME["gcp default compute account"], world).text == "will be created with Compute Engine's API"


def test_a_disabled_api_says_how_to_check_before_it_is_enabled(make: Make) -> None:
    world = make("gcp-dev")
    world.gcp.disabled_apis = {"sqladmin.googleapis.com", "appengine.googleapis.com"}
    found = run(BY_NAME["gcp Cloud SQL tier"], world)
    assert found.status is Status.UNCHECKED
    assert "gcloud services enable sqladmin.googleapis.com" in found.text
    # Without its API there is no application, and no resource that could have the name.
    assert run(BY_NAME["gcp App Engine application"], world).status is Status.PASSED
    world.gcp.disabled_apis = {"secretmanager.googleapis.com"}
    assert run(BY_NAME["gcp names"], world).status is Status.PASSED


def test_domains_of_organizations_that_are_not_visible_are_not_compared(make: Make) -> None:
    case = CASES["gcp policy iam.allowedPolicyMemberDomains"][0]
    world = world_of(make, case)
    world.gcp.organizations.clear()
    found = run(BY_NAME["gcp policy iam.allowedPolicyMemberDomains"], world)
    assert (found.status, found.permission) == (Status.UNCHECKED, "resourcemanager.organizations.get")


def test_the_builder_of_docker_without_its_plugin_is_the_daemon(make: Make) -> None:
    world = make("gcp-dev")
    without_buildx(world)
    assert run(BY_NAME["image builder"], world).text == "Docker 28.2.2"


def test_a_check_that_fails_unexpectedly_could_not_be_done(make: Make) -> None:
    def broken(_: object) -> str:
        raise KeyError("gone")

    check = Check("broken", "", "", lambda _: True, broken)
    assert result(check, make("dev").subject()) == Result("broken", Status.UNCHECKED, "KeyError: 'gone'")


def test_unchecked_has_no_permission_by_default() -> None:
    assert Unchecked("because").permission == ""
