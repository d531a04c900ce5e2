"""What is in an account, as a person sees it: what was there before, what came with use, what is left or lost."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from tests.doubles.provider.cloud import Cloud, Thing
from tests.doubles.provider.kinds.gcp import app_engine, identity, secrets, storage
from tests.doubles.provider.kinds.gcp.project import PROJECT
from tests.doubles.provider.kinds.images import IMAGE
from tests.engine import programs
from tests.engine.engine import Engine

# Instead of a name in the program.
SOMEBODYS = "somebody else's"
BUCKETS = ("aws:s3/bucket:Bucket", storage.BUCKET)
REPOSITORIES = ("aws:ecr/repository:Repository", "gcp:artifactregistry/repository:Repository")
# What Google keeps, or keeps for a while, and the words for it in the output `kept`.
KEPT = {
    r"API \S+": "APIs of",
    r"Application \S+": "App Engine application",
    r"StandardAppVersion \S+/services/default/versions/placeholder": "service default",
    r"repository gae-standard": "repository gae-standard",
    r"FlexibleAppVersion \S+/services/default/versions/v1": "MLflow's version v1 on the service default",
    r"soft-deleted bucket \S+ for \d+ days": "bucket's objects",
    r"log bucket \S+ for 7 days": "log bucket",
    r"final backup and backups of database instance \S+": "backups of the database",
    r"(Connection|GlobalAddress) \S+": "connection to Google's services",
}


def prepare(cloud: Cloud) -> None:
    """What docs/gcp.md asks for before the first `up`, and who is named in Pulumi.gcp-*.yaml."""
    cloud.apis |= {"cloudresourcemanager.googleapis.com", "iam.googleapis.com"}
    cloud.create(identity.ACCOUNT, SOMEBODYS, {"accountId": "training"})
    # It is on for that account alone: the program has to do it itself.
    cloud.apis.remove("iam.googleapis.com")


def with_application(cloud: Cloud, location: str = "europe-west", *, proxy: bool = True) -> Thing:
    """Somebody has an App Engine application in the project, with a page on the service default."""
    cloud.apis |= {"appengine.googleapis.com", "storage.googleapis.com"}
    client = {"oauth2ClientId": "1-old.apps.googleusercontent.com", "oauth2ClientSecret": "an-old-secret"}
    inputs = {"project": PROJECT, "locationId": location, "servingStatus": "SERVING"}
    made = cloud.create(
        app_engine.APPLICATION, SOMEBODYS, {**inputs, **({"iap": {"enabled": True, **client}} if proxy else {})}
    )
    code = cloud.create(storage.BUCKET, SOMEBODYS, {"name": "somebodys-code", "location": "EU"})
    code.inside["main.py"] = ""
    file = {"name": "main.py", "sourceUrl": f"https://storage.googleapis.com/{code.id}/main.py"}
    page = {
        "service": "default",
        "versionId": "old",
        "runtime": "python313",
        "entrypoint": {"shell": "python3 main.py"},
    }
    cloud.create(app_engine.STANDARD, SOMEBODYS, {**page, "deployment": {"files": [file]}})
    return made


def with_secrets(cloud: Cloud, values: Mapping[str, str]) -> None:
    """Somebody keeps them in Secret Manager, as their-<name>."""
    cloud.apis.add("secretmanager.googleapis.com")
    for name, value in values.items():
        secret = cloud.create(secrets.SECRET, SOMEBODYS, {"secretId": f"their-{name}", "replication": {"auto": {}}})
        # With `echo`, which ends a line.
        cloud.create(secrets.VERSION, SOMEBODYS, {"secret": secret.id, "secretData": f"{value}\n"})


def use(cloud: Cloud) -> None:
    """There are runs, logs, and an image that the program does not know any more."""
    for one in cloud:
        if one.kind.token in BUCKETS:
            one.inside["1/2f/artifacts/model.pkl"] = ""
        if one.kind.token in REPOSITORIES:
            one.inside["from-before"] = "sha256:0"


def unnamed(cloud: Cloud, kept: Iterable[str]) -> list[str]:
    """What is left that the output `kept` does not name, and what it names that is not left."""
    theirs = {str(one) for one in cloud if one.name == SOMEBODYS}
    left = [one for one in cloud.left if one not in theirs]
    said = list(kept)
    named = {words for pattern, words in KEPT.items() if any(re.fullmatch(pattern, one) for one in left)}
    unknown = [one for one in left if not any(re.fullmatch(pattern, one) for pattern in KEPT)]
    silent = [words for words in named if not any(words in line for line in said)]
    empty = [line for line in said if not any(words in line for words in named)]
    return unknown + silent + empty


def by_hand(engine: Engine) -> None:
    """What a person does after a failed `up`, as docs/reliability.md says, with what is there and not in the state.

    What the provider would put over it may stay; the application of a project can only be taken over.
    """
    for one in lost(engine):
        if one.kind.token == app_engine.APPLICATION:
            taken_over = {"app": {"mode": "import", "placeholder": True}}
            engine.configure(programs.with_settings(engine.config, taken_over))
        elif not one.kind.puts:
            engine.double.cloud.remove(one)


def ours(cloud: Cloud) -> list[Thing]:
    return [one for one in cloud if one.name != SOMEBODYS]


def lost(engine: Engine) -> list[Thing]:
    """What a person finds in the account by its labels or tags, and not in the stack.

    An image is no resource of a cloud's: it is in its repository, which forgets it in time, and goes with that.
    """
    known = {(one["type"], one.get("id")) for one in engine.resources}
    return [
        one for one in ours(engine.double.cloud) if one.kind.token != IMAGE and (one.kind.token, one.id) not in known
    ]


def made_twice(engine: Engine) -> dict[str, int]:
    """How many more there are than the stack knows, by type."""
    there = Counter(one.kind.token for one in ours(engine.double.cloud))
    return {
        token: more
        for token, more in (there - Counter(one["type"] for one in engine.resources)).items()
        if token != IMAGE
    }
