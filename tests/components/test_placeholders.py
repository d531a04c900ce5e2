"""The placeholders of the example stack files are refused by name before anything is created."""

import re
from pathlib import Path

import pulumi
import pytest

from components.placeholders import placeholders
from preview.recorder import record
from preview.stack_files import read_stack

from .scenario import ROOT, SECRET_KEYS, project_program

# Pulumi.dev.yaml needs no editing.
EDITED_FILES = {
    "prod": {
        "mlflow:aws.loadBalancer.certificateArn",
        "mlflow:aws.loadBalancer.hostName",
        "mlflow:aws.monitoring.alarmEmail",
    },
    "gcp-dev": {
        "gcp:project",
        "gcp:billingProject",
        "mlflow:gcp.oauthClient.clientId",
        "mlflow:gcp.access.members[0]",
        "mlflow:gcp.access.roles.admin[0]",
        "mlflow:gcp.access.clientImpersonators[0]",
    },
    "gcp-prod": {
        "gcp:project",
        "gcp:billingProject",
        "mlflow:gcp.oauthClient.clientId",
        "mlflow:gcp.access.members[0]",
        "mlflow:gcp.access.members[1]",
        "mlflow:gcp.access.roles.viewer[0]",
        "mlflow:gcp.access.roles.editor[0]",
        "mlflow:gcp.access.roles.admin[0]",
        "mlflow:gcp.monitoring.alarmEmail",
    },
    "dev": set[str](),
}


def test_every_stack_file_is_listed() -> None:
    names = {re.sub(r"Pulumi\.(.+)\.yaml", r"\1", path.name) for path in Path(ROOT).glob("Pulumi.*.yaml")}
    assert names == set(EDITED_FILES)


@pytest.mark.parametrize("stack", EDITED_FILES)
def test_placeholders_of_each_example_file_are_found(stack: str) -> None:
    assert {setting for setting, _ in placeholders(read_stack(ROOT, stack).config)} == EDITED_FILES[stack]


@pytest.mark.parametrize("stack", ["prod", "gcp-prod"])
def test_the_program_refuses_each_placeholder_by_name(stack: str) -> None:
    config = {**read_stack(ROOT, stack).config, "mlflow:gcpOauthClientSecret": "a-secret"}
    with pytest.raises(pulumi.RunError, match=r"invalid; nothing was created\.") as caught:
        record(project_program, config={**config, "mlflow:allowPlaceholders": "false"}, secret_keys=SECRET_KEYS)
    for setting in EDITED_FILES[stack]:
        assert re.search(rf"^  {re.escape(setting)}: got .* is a placeholder", str(caught.value), re.MULTILINE)


def test_names_that_only_contain_a_placeholder_are_accepted() -> None:
    accepted = (
        *("my-project-2", "not-my-project", "notexample.com", "example.company", "team@examples.com"),
        *("1234567890123", "arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-0000-0000-000000000001"),
    )
    assert not list(placeholders({f"mlflow:x{number}": value for number, value in enumerate(accepted)}))


def test_settings_of_other_programs_are_not_read() -> None:
    assert not list(placeholders({"aws:profile": "my-project", "other:domain": "example.com"}))
