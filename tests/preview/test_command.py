import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preview.__main__ import FORMATS, main

ROOT = Path(__file__).parents[2]
PROGRAM = """
import pulumi
import pulumi_aws as aws
config = pulumi.Config()
bucket = aws.s3.Bucket("data", force_destroy=config.get_bool("throwaway"))
pulumi.export("bucket", bucket.bucket)
pulumi.export("key", config.get_secret("key"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: mine\n")
    (tmp_path / "Pulumi.dev.yaml").write_text(
        "config:\n  aws:region: eu-west-1\n  mine:throwaway: true\n  mine:key: {secure: v1:sealed}\n"
    )
    (tmp_path / "__main__.py").write_text(PROGRAM)
    return tmp_path


def test_a_stack_is_shown_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], folder) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "sealed" not in shown.out
    assert "\x1b" not in shown.out
    for line in (
        "mine, stack dev (Pulumi.dev.yaml)",
        "  mine:key        [secret]",
        "  mine:throwaway  true",
        "Resources: 1",
        "  data  aws.s3.Bucket  forceDestroy=true",
        "  bucket  data",
        "  key     [secret]",
        "  It takes everything away.",
    ):
        assert f"{line}\n" in shown.out, shown.out


def test_json_is_the_whole_graph(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--format", "json"], folder) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["resources"]] == ["data"]
    assert found["outputs"]["key"] == "[secret]"


def test_a_missing_stack_names_those_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "prod"], folder) == 1
    assert capsys.readouterr().err == "error: There is no stack file Pulumi.prod.yaml; there are Pulumi.dev.yaml.\n"


def test_an_unknown_format_names_those_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--format", "svg"], folder) == 1
    assert capsys.readouterr().err == f"error: FORMAT=svg is not known; there are {', '.join(FORMATS)}.\n"


def test_a_mistake_in_the_config_is_the_programs_own_message(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    shutil.copy(ROOT / "__main__.py", folder)
    (folder / "Pulumi.yaml").write_text("name: mlflow\n")
    (folder / "Pulumi.dev.yaml").write_text("config:\n  mlflow:aws: {network: {zones: 9}, colour: red}\n")
    assert main([], folder) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(
        "error: 2 settings are invalid; nothing was created.\n"
        "  mlflow:aws.network.zones: got 9, expected an integer from 2 to 4.\n"
        "  mlflow:aws.colour: unknown setting, expected one of environment, "
    )
    assert "Traceback" not in shown.err


def test_a_program_that_fails_shows_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "__main__.py").write_text("def fail():\n    return 1 / 0\nfail()\n")
    assert main([], folder) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: Traceback")
    assert f'File "{folder}/__main__.py", line 2, in fail' in shown


def test_what_the_program_warns_of_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "__main__.py").write_text("import pulumi\npulumi.log.warn('careful')\n")
    assert main([], folder) == 0
    assert capsys.readouterr().err == "warning: careful\n"


def test_a_secret_that_is_still_to_be_set_is_warned_of_and_taken_for_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = """
import pulumi
secret = pulumi.Config().get_secret("other")
if secret is None:
    raise pulumi.RunError("It is missing: `pulumi config set --secret mine:other`.")
pulumi.export("other", secret)
"""
    (folder / "__main__.py").write_text(program)
    assert main([], folder) == 0
    shown = capsys.readouterr()
    assert shown.err == "warning: mine:other is not set yet: `pulumi config set --secret mine:other`.\n"
    assert "  other   [secret]\n" in shown.out


def test_another_mistake_beside_a_missing_secret_is_the_programs_own_message(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = """
import pulumi
missing = "" if pulumi.Config().get("other") else " `pulumi config set --secret mine:other`."
raise pulumi.RunError("The colour is wrong." + missing)
"""
    (folder / "__main__.py").write_text(program)
    assert main([], folder) == 1
    assert capsys.readouterr().err == "error: The colour is wrong. `pulumi config set --secret mine:other`.\n"


def test_what_is_only_looked_at_is_marked_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = """
import pulumi_gcp as gcp
gcp.appengine.Application.get("there", "my-project")
gcp.storage.Bucket("new", location="EU")
"""
    (folder / "__main__.py").write_text(program)
    assert main(["--format", "json"], folder) == 0
    found = json.loads(capsys.readouterr().out)["resources"]
    assert {one["name"]: one.get("read") for one in found} == {"there": True, "new": None}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_stacks_of_this_repository_can_be_seen(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", stack], ROOT) == 0
    shown = capsys.readouterr().out
    for title in ("Resources: ", "Exposed to whom", "What may go out", "IAM roles", "Outputs", "pulumi destroy"):
        assert f"\n{title}" in shown
    assert "not known" not in shown
    assert "admin_token             [secret]" in shown


@pytest.mark.parametrize("stack", ["gcp-dev", "gcp-prod"])
def test_those_on_google_cloud_can_be_seen_without_their_secret(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", stack], ROOT) == 0
    shown = capsys.readouterr()
    for title in (
        "Resources: ",
        "Exposed to whom",
        "What may go out",
        "Who has which role in MLflow",
        "IAM",
        "Outputs",
        "pulumi destroy",
    ):
        assert f"\n{title}" in shown.out
    for unsaid in ("not known", "nothing (", "None", "no answer"):
        assert unsaid not in shown.out
    assert shown.err.startswith("warning: mlflow:gcpOauthClientSecret is not set yet")


def test_a_sealed_secret_needs_no_passphrase(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(ROOT / name, folder)
    sealed = "  mlflow:gcpOauthClientSecret: {secure: v1:sealed}\n"
    (folder / "Pulumi.gcp-dev.yaml").write_text((ROOT / "Pulumi.gcp-dev.yaml").read_text() + sealed)
    assert main(["--stack", "gcp-dev"], folder) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "mlflow:gcpOauthClientSecret      [secret]\n" in shown.out
    assert "sealed" not in shown.out


def test_the_command_needs_neither_an_account_nor_the_cli() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "preview", "--format", "mermaid"],
        cwd=ROOT,
        env={"PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout.startswith("flowchart LR\n")


def test_a_region_that_is_not_said_is_told_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Pulumi.dev.yaml").write_text("config:\n  mlflow:aws: {}\n")
    (folder / "__main__.py").write_text("")
    assert main([], folder) == 0
    assert capsys.readouterr().err == "warning: aws:region is not set; it is taken for eu-west-1 here.\n"


def test_ctrl_c_ends_it_in_no_more_than_a_word() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "preview"],
        cwd=ROOT,
        env={"PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        maps = Path(f"/proc/{running.pid}/maps")
        while "cygrpc" not in maps.read_text():  # it is in the middle of its imports
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert running.communicate(timeout=60) == (b"", b"")
    assert running.returncode == -signal.SIGINT
