"""The command: table, JSON, exit code, time limit, and Pulumi's and Google's own behavior without credentials."""

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import requests

from preflight.__main__ import FORMATS, main, subject_of
from preflight.aws.api import Aws
from preflight.checks import CHECKS, applying
from preflight.errors import Unchecked
from preflight.gcp.api import Gcp
from preflight.machine import Machine
from preflight.model import CREDENTIALS, Check, Fault, Result, Status
from preflight.report import exit_code, text
from preflight.runner import in_parallel, run
from preview.console import Style
from preview.stack_files import read_stack
from tests.components.scenario import ROOT
from tests.preflight.conftest import Make
from tests.preflight.gcp_project import credentials
from tests.preflight.stacks import World

PASSED = Result("one", Status.PASSED, "fine")
FAILED = Result("two", Status.FAILED, "taken", (Fault("taken", "free it"), Fault("small", "grow it")))
DENIED = Result("three", Status.UNCHECKED, "access denied", permission="a:Get")


def command(world: World, *arguments: str) -> int:
    return main(arguments, ROOT, lambda _stack, _folder: world.subject())


def test_names_are_unique_and_sentences_end() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert [check.name for check in CHECKS if not check.sentence.endswith(".") or len(check.sentence) < 20] == []
    assert set(CREDENTIALS) <= {check.name for check in CHECKS}


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([PASSED], 0),
        ([PASSED, DENIED], 2),
        ([PASSED, DENIED, FAILED], 1),
        ([FAILED, Result("aws credentials", Status.UNCHECKED, "none")], 2),
        ([Result("aws credentials", Status.FAILED, "expired", (Fault("expired", "log in"),))], 1),
    ],
)
def test_exit_code(results: list[Result], code: int) -> None:
    assert exit_code(results) == code


def test_table_shows_each_result_with_what_to_do() -> None:
    lines = text("title", [PASSED, FAILED, DENIED], Style(colours=False)).splitlines()
    assert lines == [
        "title",
        "  result           check  found",
        "  ✓                one    fine",
        "  ✗                two    taken",
        "                          → free it",
        "                          small",
        "                          → grow it",
        "  could not check  three  access denied (missing permission: a:Get)",
        "",
        "1 passed, 1 failed, 1 could not check",
    ]


