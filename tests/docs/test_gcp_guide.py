"""What the pages about Google Cloud tell people to type and to write is what the code takes."""

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
    read,
    settings_in,
    stack_settings,
)

GUIDE = PAGES["gcp.md"]
STACKS = ("gcp-dev", "gcp-prod")
OUTPUTS = set(GcpMlflow.__annotations__)


@pytest.mark.parametrize("page", PAGES)
def test_settings_in_a_page_are_taken(page: str) -> None:
    for given in settings_in(page):
        read(given)
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block)


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_is_one_and_takes_the_value(page: str) -> None:
    groups = "|".join(sorted({name.partition(".")[0] for name in SETTINGS if "." in name}))
    named = re.findall(rf"`((?:{groups})\.[\w.]+)(?:: ([^`]+))?`", PAGES[page])
    assert named
    for name, value in named:
        assert name in SETTINGS, name
        if value:
            first, *rest = reversed(name.split("."))
            given = {first: yaml.safe_load(value)}
            for group in rest:
                given = {group: given}
            read(given)


@pytest.mark.parametrize("page", PAGES)
def test_the_defaults_that_a_page_names_are_the_codes(page: str) -> None:
    for name, said in defaults_in(page).items():
        assert defaults(name) == said, name


def test_the_guide_has_a_table_of_settings() -> None:
    assert len(defaults_in("gcp.md")) > 8


@pytest.mark.parametrize("page", PAGES)
def test_every_output_that_a_page_names_is_one(page: str) -> None:
    named = set(re.findall(r"pulumi stack output (\w+)", PAGES[page]))
    named |= {
        one for several in re.findall(r"outputs? ((?:`\w+`(?:, | and )?)+)", PAGES[page]) for one in _names(several)
    }
    # Terraform's.
    assert named - {"mlflow_artifacts_bucket_name"} <= OUTPUTS


def _names(text: str) -> list[str]:
    return re.findall(r"`(\w+)`", text)


