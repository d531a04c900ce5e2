"""The content of an account: resources outside the stack, content from use, leftovers and orphans."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tests.doubles.provider.cloud import Cloud, Resource
from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.aws.load_balancer import CERTIFICATE
from tests.doubles.provider.kinds.aws.sagemaker import APP, TRACKING_SERVER
from tests.doubles.provider.kinds.gcp import app_engine, identity, secrets, storage
from tests.doubles.provider.kinds.gcp.project import PROJECT
from tests.doubles.provider.kinds.images import IMAGE
from tests.engine import programs
from tests.engine.engine import Engine

# In place of a Pulumi name, for resources outside the stack.
EXTERNAL = "external"
BUCKETS = ("aws:s3/bucket:Bucket", storage.BUCKET)
REPOSITORIES = ("aws:ecr/repository:Repository", "gcp:artifactregistry/repository:Repository")
# Leftovers of a destroyed stack, and how the output `retained_on_destroy` names them.
RETAINED = {
    r"API \S+": "APIs of",
    r"Application \S+": "App Engine application",
    r"StandardAppVersion \S+/services/default/versions/placeholder": "service default",
    r"repository gae-standard": "repository gae-standard",
    r"FlexibleAppVersion \S+/services/default/versions/v1": "MLflow's version v1 on the service default",
    r"soft-deleted bucket \S+ for \d+ days": "objects of the artifact bucket",
    r"log bucket \S+ for 7 days": "log bucket",
    r"final backup and backups of database instance \S+": "the database's backups",
    r"(Connection|GlobalAddress) \S+": "private services access",
    r"(ServiceIdentity|CryptoKeyIAMMember) \S+": "roles of Google's service agents",
}


def prepare(cloud: Cloud) -> None:
    """Fulfil the prerequisites of docs/gcp.md, and create the members and certificate that Pulumi.*.yaml name."""
    add_certificate(cloud)
    cloud.apis |= {"cloudresourcemanager.googleapis.com", "iam.googleapis.com"}
    cloud.create(identity.ACCOUNT, EXTERNAL, {"accountId": "training"})
    # The API is enabled for this service account only: the program has to enable it.
    cloud.apis.remove("iam.googleapis.com")


def add_application(cloud: Cloud, location: str = "europe-west", *, iap: bool = True) -> Resource:
    """Create an App Engine application outside the stack, with a version on the service default."""
    cloud.apis |= {"appengine.googleapis.com", "storage.googleapis.com"}
    client = {"oauth2ClientId": "1-old.apps.googleusercontent.com", "oauth2ClientSecret": "an-old-secret"}
    inputs = {"project": PROJECT, "locationId": location, "servingStatus": "SERVING"}
    application = cloud.create(
        app_engine.APPLICATION, EXTERNAL, {**inputs, **({"iap": {"enabled": True, **client}} if iap else {})}
    )
    code_bucket = cloud.create(storage.BUCKET, EXTERNAL, {"name": "external-code", "location": "EU"})
    code_bucket.contents["main.py"] = ""
    file = {"name": "main.py", "sourceUrl": f"https://storage.googleapis.com/{code_bucket.id}/main.py"}
    version = {
        "service": "default",
        "versionId": "old",
        "runtime": "python313",
        "entrypoint": {"shell": "python3 main.py"},
    }
    cloud.create(app_engine.STANDARD, EXTERNAL, {**version, "deployment": {"files": [file]}})
    return application


def add_certificate(
    cloud: Cloud, arn: str = programs.CERTIFICATE, *, status: str = "ISSUED", names: Sequence[str] = ("*.example.com",)
) -> None:
    """Create an ACM certificate outside the stack."""
    inputs = {"domainName": names[0], "validationMethod": "DNS", "subjectAlternativeNames": list(names)}
    cloud.place(Resource(KINDS[CERTIFICATE], arn, EXTERNAL, inputs, {"arn": arn, "status": status}))


def add_secrets(cloud: Cloud, values: Mapping[str, str]) -> None:
    """Create secrets outside the stack, named existing-<name>."""
    cloud.apis.add("secretmanager.googleapis.com")
    for name, value in values.items():
        secret = cloud.create(secrets.SECRET, EXTERNAL, {"secretId": f"existing-{name}", "replication": {"auto": {}}})
        # As piped from `echo`, which adds a newline.
        cloud.create(secrets.VERSION, EXTERNAL, {"secret": secret.id, "secretData": f"{value}\n"})


def add_usage(cloud: Cloud) -> None:
    """Add content from use: artifacts and logs, and an image of an earlier version of the program."""
    for resource in cloud:
        if resource.kind.token in BUCKETS:
            resource.contents["1/2f/artifacts/model.pkl"] = ""
        if resource.kind.token in REPOSITORIES:
            resource.contents["earlier-image"] = "sha256:0"


def unexplained_leftovers(cloud: Cloud, retained: Iterable[str]) -> list[str]:
    """Return leftovers that the output `retained_on_destroy` does not name, and its lines without a leftover."""
    external = {str(resource) for resource in cloud if resource.name == EXTERNAL}
    leftovers = [leftover for leftover in cloud.left if leftover not in external]
    lines = list(retained)
    expected = {
        name for pattern, name in RETAINED.items() if any(re.fullmatch(pattern, leftover) for leftover in leftovers)
    }
    unknown = [leftover for leftover in leftovers if not any(re.fullmatch(pattern, leftover) for pattern in RETAINED)]
    missing = [name for name in expected if not any(name in line for line in lines)]
    unused = [line for line in lines if not any(name in line for name in expected)]
    return unknown + missing + unused


def clean_up_manually(engine: Engine) -> None:
    """Handle orphans after a failed `up`, as docs/reliability.md describes.

    Resources that the next creation overwrites may stay. The application of a project can only be imported. An MLflow
    app or tracking server that exists is updated after a refresh only.
    """
    if any(resource.get("initErrors") for resource in engine.resources if resource["type"] in (APP, TRACKING_SERVER)):
        engine.refresh().ok()
    for orphan in orphans(engine):
        if orphan.kind.token == app_engine.APPLICATION:
            imported = {"app": {"mode": "import", "placeholder": True}}
            engine.configure(programs.with_settings(engine.config, imported))
        elif not orphan.kind.overwrites:
            engine.double.cloud.remove(orphan)


def stack_resources(cloud: Cloud) -> list[Resource]:
    """Return the resources that the stack created."""
    return [resource for resource in cloud if resource.name != EXTERNAL]


def orphans(engine: Engine) -> list[Resource]:
    """Return resources of the stack that are in the account but not in the state, as labels or tags identify them.

    Images are excluded: they are deleted with their repository, or by its lifecycle policy.
    """
    known = {(resource["type"], resource.get("id")) for resource in engine.resources}
    return [
        resource
        for resource in stack_resources(engine.double.cloud)
        if resource.kind.token != IMAGE and (resource.kind.token, resource.id) not in known
    ]


def duplicates(engine: Engine) -> dict[str, int]:
    """Return by type the number of resources in the account that are not in the state."""
    existing = Counter(resource.kind.token for resource in stack_resources(engine.double.cloud))
    return {
        token: count
        for token, count in (existing - Counter(resource["type"] for resource in engine.resources)).items()
        if token != IMAGE
    }
