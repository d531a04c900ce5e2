"""Cloud Logging: buckets, sinks, exclusions and log-based metrics."""

from typing import TYPE_CHECKING

from ...kind import CloudError, CreateRequest, Name, Problems, Reference, Values
from ..common import among, between, group, groups, known, matches
from .kms import require_key
from .project import NUMBER, PROJECT, in_region, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

BUCKET = "gcp:logging/projectBucketConfig:ProjectBucketConfig"
METRIC = "gcp:logging/metric:Metric"
SINK = "gcp:logging/projectSink:ProjectSink"
EXCLUSION = "gcp:logging/projectExclusion:ProjectExclusion"
_OWN = ("_Default", "_Required")


def _bucket(request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id = f"projects/{PROJECT}/locations/{request.inputs['location']}/buckets/{request.inputs['bucketId']}"
    return resource_id, {"name": resource_id, "lifecycleState": "ACTIVE"}


def _bucket_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/logging/docs/buckets and /docs/quotas."""
    yield from in_region(inputs, "location", others=frozenset({"global", "eu", "us"}))
    yield from matches(inputs, "bucketId", r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,99}")
    yield from between(inputs, "retentionDays", 1, 3650)


def _bucket_id_free(resource: "Resource", cloud: "Cloud") -> None:
    if (BUCKET, resource.id) in cloud.reserved:
        raise CloudError(
            f"googleapi: Error 400: Bucket {resource.id} is pending deletion (DELETE_REQUESTED) and cannot be updated; "
            "its name is free after 7 days., failedPrecondition"
        )
    _key_usable(resource, cloud)


def _key_usable(resource: "Resource", cloud: "Cloud") -> None:
    key = group(resource.inputs, "cmekSettings").get("kmsKeyName")
    require_key(resource, cloud, service="logging", key=key, location=str(resource.inputs["location"]))


def _key_kept(resource: "Resource", cloud: "Cloud") -> None:
    """https://cloud.google.com/logging/docs/routing/managed-encryption-storage."""
    before = next(bucket for bucket in cloud.of(BUCKET) if bucket.id == resource.id)
    if group(before.inputs, "cmekSettings") != group(resource.inputs, "cmekSettings"):
        raise CloudError(
            f"googleapi: Error 400: the CMEK settings of {resource} cannot be changed., failedPrecondition"
        )


def _bucket_not_locked(resource: "Resource", cloud: "Cloud") -> None:
    if resource.inputs.get("locked"):
        raise CloudError(f"googleapi: Error 400: {resource} is locked and holds logs., failedPrecondition")
    cloud.reserved.add((BUCKET, resource.id))


def _bucket_left(resource: "Resource") -> str | None:
    return None if resource.inputs["bucketId"] in _OWN else f"log bucket {resource.inputs['bucketId']} for 7 days"


def _sink_fits(resource: "Resource", cloud: "Cloud") -> None:
    destination = str(resource.inputs["destination"])
    bucket = destination.removeprefix("logging.googleapis.com/")
    if bucket != destination and f"projects/{PROJECT}/" in bucket and not bucket.endswith(_OWN):
        cloud.find(bucket, (BUCKET,), ("id", "name"))


def _sink_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "name", r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
    yield from matches(
        inputs,
        "destination",
        r"(?:logging|storage|bigquery|pubsub)\.googleapis\.com/\S+",
    )
    text = known(inputs, "filter")
    if text is not None and len(text) > 20000:
        yield "filter", "expected at most 20,000 characters"


def _sink(request: CreateRequest) -> tuple[str, dict[str, object]]:
    # A bucket of the same project needs no identity.
    inside = f"logging.googleapis.com/projects/{PROJECT}/" in str(request.inputs["destination"])
    agent = "" if inside else f"serviceAccount:service-{NUMBER}@gcp-sa-logging.iam.gserviceaccount.com"
    return f"projects/{PROJECT}/sinks/{request.inputs['name']}", {"writerIdentity": agent}


def _exclusions_fit(resource: "Resource", cloud: "Cloud") -> None:
    # https://cloud.google.com/logging/quotas
    if len([other for other in cloud.of(EXCLUSION) if other.id != resource.id]) >= 50:
        raise CloudError("googleapi: Error 400: a project has 50 exclusions at most., failedPrecondition")


def _metric_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.metrics."""
    yield from matches(inputs, "name", r"(?!/)[A-Za-z0-9_\-.,+!*',()%/]{1,100}")
    descriptor = group(inputs, "metricDescriptor")
    for path, why in (
        *among(descriptor, "metricKind", ("DELTA", "GAUGE", "CUMULATIVE")),
        *among(descriptor, "valueType", ("BOOL", "INT64", "DOUBLE", "STRING", "DISTRIBUTION", "MONEY")),
    ):
        yield f"metricDescriptor.{path}", why
    kind, value = known(descriptor, "valueType"), inputs.get("valueExtractor")
    if kind == "DISTRIBUTION" and not value:
        yield "valueExtractor", "required for a distribution"
    if kind == "INT64" and value:
        yield "valueExtractor", "not allowed for a counter"
    names = {known(label, "key") for label in groups(descriptor, "labels")}
    if set(group(inputs, "labelExtractors")) != names - {None}:
        yield (
            "labelExtractors",
            f"expected extractors for {', '.join(sorted(map(str, names))) or 'no labels'}, as in metricDescriptor",
        )
    if inputs.get("bucketOptions") and kind != "DISTRIBUTION":
        yield "bucketOptions", "only for a distribution"


KINDS = (
    of_google(
        BUCKET,
        "logging",
        _bucket,
        labels="-",
        check=_bucket_problems,
        on_create=_bucket_id_free,
        on_update=_key_kept,
        on_delete=_bucket_not_locked,
        leftover=_bucket_left,
        survives_delete=lambda resource: resource.inputs["bucketId"] in _OWN,
        # Acquire or create: creating an existing bucket returns it.
        overwrites=True,
    ),
    of_google(
        SINK,
        "logging",
        _sink,
        labels="-",
        name=Name(),
        check=_sink_problems,
        on_create=_sink_fits,
        on_update=_sink_fits,
        overwrites=True,
    ),
    of_google(
        EXCLUSION,
        "logging",
        lambda request: (f"projects/{PROJECT}/exclusions/{request.inputs['name']}", {}),
        labels="-",
        name=Name(),
        check=lambda inputs: matches(inputs, "name", r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}"),
        on_create=_exclusions_fit,
        conflict=lambda existing: (
            f"googleapi: Error 409: An exclusion named {existing.inputs['name']} already exists in the project., "
            "alreadyExists"
        ),
    ),
    of_google(
        METRIC,
        "logging",
        lambda request: (str(request.inputs["name"]), {}),
        labels="-",
        name=Name(),
        references=(Reference(path="bucketName", kinds=(BUCKET,), by=("id", "name"), blocks_delete=False),),
        check=_metric_problems,
        conflict=lambda existing: (
            "Error creating Metric: googleapi: Error 409: "
            f"Metric {existing.inputs['name']} already exists., alreadyExists"
        ),
    ),
)
