"""docs/gcp.md, gcp-destroy.md and from-terraform.md: commands, settings, defaults and outputs match the code."""

import fnmatch
import re
import subprocess
from pathlib import Path

import pulumi_gcp as gcp
import pytest
import yaml

from components import GcpMlflow
from preview.recorder import record

from ..components.gcp.scenarios import SCENARIOS
from .gcp_pages import (
    PAGES,
    ROOT,
    SECRET_KEY,
    SETTINGS,
    blocks,
    defaults,
    defaults_in,
    graph,
    over,
    read,
    settings_in,
    stack_settings,
)

GUIDE = PAGES["gcp.md"]
STACKS = ("gcp-dev", "gcp-prod")
OUTPUTS = set(GcpMlflow.__annotations__)


@pytest.mark.parametrize("page", PAGES)
def test_yaml_blocks_are_valid_settings(page: str) -> None:
    for settings in settings_in(page):
        read(settings)
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block)


@pytest.mark.parametrize("page", PAGES)
def test_named_settings_exist_and_accept_the_value(page: str) -> None:
    groups = "|".join(sorted({name.partition(".")[0] for name in SETTINGS if "." in name}))
    named = re.findall(rf"`((?:{groups})\.[a-z][\w.]*)(?:: ([^`]+))?`", PAGES[page])
    assert named
    for name, value in named:
        assert name in SETTINGS, name
        if value:
            first, *rest = reversed(name.split("."))
            settings = {first: yaml.safe_load(value)}
            for group in rest:
                settings = {group: settings}
            read(settings)


@pytest.mark.parametrize("page", PAGES)
def test_stated_defaults_match_the_code(page: str) -> None:
    for name, stated in defaults_in(page).items():
        assert defaults(name) == stated, name


def test_guide_has_a_table_of_settings() -> None:
    assert len(defaults_in("gcp.md")) > 8


@pytest.mark.parametrize("page", PAGES)
def test_named_outputs_exist(page: str) -> None:
    named = set(re.findall(r"pulumi stack output (\w+)", PAGES[page]))
    named |= {
        name for several in re.findall(r"outputs? ((?:`\w+`(?:, | and )?)+)", PAGES[page]) for name in _names(several)
    }
    # An output of the Terraform module.
    assert named - {"mlflow_artifacts_bucket_name"} <= OUTPUTS