@pytest.mark.parametrize("page", PAGES)
def test_the_secret_of_a_page_is_the_one_that_is_read(page: str) -> None:
    assert set(re.findall(r"mlflow:gcp\w+", PAGES[page])) <= {"mlflow:gcp", SECRET_KEY}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_make_is_there(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for first, second in re.findall(r"^\$ make (\w+)|`make (\w+)", PAGES[page], re.MULTILINE):
        assert re.search(rf"^{first or second}:", makefile, re.MULTILINE), first or second
    for stack in re.findall(r"STACK=([\w-]+)|stack (?:init|rm) ([\w-]+)", PAGES[page]):
        assert (ROOT / f"Pulumi.{''.join(stack)}.yaml").is_file(), stack


@pytest.mark.parametrize("page", PAGES)
def test_a_shell_can_read_it(page: str) -> None:
    scripts = blocks(page, "bash")
    for block in blocks(page, "console"):
        lines = [line.removeprefix("$ ").removeprefix("    ") for line in block.splitlines()]
        scripts.append("\n".join(lines))
    assert scripts
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
        assert not done.stderr, script


@pytest.mark.parametrize("page", PAGES)
def test_every_place_that_a_page_leads_to_is_there(page: str) -> None:
    for target, place in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", PAGES[page]):
        file = (ROOT / "docs" / (target or page)).resolve()
        assert file.is_file(), target
        assert not place or place in _places(file.read_text()), place


def _places(text: str) -> set[str]:
    """As GitHub names headings."""
    return {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("stack", STACKS)
def test_a_stacks_file_says_its_project_everywhere(stack: str) -> None:
    """Whoever puts theirs in place of it finds every place by its name, and the provider knows each key."""
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    config = yaml.safe_load(text)["config"]
    assert config["gcp:project"] == config["gcp:billingProject"] == "my-project"
    known = (Path(gcp.__file__).parent / "config" / "__init__.pyi").read_text()
    for key in config:
        if key.startswith("gcp:"):
            assert re.search(rf"^{key.removeprefix('gcp:')}:", known, re.MULTILINE), key
    for account in re.findall(r"@([\w-]+)\.iam", text):
        assert account == "my-project"
    made = graph(stack_settings(stack), stack)
    assert made.outputs["url"] == "https://mlflow-dot-my-project.ew.r.appspot.com"
    assert not made.messages


def test_the_stacks_file_names_what_it_costs() -> None:
    costs = (ROOT / "docs" / "gcp-costs.md").read_text().split("## Pulumi.gcp-dev.yaml")[1]
    total = re.findall(r"\*\*total\*\* .*\*\*([\d.]+)\*\*", costs)[0]
    assert f"${float(total):.0f} a month" in (ROOT / "Pulumi.gcp-dev.yaml").read_text()


def test_the_account_for_ci_is_the_one_that_the_stack_makes() -> None:
    (named,) = set(re.findall(r"MLFLOW_IAP_SERVICE_ACCOUNT: (\S+)", GUIDE))
    assert graph(stack_settings("gcp-dev")).outputs["client_account"] == named


def test_the_guides_program_builds_mlflow() -> None:
    (block,) = blocks("gcp.md", "python")
    found = record(lambda: exec(block, {"google": gcp.Provider("google", project="my-project")}))
    assert found.outputs["url"].startswith("https://research-dot-my-project.")
    (service,) = found.of("gcp:appengine/flexibleAppVersion:FlexibleAppVersion")
    assert "::google::" in service.provider


def test_what_is_replaced_to_rotate_is_the_password_alone() -> None:
    (pattern,) = re.findall(r"pulumi up --replace '([^']+)'", GUIDE)
    found = [one for one in graph(stack_settings("gcp-dev")).resources if fnmatch.fnmatch(one.urn, pattern)]
    assert [one.type for one in found] == ["random:index/randomPassword:RandomPassword"]


def test_the_alerts_are_the_programs() -> None:
    rows = re.findall(r"^\| ([a-z, -]+) \| [^|]+\|$", GUIDE.split("| alert |")[1].split("\n\n")[0], re.MULTILINE)
    said = {name for row in rows for name in row.split(", ")}
    alerts = graph(stack_settings("gcp-dev")).of("gcp:monitoring/alertPolicy:AlertPolicy")
    assert {one.name for one in alerts} == {f"mlflow-alert-{name}" for name in said}


# --- Who may deploy


def roles() -> dict[str, set[str]]:
    """Kinds of resources by the roles that they need."""
    rows = re.findall(r"^\| (.*) \| `roles/([\w.]+)` \|$", GUIDE, re.MULTILINE)
    return {role: set(re.findall(r"`(\w+\.[A-Z]\w+)`", kinds)) for kinds, role in rows}


def test_every_kind_of_resource_has_a_role() -> None:
    there = {
        f"{module}.{kind}"
        for scenario in SCENARIOS
        for one in scenario.graph().resources
        for module, kind in re.findall(r"^gcp:(\w+)/\w+:(\w+)$", one.type)
    }
    named = set[str]().union(*roles().values())
    assert there == named


def test_the_commands_give_every_role_of_the_table() -> None:
    (script,) = [one for one in blocks("gcp.md", "bash") if "add-iam-policy-binding" in one]
    given = re.findall(r"\b[a-z]+(?:\.[a-zA-Z]+)+\b", script.split("for ROLE in")[1].split("; do")[0])
    assert sorted(given) == sorted(roles())


# --- At the end


def test_what_stops_a_destroy_in_production_is_what_the_page_says() -> None:
    words = {
        "the application": "gcp:appengine/application:Application",
        "the database": "gcp:sql/database:Database",
        "its instance": "gcp:sql/databaseInstance:DatabaseInstance",
        "user": "gcp:sql/user:User",
        "the password's secret": "gcp:secretmanager/secret:Secret",
        "the bucket": "gcp:storage/bucket:Bucket",
    }
    sentence = re.findall(r"deletes nothing:(.*?)\.", PAGES["gcp-destroy.md"], re.DOTALL)[0]
    said = re.split(r",|\band\b|\bwith\b", " ".join(sentence.split()))
    protected = {one.type for one in graph(stack_settings("gcp-prod"), "gcp-prod").resources if one.protect}
    assert {words[one.strip()] for one in said if one.strip()} == protected


def test_every_setting_that_keeps_something_is_on_the_page() -> None:
    kept = " ".join(str(scenario.graph().outputs.get("kept", "")) for scenario in SCENARIOS)
    named = set(re.findall(r"\b((?:artifacts|database|network)\.\w+)", kept))
    assert named >= {"artifacts.softDeleteDays", "database.lastBackupDays"}
    for name in named - {"network.peered"}:
        assert f"`{name}`" in PAGES["gcp-destroy.md"], name


def test_the_versions_that_commands_name_are_the_programs() -> None:
    found = graph(stack_settings("gcp-dev"))
    (page,) = found.of("gcp:appengine/standardAppVersion:StandardAppVersion")
    (mlflow,) = found.of("gcp:appengine/flexibleAppVersion:FlexibleAppVersion")
    everything = "\n".join(PAGES.values())
    assert set(re.findall(r"gcloud app versions \w+ (\S+)", everything)) == {mlflow.inputs["versionId"]}
    assert set(re.findall(r"--splits (\w+)=1", everything)) == {page.inputs["versionId"]}


def test_what_lifts_the_protection_is_a_setting() -> None:
    (key,) = re.findall(r"config set --path '(\S+)' false", PAGES["gcp-destroy.md"])
    assert key.removeprefix("mlflow:gcp.") in SETTINGS
