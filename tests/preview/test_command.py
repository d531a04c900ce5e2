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
bucket = aws.s3.Bucket("data", force_destroy=config.get_bool("disposable"))
pulumi.export("bucket", bucket.bucket)
pulumi.export("key", config.get_secret("key"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: demo\n")
    (tmp_path / "Pulumi.dev.yaml").write_text(
        "config:\n  aws:region: eu-west-1\n  demo:disposable: true\n  demo:key: {secure: v1:encrypted}\n"
    )
    (tmp_path / "__main__.py").write_text(PROGRAM)
    return tmp_path


def test_text_report_has_every_section(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], folder) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "v1:encrypted" not in printed.out
    assert "\x1b" not in printed.out
    for line in (
        "demo, stack dev (Pulumi.dev.yaml)",
        "  demo:key         [secret]",
        "  demo:disposable  true",
        "Resources: 1",
        "  data  aws.s3.Bucket  forceDestroy=true",
        "  bucket  data",
        "  key     [secret]",
        "  Deletes every resource.",
    ):
        assert f"{line}\n" in printed.out, printed.out


def test_json_format_prints_the_graph(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--format", "json"], folder) == 0
    graph = json.loads(capsys.readouterr().out)
    assert [resource["name"] for resource in graph["resources"]] == ["data"]
    assert graph["outputs"]["key"] == "[secret]"


def test_missing_stack_lists_existing_stacks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", "prod"], folder) == 1
    assert (
        capsys.readouterr().err
        == "error: Stack file Pulumi.prod.yaml does not exist; existing files: Pulumi.dev.yaml.\n"
    )


def test_unknown_format_lists_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--format", "svg"], folder) == 1
    assert capsys.readouterr().err == f"error: unknown FORMAT: got svg, expected {', '.join(FORMATS)}.\n"


def test_config_error_is_printed_without_a_traceback(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    shutil.copy(ROOT / "__main__.py", folder)
    (folder / "Pulumi.yaml").write_text("name: mlflow\n")
    (folder / "Pulumi.dev.yaml").write_text("config:\n  mlflow:aws: {network: {azCount: 9}, colour: red}\n")
    assert main([], folder) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(
        "error: 2 settings are invalid; nothing was created.\n"
        "  mlflow:aws.network.azCount: got 9, expected an integer from 2 to 4.\n"
        "  mlflow:aws.colour: unknown setting, expected one of environment, "
    )
    assert "Traceback" not in printed.err


def test_program_error_prints_a_traceback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "__main__.py").write_text("def fail():\n    return 1 / 0\nfail()\n")
    assert main([], folder) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: Traceback")
    assert f'File "{folder}/__main__.py", line 2, in fail' in printed


def test_program_warnings_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "__main__.py").write_text("import pulumi\npulumi.log.warn('a warning')\n")
    assert main([], folder) == 0
    assert capsys.readouterr().err == "warning: a warning\n"


def test_missing_secret_is_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = """
import pulumi
secret = pulumi.Config().get_secret("other")
if secret is None:
    raise pulumi.RunError("The secret is missing: `pulumi config set --secret demo:other`.")
pulumi.export("other", secret)
"""
    (folder / "__main__.py").write_text(program)
    assert main([], folder) == 0
    printed = capsys.readouterr()
    assert printed.err == "warning: demo:other is not set: run `pulumi config set --secret demo:other`.\n"
    assert "  other   [secret]\n" in printed.out


def test_error_that_remains_with_a_placeholder_secret_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = """
import pulumi
missing = "" if pulumi.Config().get("other") else " `pulumi config set --secret demo:other`."
raise pulumi.RunError("The region is wrong." + missing)
"""
    (folder / "__main__.py").write_text(program)
    assert main([], folder) == 1
    assert capsys.readouterr().err == "error: The region is wrong. `pulumi config set --secret demo:other`.\n"


def test_json_marks_read_resources(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = """
import pulumi_gcp as gcp
gcp.appengine.Application.get("existing", "my-project")
gcp.storage.Bucket("new", location="EU")
"""
    (folder / "__main__.py").write_text(program)
    assert main(["--format", "json"], folder) == 0
    resources = json.loads(capsys.readouterr().out)["resources"]
    assert {resource["name"]: resource.get("read") for resource in resources} == {"existing": True, "new": None}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_aws_stacks_have_a_report_with_every_section(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", stack], ROOT) == 0
    printed = capsys.readouterr().out
    for title in ("Resources: ", "Inbound access", "Outbound access", "IAM roles", "Outputs", "pulumi destroy"):
        assert f"\n{title}" in printed
    assert "unknown" not in printed
    assert "admin_token             [secret]" in printed


@pytest.mark.parametrize("stack", ["gcp-dev", "gcp-prod"])
def test_google_cloud_stacks_have_a_report_with_every_section(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stack", stack], ROOT) == 0
    printed = capsys.readouterr()
    for title in (
        "Resources: ",
        "Inbound access",
        "Outbound access",
        "MLflow roles",
        "IAM bindings",
        "Outputs",
        "pulumi destroy",
    ):
        assert f"\n{title}" in printed.out
    for unexpected in ("unknown", "none (", "None", "no mock output"):
        assert unexpected not in printed.out
    assert printed.err.startswith("warning: mlflow:gcpOauthClientSecret is not set")


def test_encrypted_secret_needs_no_passphrase(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(ROOT / name, folder)
    encrypted = "  mlflow:gcpOauthClientSecret: {secure: v1:encrypted}\n"
    (folder / "Pulumi.gcp-dev.yaml").write_text((ROOT / "Pulumi.gcp-dev.yaml").read_text() + encrypted)
    assert main(["--stack", "gcp-dev"], folder) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "mlflow:gcpOauthClientSecret [secret]" in [" ".join(line.split()) for line in printed.out.splitlines()]
    assert "v1:encrypted" not in printed.out


def test_command_needs_no_account_and_no_pulumi_cli() -> None:
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


def test_missing_region_is_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Pulumi.dev.yaml").write_text("config:\n  mlflow:aws: {}\n")
    (folder / "__main__.py").write_text("")
    assert main([], folder) == 0
    assert capsys.readouterr().err == "warning: aws:region is not set; this preview uses eu-west-1.\n"


def test_ctrl_c_prints_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "preview"],
        cwd=ROOT,
        env={"PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        maps = Path(f"/proc/{running.pid}/maps")
        # Loaded in the middle of the imports.
        while "cygrpc" not in maps.read_text():
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert running.communicate(timeout=60) == (b"", b"")
    assert running.returncode == -signal.SIGINT
