"""The move of docs/from-terraform.md with Pulumi's real engine: imported resources are updated, not replaced.

The project is the mock provider's, with the resources of the Terraform module.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# Imported here because several threads of the mock provider would import them concurrently.
from pulumi_gcp import appengine, sql, storage  # noqa: F401  # pyright: ignore[reportUnusedImport]

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kinds.gcp.project import PROJECT
from tests.doubles.provider.server import Double
from tests.engine import programs
from tests.engine.engine import Engine, Run, make_venv, missing_tool

from .gcp_pages import SECRET_KEY, blocks, over, settings_in

NAME = "team-mlflow-dev-europe-west1"
INSTANCE = f"{NAME}-a1b2c3"
APPLICATION = "gcp:appengine/application:Application"
DATABASE = "gcp:sql/database:Database"
BUCKET = "gcp:storage/bucket:Bucket"
MOVED = {APPLICATION, DATABASE, BUCKET, "gcp:sql/databaseInstance:DatabaseInstance"}

pytestmark = pytest.mark.timeout(900)


def create_terraform_resources(cloud: Cloud) -> None:
    """Create the resources of the module (f70f70a, mlflow/*.tf)."""
    cloud.apis |= {
        f"{name}.googleapis.com"
        for name in ("appengine", "appengineflex", "cloudresourcemanager", "secretmanager", "serviceusage", "sqladmin")
    }
    proxy = {"enabled": True, "oauth2ClientId": "1-a.apps.googleusercontent.com", "oauth2ClientSecret": "GOCSPX-a"}
    resources: list[tuple[str, dict[str, Any]]] = [
        (APPLICATION, {"locationId": "europe-west", "iap": proxy}),
        (
            "gcp:sql/databaseInstance:DatabaseInstance",
            {
                "name": INSTANCE,
                "region": "europe-west1",
                "databaseVersion": "MYSQL_8_0",
                "deletionProtection": True,
                "settings": {
                    "tier": "db-g1-small",
                    "edition": "ENTERPRISE",
                    "availabilityType": "ZONAL",
                    "diskSize": 10,
                    "ipConfiguration": {"ipv4Enabled": True},
                    "backupConfiguration": {"enabled": True, "binaryLogEnabled": True},
                },
            },
        ),
        # The character set of a database from the console, not Terraform's: it must not change.
        (DATABASE, {"name": "mlflow", "instance": INSTANCE, "charset": "utf8", "collation": "utf8_general_ci"}),
        ("gcp:sql/user:User", {"name": "mlflow", "instance": INSTANCE, "password": "the old one"}),
        (BUCKET, {"name": NAME, "location": "EU", "storageClass": "MULTI_REGIONAL", "uniformBucketLevelAccess": True}),
    ]
    for kind, inputs in resources:
        cloud.create(kind, "terraform", {"project": PROJECT, **inputs})


@pytest.fixture
def engine(tmp_path: Path) -> Generator[Engine]:
    missing = missing_tool()
    if missing is not None:
        pytest.skip(missing)
    folder, venv = tmp_path / "stack" / "project", make_venv(tmp_path / "venv")
    cloud = Cloud(programs.EXISTING, folder)
    create_terraform_resources(cloud)
    programs.write(folder, venv)
    (settings,) = settings_in("from-terraform.md")
    # The mock provider has no secrets that were created outside of the stack.
    client = {"oauthClient": {"clientId": "123456789012-abc.apps.googleusercontent.com"}}
    config = {
        "gcp:project": PROJECT,
        "gcp:region": "europe-west1",
        # The page contains placeholders.
        "mlflow:allowPlaceholders": True,
        "mlflow:gcp": over({name: value for name, value in settings.items() if name != "oauthClient"}, client),
    }
    double = Double(cloud=cloud)
    with double.serve() as providers:
        engine = Engine(folder, venv, double, providers, config, {SECRET_KEY: "GOCSPX-b"})
        engine.init()
        yield engine


def planned_operations(run: Run) -> dict[str, set[str]]:
    """Return the planned operations by type, for the types of the move."""
    found: dict[str, set[str]] = {}
    for step in run.steps:
        if step.kind in MOVED:
            found.setdefault(step.kind, set()).add(step.op)
    return found


def test_imported_resources_are_updated_in_place(engine: Engine) -> None:
    (block,) = blocks("from-terraform.md", "json")
    (engine.folder / "import.json").write_text(block.replace("my-project", PROJECT))
    engine.command("import", "--file", "import.json", "--generate-code=false", "--yes", "--skip-preview").ok()
    imported = {resource["type"] for resource in engine.resources}
    assert imported == MOVED - {APPLICATION}
    found = planned_operations(engine.preview().ok())
    assert found.pop(APPLICATION) <= {"import", "update"}
    # The database has no operation: its character set differs from the program's and is ignored.
    assert found == {"gcp:sql/databaseInstance:DatabaseInstance": {"update"}, BUCKET: {"update"}}
    assert json.dumps(engine.state).count('"utf8_general_ci"') > 0