def _names(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


@pytest.mark.parametrize("page", PAGES)
def test_config_secret_is_the_one_the_program_reads(page: str) -> None:
    assert set(re.findall(r"mlflow:gcp\w+", PAGES[page])) <= {"mlflow:gcp", SECRET_KEY}


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for first, second in re.findall(r"^\$ make (\w+)|`make (\w+)", PAGES[page], re.MULTILINE):
        assert re.search(rf"^{first or second}:", makefile, re.MULTILINE), first or second
    for stack in re.findall(r"STACK=([\w-]+)|stack (?:init|rm) ([\w-]+)", PAGES[page]):
        assert (ROOT / f"Pulumi.{''.join(stack)}.yaml").is_file(), stack


@pytest.mark.parametrize("page", PAGES)
def test_bash_parses_the_commands(page: str) -> None:
    scripts = blocks(page, "bash")
    for block in blocks(page, "console"):
        lines = [line.removeprefix("$ ").removeprefix("    ") for line in block.splitlines()]
        scripts.append("\n".join(lines))
    assert scripts
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert not done.stderr, script


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", PAGES[page]):
        file = (ROOT / "docs" / (target or page)).resolve()
        assert file.is_file(), target
        assert not anchor or anchor in _anchors(file.read_text()), anchor


def _anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub generates them."""
    return {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("stack", STACKS)
def test_stack_file_uses_one_project_name(stack: str) -> None:
    """Replacing my-project in the file is sufficient, and the provider has each gcp: key."""
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    config = yaml.safe_load(text)["config"]
    assert config["gcp:project"] == config["gcp:billingProject"] == "my-project"
    known = (Path(gcp.__file__).parent / "config" / "__init__.pyi").read_text()
    for key in config:
        if key.startswith("gcp:"):
            assert re.search(rf"^{key.removeprefix('gcp:')}:", known, re.MULTILINE), key
    for account in re.findall(r"@([\w-]+)\.iam", text):
        assert account == "my-project"
    recorded = graph(stack_settings(stack), stack)
    assert recorded.outputs["url"] == "https://mlflow-dot-my-project.ew.r.appspot.com"
    assert not recorded.messages


def test_stack_file_states_the_total_cost() -> None:
    costs = (ROOT / "docs" / "gcp-costs.md").read_text().split("## Pulumi.gcp-dev.yaml")[1]
    total = re.findall(r"\*\*total\*\* .*\*\*([\d.]+)\*\*", costs)[0]
    assert f"${float(total):.0f} a month" in (ROOT / "Pulumi.gcp-dev.yaml").read_text()


def test_ci_service_account_is_the_stacks() -> None:
    (named,) = set(re.findall(r"MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT: (\S+)", GUIDE))
    assert graph(stack_settings("gcp-dev")).outputs["client_service_account"] == named


def test_python_block_creates_the_component() -> None:
    (block,) = blocks("gcp.md", "python")
    found = record(lambda: exec(block, {"google": gcp.Provider("google", project="my-project")}))
    assert found.outputs["url"].startswith("https://research-dot-my-project.")
    (service,) = found.of("gcp:appengine/flexibleAppVersion:FlexibleAppVersion")
    assert "::google::" in service.provider


def test_rotation_replaces_the_password_only() -> None:
    (pattern,) = re.findall(r"pulumi up --replace '([^']+)'", GUIDE)
    found = [
        resource for resource in graph(stack_settings("gcp-dev")).resources if fnmatch.fnmatch(resource.urn, pattern)
    ]
    assert [resource.type for resource in found] == ["random:index/randomPassword:RandomPassword"]


def test_alert_table_matches_the_stack() -> None:
    """Names, thresholds and durations of the guide's table are those of the development stack with a canary."""
    listed = re.findall(r"^\| ([a-z-]+) \| .* \| (?:none|> ([\d.]+)) \| (\d+ s) \|$", GUIDE, re.MULTILINE)
    settings = over(stack_settings("gcp-dev"), {"monitoring": {"canary": True}})
    alerts = graph(settings).of("gcp:monitoring/alertPolicy:AlertPolicy")
    expected: dict[str, tuple[str, str]] = {}
    for alert in alerts:
        (condition,) = alert.inputs["conditions"]
        (kind,) = condition.keys() - {"displayName"}
        values = condition[kind]
        (threshold,) = re.findall(r"^.*?> ([\d.]+)", values["query"]) if "query" in values else [""]
        threshold = f"{values['thresholdValue']:g}" if "thresholdValue" in values else threshold
        expected[alert.name.removeprefix("mlflow-alert-")] = (threshold, values["duration"].replace("s", " s"))
    assert {name: (threshold, duration) for name, threshold, duration in listed} == expected


# --- Permissions of the deployer


def roles() -> dict[str, set[str]]:
    """Return the resource types of the guide's table by role."""
    rows = re.findall(r"^\| (.*) \| `roles/([\w.]+)` \|$", GUIDE, re.MULTILINE)
    return {role: set(re.findall(r"`(\w+\.[A-Z]\w+)`", kinds)) for kinds, role in rows}


def test_every_resource_type_has_a_role() -> None:
    types = {
        f"{module}.{kind}"
        for scenario in SCENARIOS
        for resource in scenario.graph().resources
        for module, kind in re.findall(r"^gcp:(\w+)/\w+:(\w+)$", resource.type)
    }
    named = set[str]().union(*roles().values())
    assert types == named


def test_commands_grant_every_role_of_the_table() -> None:
    (script,) = [block for block in blocks("gcp.md", "bash") if "for ROLE in" in block]
    granted = re.findall(r"\b[a-z]+(?:\.[a-zA-Z]+)+\b", script.split("for ROLE in")[1].split("; do")[0])
    on_the_key = re.findall(r"gcloud kms keys add-iam-policy-binding .* --role roles/(\S+)", GUIDE)
    assert sorted([*granted, *on_the_key]) == sorted(roles())


# --- Destroy


def test_retention_settings_are_on_the_page() -> None:
    retained = " ".join(str(scenario.graph().outputs.get("retained_on_destroy", "")) for scenario in SCENARIOS)
    named = set(re.findall(r"\b((?:artifacts|database|network)\.\w+)", retained))
    assert named >= {"artifacts.softDeleteDays", "database.finalBackupDays"}
    for name in named - {"network.peered"}:
        assert f"`{name}`" in PAGES["gcp-destroy.md"], name


def test_app_engine_versions_in_commands_are_the_stacks() -> None:
    found = graph(stack_settings("gcp-dev"))
    (page,) = found.of("gcp:appengine/standardAppVersion:StandardAppVersion")
    (mlflow,) = found.of("gcp:appengine/flexibleAppVersion:FlexibleAppVersion")
    everything = "\n".join(PAGES.values())
    assert set(re.findall(r"gcloud app versions \w+ (\S+)", everything)) == {mlflow.inputs["versionId"]}
    assert set(re.findall(r"--splits (\w+)=1", everything)) == {page.inputs["versionId"]}


def test_protection_setting_exists() -> None:
    (key,) = re.findall(r"config set --path '(\S+)' false", PAGES["gcp-destroy.md"])
    assert key.removeprefix("mlflow:gcp.") in SETTINGS
