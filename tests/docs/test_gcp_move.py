"""The move of docs/from-terraform.md by Pulumi's real engine: what the page imports stays, and is changed in place.

The project that it finds is the double's, with what the module of Terraform leaves in it.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# Several of the double's threads would import them at once.
from pulumi_gcp import appengine, sql, storage  # noqa: F401  # pyright: ignore[reportUnusedImport]

from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kinds.gcp.project import PROJECT
from tests.doubles.provider.server import Double
from tests.engine import programs
from tests.engine.engine import Engine, Run, make_venv, missing

from .gcp_pages import SECRET_KEY, blocks, over, settings_in

NAME = "team-mlflow-dev-europe-west1"
INSTANCE = f"{NAME}-a1b2c3"
APPLICATION = "gcp:appengine/application:Application"
DATABASE = "gcp:sql/database:Database"
BUCKET = "gcp:storage/bucket:Bucket"
KEPT = {APPLICATION, DATABASE, BUCKET, "gcp:sql/databaseInstance:DatabaseInstance"}

pytestmark = pytest.mark.timeout(900)


def of_terraform(cloud: Cloud) -> None:
    """What the module leaves behind (f70f70a, mlflow/*.tf)."""
    cloud.apis |= {
        f"{name}.googleapis.com"
        for name in ("appengine", "appengineflex", "cloudresourcemanager", "secretmanager", "serviceusage", "sqladmin")
    }
    proxy = {"enabled": True, "oauth2ClientId": "1-a.apps.googleusercontent.com", "oauth2ClientSecret": "GOCSPX-a"}
    made: list[tuple[str, dict[str, Any]]] = [
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
        # Not Terraform's character set, but the one of a database from the console: it must stay.
        (DATABASE, {"name": "mlflow", "instance": INSTANCE, "charset": "utf8", "collation": "utf8_general_ci"}),
        ("gcp:sql/user:User", {"name": "mlflow", "instance": INSTANCE, "password": "the old one"}),
        (BUCKET, {"name": NAME, "location": "EU", "storageClass": "MULTI_REGIONAL", "uniformBucketLevelAccess": True}),
    ]
    for kind, inputs in made:
        cloud.create(kind, "of Terraform's", {"project": PROJECT, **inputs})


@pytest.fixture
def engine(tmp_path: Path) -> Generator[Engine]:
    why = missing()
    if why is not None:
        pytest.skip(why)
    folder, venv = tmp_path / "stack" / "project", make_venv(tmp_path / "venv")
    cloud = Cloud(programs.GIVEN, folder)
    of_terraform(cloud)
    programs.write(folder, venv)
    (settings,) = settings_in("from-terraform.md")
    # The double keeps no secrets that others made.
    client = {"signIn": {"clientId": "123456789012-abc.apps.googleusercontent.com"}}
    config = {
        "gcp:project": PROJECT,
        "gcp:region": "europe-west1",
        "mlflow:gcp": over({name: value for name, value in settings.items() if name != "signIn"}, client),
    }
    double = Double(cloud=cloud)
    with double.serve() as providers:
        engine = Engine(folder, venv, double, providers, config, {SECRET_KEY: "GOCSPX-b"})
        engine.init()
        yield engine


def touched(run: Run) -> dict[str, set[str]]:
    """What would be done, by the kinds that the move is about."""
    found: dict[str, set[str]] = {}
    for step in run.steps:
        if step.kind in KEPT:
            found.setdefault(step.kind, set()).add(step.op)
    return found


def test_what_the_page_imports_is_changed_in_place_and_nothing_is_made_a_second_time(engine: Engine) -> None:
    (block,) = blocks("from-terraform.md", "json")
    (engine.folder / "import.json").write_text(block.replace("my-project", PROJECT))
    engine.command("import", "--file", "import.json", "--generate-code=false", "--yes", "--skip-preview").ok()
    imported = {one["type"] for one in engine.resources}
    assert imported == KEPT - {APPLICATION}
    found = touched(engine.preview().ok())
    assert found.pop(APPLICATION) <= {"import", "update"}
    # The database itself is not even mentioned: its character set is not the program's, and stays.
    assert found == {"gcp:sql/databaseInstance:DatabaseInstance": {"update"}, BUCKET: {"update"}}
    assert json.dumps(engine.state).count('"utf8_general_ci"') > 0
