"""The content of an account: resources from before the stack, content from use, leftovers and orphans."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from tests.doubles.provider.cloud import Cloud, Resource
from tests.doubles.provider.kinds.gcp import app_engine, identity, secrets, storage
from tests.doubles.provider.kinds.gcp.project import PROJECT
from tests.doubles.provider.kinds.images import IMAGE
from tests.engine import programs
from tests.engine.engine import Engine

# In place of a Pulumi name, for resources outside the stack.
EXTERNAL = "external"
BUCKETS = ("aws:s3/bucket:Bucket", storage.BUCKET)
REPOSITORIES = ("aws:ecr/repository:Repository", "gcp:artifactregistry/repository:Repository")
# Leftovers of a destroyed stack, and the words for them in the output `retained_on_destroy`.
KEPT = {
    r"API \S+": "APIs of",
    r"Application \S+": "App Engine application",
    r"StandardAppVersion \S+/services/default/versions/placeholder": "service default",
    r"repository gae-standard": "repository gae-standard",
    r"FlexibleAppVersion \S+/services/default/versions/v1": "MLflow's version v1 on the service default",
    r"soft-deleted bucket \S+ for \d+ days": "objects of the artifact bucket",
    r"log bucket \S+ for 7 days": "log bucket",
    r"final backup and backups of database instance \S+": "the database's backups",
    r"(Connection|GlobalAddress) \S+": "private services access",
}


def prepare(cloud: Cloud) -> None:
    """Fulfil the prerequisites of docs/gcp.md, and create the members named in Pulumi.gcp-*.yaml."""
    cloud.apis |= {"cloudresourcemanager.googleapis.com", "iam.googleapis.com"}
    cloud.create(identity.ACCOUNT, EXTERNAL, {"accountId": "training"})
    # Enabled for this account only: the program has to enable the API itself.
    cloud.apis.remove("iam.googleapis.com")


def add_application(cloud: Cloud, location: str = "europe-west", *, proxy: bool = True) -> Resource:
    """Create an App Engine application outside the stack, with a version on the service default."""
    cloud.apis |= {"appengine.googleapis.com", "storage.googleapis.com"}
    client = {"oauth2ClientId": "1-old.apps.googleusercontent.com", "oauth2ClientSecret": "an-old-secret"}
    inputs = {"project": PROJECT, "locationId": location, "servingStatus": "SERVING"}
    made = cloud.create(
        app_engine.APPLICATION, EXTERNAL, {**inputs, **({"iap": {"enabled": True, **client}} if proxy else {})}
    )
    code = cloud.create(storage.BUCKET, EXTERNAL, {"name": "external-code", "location": "EU"})
    code.contents["main.py"] = ""
    file = {"name": "main.py", "sourceUrl": f"https://storage.googleapis.com/{code.id}/main.py"}
    page = {
        "service": "default",
        "versionId": "old",
        "runtime": "python313",
        "entrypoint": {"shell": "python3 main.py"},
    }
    cloud.create(app_engine.STANDARD, EXTERNAL, {**page, "deployment": {"files": [file]}})
    return made


def add_secrets(cloud: Cloud, values: Mapping[str, str]) -> None:
    """Create secrets outside the stack, named their-<name>."""
    cloud.apis.add("secretmanager.googleapis.com")
    for name, value in values.items():
        secret = cloud.create(secrets.SECRET, EXTERNAL, {"secretId": f"their-{name}", "replication": {"auto": {}}})
        # Piped from `echo`, which adds a newline.
        cloud.create(secrets.VERSION, EXTERNAL, {"secret": secret.id, "secretData": f"{value}\n"})


def add_usage(cloud: Cloud) -> None:
    """Add content from use: artifacts and logs, and an image of an earlier version of the program."""
    for one in cloud:
        if one.kind.token in BUCKETS:
            one.contents["1/2f/artifacts/model.pkl"] = ""
        if one.kind.token in REPOSITORIES:
            one.contents["from-before"] = "sha256:0"


def unexplained_leftovers(cloud: Cloud, kept: Iterable[str]) -> list[str]:
    """Return leftovers that the output `retained_on_destroy` does not name, and lines of it without a leftover."""
    external = {str(one) for one in cloud if one.name == EXTERNAL}
    left = [one for one in cloud.left if one not in external]
    lines = list(kept)
    named = {words for pattern, words in KEPT.items() if any(re.fullmatch(pattern, one) for one in left)}
    unknown = [one for one in left if not any(re.fullmatch(pattern, one) for pattern in KEPT)]
    unnamed = [words for words in named if not any(words in line for line in lines)]
    unused = [line for line in lines if not any(words in line for words in named)]
    return unknown + unnamed + unused


def clean_up_manually(engine: Engine) -> None:
    """Handle orphans after a failed `up`, as docs/reliability.md describes.

    Resources that a second creation overwrites may stay. The application of a project can only be imported.
    """
    for one in orphans(engine):
        if one.kind.token == app_engine.APPLICATION:
            imported = {"app": {"mode": "import", "placeholder": True}}
            engine.configure(programs.with_settings(engine.config, imported))
        elif not one.kind.overwrites:
            engine.double.cloud.remove(one)


def stack_resources(cloud: Cloud) -> list[Resource]:
    """Return the resources that the stack created."""
    return [one for one in cloud if one.name != EXTERNAL]


def orphans(engine: Engine) -> list[Resource]:
    """Return resources of the stack that are in the account but not in the state, as their labels or tags show.

    Images are left out: they are deleted with their repository, or by its lifecycle policy.
    """
    known = {(one["type"], one.get("id")) for one in engine.resources}
    return [
        one
        for one in stack_resources(engine.double.cloud)
        if one.kind.token != IMAGE and (one.kind.token, one.id) not in known
    ]


def duplicates(engine: Engine) -> dict[str, int]:
    """Return by type how many more resources there are than in the state."""
    there = Counter(one.kind.token for one in stack_resources(engine.double.cloud))
    return {
        token: more
        for token, more in (there - Counter(one["type"] for one in engine.resources)).items()
        if token != IMAGE
    }