def test_a_stack_without_faults_exits_with_0(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make("dev")
    assert command(world) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[0] == "mlflow, stack dev (Pulumi.dev.yaml)"
    assert printed.out.splitlines()[-1] == f"{len(applying(world.subject()))} passed"


def test_json_has_each_check(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make("dev")
    world.aws.quotas["L-1216C47A"] = 1
    world.aws.denied = {"ssm:GetParameter"}
    assert command(world, "--format", "json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["stack"], report["exit_code"]) == ("dev", 1)
    checks = {check["check"]: check for check in report["checks"]}
    assert list(checks) == [check.name for check in applying(world.subject())]
    assert checks["aws credentials"]["status"] == "passed"
    assert checks["aws image parameter"] == {
        "check": "aws image parameter",
        "status": "could not check",
        "text": "access denied",
        "permission": "ssm:GetParameter",
    }
    (fault,) = checks["aws quota of vCPUs"]["faults"]
    assert set(fault) == {"problem", "remedy"}


@pytest.mark.parametrize("stack", ["dev", "gcp-dev"])
def test_without_credentials_no_check_of_the_cloud_is_done_and_the_exit_code_is_2(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """boto3 and google-auth themselves, with an empty environment, and no metadata server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("PATH", "")
    assert main(["--stack", stack, "--format", "json"], ROOT) == 2
    results = json.loads(capsys.readouterr().out)["checks"]
    cloud = [one for one in results if one["check"].startswith(("aws ", "gcp "))]
    assert len(cloud) > 15
    assert {one["status"] for one in cloud} == {"could not check"}
    assert [one["text"] for one in cloud if one["check"] in CREDENTIALS] != ["no credentials"]


def test_a_profile_that_does_not_exist_has_no_credentials() -> None:
    aws = Aws({"aws:region": "eu-west-1", "aws:profile": "no-such-profile"})
    with pytest.raises(Unchecked, match="no-such-profile"):
        aws.identity()


def test_the_quota_project_is_that_of_the_provider() -> None:
    config = {"gcp:userProjectOverride": "true", "gcp:billingProject": "acme-billing"}
    assert Gcp(config, "acme")._quota_project() == "acme-billing"  # pyright: ignore
    assert Gcp({"gcp:userProjectOverride": "true"}, "acme")._quota_project() == "acme"  # pyright: ignore
    assert Gcp({}, "acme")._quota_project() is None  # pyright: ignore


def test_the_service_account_that_the_provider_impersonates_is_used() -> None:
    config = {"gcp:impersonateServiceAccount": "deployer@acme.iam.gserviceaccount.com"}
    found = Gcp(config, "acme")._impersonated(credentials())  # pyright: ignore
    assert found.service_account_email == "deployer@acme.iam.gserviceaccount.com"


def test_the_subject_of_the_command_opens_nothing() -> None:
    subject = subject_of(read_stack(ROOT, "dev"), ROOT)
    assert isinstance(subject.web, requests.Session)
    assert subject.setting("aws.environment") == "development"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "svg"), f"unknown FORMAT: got svg, expected {', '.join(FORMATS)}."),
        (("--stack", "none"), "Stack file Pulumi.none.yaml does not exist"),
    ],
)
def test_wrong_arguments_are_errors(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, ROOT) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_a_hanging_check_does_not_block_the_others(make: Make) -> None:
    ended = threading.Event()

    def hang(_: object) -> str:
        ended.wait()
        return "late"

    checks = [Check("hanging", "", "", lambda _: True, hang), Check("quick", "", "", lambda _: True, lambda _: "found")]
    found = run(checks, make("dev").subject(), seconds=0.5)
    ended.set()
    assert found[0] == Result("hanging", Status.UNCHECKED, "no result within 0.5 s")
    assert found[1] == Result("quick", Status.PASSED, "found")


def test_parallel_calls_keep_their_order_and_raise_the_first_error() -> None:
    assert in_parallel(lambda number: number * 2, range(20)) == [number * 2 for number in range(20)]
    assert in_parallel(str, []) == []
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda number: 1 // number, [1, 0, 2])


def test_a_check_of_a_type_that_the_stack_does_not_use_is_not_done(make: Make) -> None:
    development = {check.name for check in applying(make("dev").subject())}
    production = {check.name for check in applying(make("prod").subject())}
    assert "aws certificate" not in development
    assert "aws certificate" in production
    assert "aws quota of addresses" in development - production
    assert not {name for name in development | production if name.startswith("gcp ")}
    google = {check.name for check in applying(make("gcp-dev").subject())}
    assert not {name for name in google if name.startswith("aws ")}


@pytest.fixture(scope="module")
def pulumi_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one stack and one secret, in a backend of files."""
    if shutil.which("pulumi") is None:
        pytest.skip("needs pulumi on PATH")
    folder = tmp_path_factory.mktemp("pulumi")
    (folder / "state").mkdir()
    (folder / "Pulumi.yaml").write_text("name: demo\nruntime: yaml\n")
    machine = machine_of(folder, PULUMI_CONFIG_PASSPHRASE="right")
    for arguments in (["stack", "init", "dev"], ["config", "set", "--secret", "key", "value", "--stack", "dev"]):
        subprocess.run(["pulumi", *arguments], cwd=folder, env=machine.environment, check=True, capture_output=True)
    return folder


def machine_of(folder: Path, **environment: str) -> Machine:
    path = str(Path(shutil.which("pulumi") or "").parent)
    base = {"PATH": path, "HOME": str(folder), "PULUMI_HOME": str(folder / "home"), "PULUMI_SKIP_UPDATE_CHECK": "1"}
    return Machine(folder, {**base, "PULUMI_BACKEND_URL": f"file://{folder / 'state'}", **environment})


def test_pulumi_itself_prints_what_the_fake_machine_prints(pulumi_project: Path, make: Make) -> None:
    from preflight import local

    world = make("gcp-dev")

    def found(check: Check, **environment: str) -> Result:
        from preflight.runner import result

        subject = world.subject()
        machine = machine_of(pulumi_project, **environment)
        stack = type(subject.stack)(
            project="demo",
            name=environment.pop("STACK", "dev"),
            file=pulumi_project / "Pulumi.dev.yaml",
            config={},
            secret_keys=("demo:key",),
        )
        values = {"graph": subject.graph, "folder": pulumi_project, "aws": subject.aws, "gcp": subject.gcp}
        return result(check, type(subject)(stack=stack, machine=machine, web=subject.web, **values))  # pyright: ignore

    assert found(local.pulumi_cli).status is Status.PASSED
    assert found(local.backend).text.startswith("file://")
    assert "not logged in" in found(local.backend, PULUMI_BACKEND_URL="").text
    assert found(local.passphrase, PULUMI_CONFIG_PASSPHRASE="right").status is Status.PASSED
    assert found(local.passphrase, PULUMI_CONFIG_PASSPHRASE="wrong").text == "incorrect passphrase"
    assert "must be set" in found(local.passphrase).text
    assert "no stack other" in found(local.passphrase, PULUMI_CONFIG_PASSPHRASE="right", STACK="other").text
    assert found(local.state, PULUMI_CONFIG_PASSPHRASE="right").text == "no state yet"
    assert found(local.state, STACK="other").text == "no state yet"
