"""GitHub's files: workflows of this repository and those to copy, issue forms, and the hooks for pre-commit."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples" / "github-actions").glob("*.yml"))
WORKFLOWS = [*sorted((ROOT / ".github" / "workflows").glob("*.yml")), *EXAMPLES]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CI_CD = (ROOT / "docs" / "ci-cd.md").read_text(encoding="utf-8")


def tool(name: str) -> str:
    """The path of a tool of the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(path: Path) -> dict[str, Any]:
    loaded = cast("dict[Any, Any]", yaml.safe_load(path.read_text(encoding="utf-8")))
    # YAML 1.1 reads the key `on` as true.
    return {("on" if key is True else key): value for key, value in loaded.items()}


def steps(workflow: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_workflows_and_forms() -> None:
    assert {relative(path) for path in WORKFLOWS} == {
        ".github/workflows/audit.yml",
        ".github/workflows/ci.yml",
        "examples/github-actions/aws.yml",
        "examples/github-actions/gcp.yml",
    }
    assert {path.stem for path in FORMS} == {"bug", "config", "feature", "question"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_workflow_matches_the_schema(path: Path) -> None:
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", str(path))


@pytest.mark.parametrize("path", FORMS, ids=relative)
def test_issue_form_matches_the_schema(path: Path) -> None:
    schema = "github-issue-config" if path.stem == "config" else "github-issue-forms"
    run(tool("check-jsonschema"), "--builtin-schema", f"vendor.{schema}", str(path))


def test_zizmor_finds_no_weakness() -> None:
    run(tool("zizmor"), "--offline", "--quiet", *map(str, WORKFLOWS))


@pytest.mark.parametrize("path", WORKFLOWS, ids=relative)
def test_actions_are_pinned_to_commits_with_their_versions(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_all_workflows_pin_the_same_version_of_an_action() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for action, version in re.findall(r"uses: (\S+)@(.*)", path.read_text(encoding="utf-8")):
            pins.setdefault(action, set()).add(version)
    assert {action: versions for action, versions in pins.items() if len(versions) > 1} == {}


def test_ci_runs_every_check() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "ci.yml")
    assert [step["run"] for step in steps(workflow) if "run" in step][-1] == "bash .ci/run"
    assert {"push", "pull_request"} <= set(workflow["on"])


@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_example_uses_no_stored_secret(path: Path) -> None:
    assert "secrets." not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_example_previews_pull_requests_and_updates_from_main(path: Path) -> None:
    workflow = load(path)
    jobs = workflow["jobs"]
    assert set(jobs) == {"preview", "up"}
    assert workflow["permissions"] == {}
    for name, job in jobs.items():
        assert job["permissions"]["id-token"] == "write"
        assert "concurrency" in job
        commands = [step["with"]["command"] for step in job["steps"] if "command" in step.get("with", {})]
        assert commands == [name]
    assert "github.event_name == 'pull_request'" in jobs["preview"]["if"]
    assert "github.ref == 'refs/heads/main'" in jobs["up"]["if"]
    assert jobs["up"]["concurrency"]["cancel-in-progress"] is False
    assert jobs["up"]["environment"] in CI_CD


@pytest.mark.parametrize("path", EXAMPLES, ids=relative)
def test_docs_list_the_variables_of_an_example(path: Path) -> None:
    section = CI_CD.split("\n## AWS\n")[1].split("\n## Google Cloud\n")[0 if path.stem == "aws" else 1]
    used = set(re.findall(r"\bvars\.(\w+)", path.read_text(encoding="utf-8")))
    assert used == set(re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE))


def test_pre_commit_configuration_is_valid() -> None:
    run(tool("pre-commit"), "validate-config", ".pre-commit-config.yaml")


def test_commands_of_pre_commit_hooks_exist() -> None:
    config = load(ROOT / ".pre-commit-config.yaml")
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    names: set[str] = set()
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        command, *_ = shlex.split(hook["entry"])
        assert command.startswith(".local/venv/bin/")
        name = Path(command).name
        assert Path(tool(name)).is_file(), f"{command} is not installed: is it in the dependency group lint?"
        names.add(name)
        if "files" in hook:
            assert all(re.search(hook["files"], relative(path)) for path in WORKFLOWS)
    assert {"ruff", "pyright", "check-jsonschema", "zizmor"} == names


def test_security_policy_names_the_private_way() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "Report a vulnerability" in policy
    assert "@" not in policy
