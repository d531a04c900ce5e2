"""App Engine: the application, its services and their versions."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...kind import CloudError, CreateRequest, Problems, Reference, Values
from ..common import among, between, exactly_one, group, groups, known, matches
from .identity import ACCOUNT, is_there
from .network import NETWORK, SUBNETWORK
from .project import DURATION, NAME, PROJECT, api_disabled, of_google, words
from .registry import has_image
from .sql import INSTANCE
from .storage import BUCKET

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

APPLICATION = "gcp:appengine/application:Application"
FLEXIBLE = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
STANDARD = "gcp:appengine/standardAppVersion:StandardAppVersion"
SPLIT = "gcp:appengine/engineSplitTraffic:EngineSplitTraffic"
VERSIONS = (FLEXIBLE, STANDARD)
# https://cloud.google.com/appengine/docs/standard/locations: App Engine uses the older names of two regions.
LOCATIONS = frozenset(
    words(
        """asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-southeast1
        asia-southeast2 australia-southeast1 europe-central2 europe-west europe-west2 europe-west3 europe-west6
        northamerica-northeast1 southamerica-east1 us-central us-east1 us-east4 us-east5 us-west1 us-west2
        us-west3 us-west4"""
    )
)
# In an application's host name: https://cloud.google.com/appengine/docs/standard/how-requests-are-routed#region-id
_LETTERS = {"europe-west": "ew", "us-central": "uc"}


def _application(request: CreateRequest) -> tuple[str, dict[str, object]]:
    location = str(request.inputs["locationId"])
    return PROJECT, {
        "name": f"apps/{PROJECT}",
        "appId": PROJECT,
        "defaultHostname": f"{PROJECT}.{_LETTERS.get(location, 'xx')}.r.appspot.com",
        "codeBucket": f"staging.{PROJECT}.appspot.com",
        "defaultBucket": f"{PROJECT}.appspot.com",
        "gcrDomain": "eu.gcr.io",
        "urlDispatchRules": [],
    }


def _with_buckets(resource: "Resource", cloud: "Cloud") -> None:
    cloud.existing |= {str(resource.computed["codeBucket"]), str(resource.computed["defaultBucket"])}


def _application_problems(inputs: Values) -> Problems:
    location = known(inputs, "locationId")
    if location is not None and location not in LOCATIONS:
        yield "locationId", f"got {location!r}, expected one of {', '.join(sorted(LOCATIONS))}"
    proxy = group(inputs, "iap")
    if proxy and proxy.get("oauth2ClientId") == "":
        yield "iap.oauth2ClientId", "must not be empty"
    if proxy.get("enabled") and not (proxy.get("oauth2ClientSecret") or proxy.get("oauth2ClientSecretWo")):
        yield "iap.oauth2ClientSecret", "required, but missing"
    yield from among(inputs, "databaseType", ("CLOUD_FIRESTORE", "CLOUD_DATASTORE_COMPATIBILITY", "CLOUD_DATASTORE"))


def _stays_where_it_is(olds: Values, news: Values) -> str | None:
    if olds.get("locationId") and olds["locationId"] != news.get("locationId"):
        return "Cannot change location_id once the resource is created."
    return None


def _version(request: CreateRequest) -> tuple[str, dict[str, object]]:
    name = f"apps/{PROJECT}/services/{request.inputs['service']}/versions/{request.inputs['versionId']}"
    return name, {"name": name}


def _version_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "service", r"(?!ah-)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
    yield from matches(inputs, "versionId", r"(?!-|ah-|default$|latest$)[a-z0-9-]{0,62}[a-z0-9]")
    if inputs.get("versionId") is None:
        yield "versionId", "required: the provider does not store a version id that Google generates"
    if inputs.get("deleteServiceOnDestroy") and inputs.get("noopOnDestroy"):
        yield "deleteServiceOnDestroy", "conflicts with noopOnDestroy"
    for name in group(inputs, "envVariables"):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith(("GAE_", "GOOGLE_CLOUD_PROJECT")):
            yield f"envVariables.{name}", "an invalid or reserved name of a variable"
    if group(inputs, "deployment") and not [source for source in inputs["deployment"].values() if source]:
        yield "deployment", "expected an image, a zip file or files"


# Fields, least and most: https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#updated_health_checks
_CHECKS: dict[str, dict[str, tuple[int, int]]] = {
    "livenessCheck": {
        "timeout": (1, 300),
        "checkInterval": (1, 300),
        "failureThreshold": (1, 10),
        "successThreshold": (1, 10),
        "initialDelay": (0, 3600),
    },
    "readinessCheck": {
        "timeout": (1, 300),
        "checkInterval": (1, 300),
        "failureThreshold": (1, 10),
        "successThreshold": (1, 10),
        "appStartTimeout": (1, 1800),
    },
}


def _check_problems(check: Values, ranges: dict[str, tuple[int, int]]) -> Problems:
    yield from matches(check, "path", r"/\S*")
    seconds: dict[str, float] = {}
    for field, (least, most) in ranges.items():
        value = known(check, field)
        if value is None:
            continue
        if isinstance(value, str):
            if not re.fullmatch(DURATION, value):
                yield field, f"got {value!r}, expected seconds, such as 30s"
                continue
            value = seconds[field] = float(value.removesuffix("s"))
        if not least <= value <= most:
            yield field, f"got {value}, expected {least} to {most}"
    if seconds.get("timeout", 4) > seconds.get("checkInterval", 30):
        yield "timeout", "longer than the interval"


def _flexible_problems(inputs: Values) -> Problems:
    yield from _version_problems(inputs)
    for field, ranges in _CHECKS.items():
        for path, why in _check_problems(group(inputs, field), ranges):
            yield f"{field}.{path}", why
    yield from exactly_one(inputs, "automaticScaling", "manualScaling")
    scaling = group(inputs, "automaticScaling")
    for path, why in (
        *between(scaling, "minTotalInstances", 1, 1000),
        *between(scaling, "maxTotalInstances", 1, 1000),
        *matches(scaling, "coolDownPeriod", DURATION),
    ):
        yield f"automaticScaling.{path}", why
    least, most = known(scaling, "minTotalInstances") or 2, known(scaling, "maxTotalInstances") or 20
    if least > most:
        yield "automaticScaling.maxTotalInstances", f"got {most}, expected at least minTotalInstances ({least})"
    share = known(group(scaling, "cpuUtilization"), "targetUtilization")
    if share is not None and not 0 < share <= 0.95:
        yield "automaticScaling.cpuUtilization.targetUtilization", f"got {share}, expected up to 0.95"
    yield from _size_problems(group(inputs, "resources"))
    network = group(inputs, "network")
    for field in ("name", "subnetwork"):
        # Short names, and no paths: https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#network_settings
        for _, why in matches(network, field, NAME):
            yield f"network.{field}", why
    if known(inputs, "runtime") == "custom" and not group(inputs, "deployment").get("container"):
        yield "deployment.container", "a custom runtime requires an image, or files that Cloud Build builds"


def _size_problems(size: Values) -> Problems:
    """https://cloud.google.com/appengine/docs/flexible/reference/app-yaml#resource-settings."""
    cpu, memory, disk = known(size, "cpu"), known(size, "memoryGb"), known(size, "diskGb")
    if cpu is not None and not (cpu == 1 or (cpu % 2 == 0 and 2 <= cpu <= 32) or (cpu % 4 == 0 and 32 <= cpu <= 80)):
        yield "resources.cpu", f"got {cpu}, expected 1, an even number to 32, a multiple of 4 to 80"
    # 0.4 GB are reserved for the sidecars. Google's samples have 0.5 GB with one core.
    least, most = 0.9, 6.5
    if cpu is not None and memory is not None and not least * cpu <= memory + 0.4 <= most * cpu:
        low, high = least * cpu - 0.4, most * cpu - 0.4
        yield "resources.memoryGb", f"got {memory} with {cpu} cores, expected {low:g} to {high:g}"
    if disk is not None and not 10 <= disk <= 10240:
        yield "resources.diskGb", f"got {disk}, expected 10 to 10240"


def services_of(cloud: "Cloud") -> set[str]:
    """Return the names of the services in the project."""
    return {str(version.inputs["service"]) for token in VERSIONS for version in cloud.of(token)}


def _versions_of(service: object, cloud: "Cloud") -> "list[Resource]":
    return [version for token in VERSIONS for version in cloud.of(token) if version.inputs["service"] == service]


def _deployed(resource: "Resource", cloud: "Cloud") -> None:
    application = next(iter(cloud.of(APPLICATION)), None)
    if application is None:
        raise CloudError(f'googleapi: Error 404: Could not find Application "{PROJECT}"., notFound')
    if resource.inputs["service"] != "default" and "default" not in services_of(cloud):
        raise CloudError(
            "googleapi: Error 400: The first service (module) you upload to a new application must be the 'default' "
            "service (module). Please upload a version of the 'default' service (module) before uploading a version "
            f"for the '{resource.inputs['service']}' service (module)., badRequest"
        )
    account = resource.inputs.get("serviceAccount")
    if account and not is_there(str(account), cloud):
        raise CloudError(f"googleapi: Error 400: Service account {account} does not exist., badRequest")
    # The source files must be in a bucket.
    for source in _sources(group(resource.inputs, "deployment")):
        bucket, _, name = source.removeprefix("https://storage.googleapis.com/").partition("/")
        if not any(candidate.id == bucket and name in candidate.contents for candidate in cloud.of(BUCKET)):
            raise CloudError(f"googleapi: Error 400: The file {source} could not be read., badRequest")


def _standard_deployed(resource: "Resource", cloud: "Cloud") -> None:
    _deployed(resource, cloud)
    # The build pushes an image to it: https://cloud.google.com/appengine/docs/standard/testing-and-deploying-your-app
    cloud.leftovers.append("repository gae-standard")


def _sources(deployment: Values) -> Iterable[str]:
    for source in [group(deployment, "zip"), *groups(deployment, "files")]:
        if source.get("sourceUrl"):
            yield str(source["sourceUrl"])


def _redeployed(resource: "Resource", cloud: "Cloud") -> None:
    before = next(version for token in VERSIONS for version in cloud.of(token) if version.id == resource.id)
    if before.inputs["service"] != resource.inputs["service"]:
        # The provider deploys to the other service and drops this version from the state: url of Update.
        cloud.leftovers.append(f"service {before.inputs['service']}")
    _deployed(resource, cloud)


def _flexible_deployed(resource: "Resource", cloud: "Cloud") -> None:
    _deployed(resource, cloud)
    _runs_in_flexible(resource, cloud)


def _flexible_redeployed(resource: "Resource", cloud: "Cloud") -> None:
    _redeployed(resource, cloud)
    _runs_in_flexible(resource, cloud)


def _runs_in_flexible(resource: "Resource", cloud: "Cloud") -> None:
    image = group(group(resource.inputs, "deployment"), "container").get("image")
    if image and not has_image(str(image), cloud):
        raise CloudError(f"googleapi: Error 400: The image {image} could not be found., badRequest")
    # Its instances run on Compute Engine.
    if "compute.googleapis.com" not in cloud.apis:
        raise CloudError(api_disabled("compute.googleapis.com"))
    for connection in str(group(resource.inputs, "betaSettings").get("cloud_sql_instances") or "").split(","):
        name = connection.split("=")[0]
        if name and name not in cloud.existing:
            cloud.find(name, (INSTANCE,), ("connectionName",))
    settings = group(resource.inputs, "network")
    network = next(
        (candidate for candidate in cloud.of(NETWORK) if candidate.inputs["name"] == settings.get("name")), None
    )
    if network is not None and network.inputs.get("autoCreateSubnetworks") is False and not settings.get("subnetwork"):
        raise CloudError(f"googleapi: Error 400: {network} has no automatic subnetworks: set subnetwork., badRequest")
    subnetwork = next(
        (candidate for candidate in cloud.of(SUBNETWORK) if candidate.inputs["name"] == settings.get("subnetwork")),
        None,
    )
    if subnetwork is not None:
        location = str(cloud.of(APPLICATION)[0].inputs["locationId"])
        region = location if location[-1].isdigit() else f"{location}1"
        if subnetwork.inputs["region"] != region:
            raise CloudError(f"googleapi: Error 400: {subnetwork} is not in App Engine's region {region}., badRequest")


def _undeploy(resource: "Resource", cloud: "Cloud") -> None:
    service = resource.inputs["service"]
    others = [version for version in _versions_of(service, cloud) if version is not resource]
    if resource.inputs.get("deleteServiceOnDestroy"):
        if service == "default":
            raise CloudError("googleapi: Error 400: The default service (module) may not be deleted., badRequest")
        # With all its versions, including newer ones.
        for version in others:
            cloud.remove(version)
        return
    if not others:
        raise CloudError(
            "googleapi: Error 400: Cannot delete the final version of a service (module). Please delete the whole "
            "service (module) in order to delete this version., badRequest"
        )
    if resource in _with_traffic(service, cloud):
        raise CloudError(
            "googleapi: Error 400: Cannot delete a version with a non-zero traffic allocation. Please update your "
            "traffic split to remove the allocation for this version and try again., badRequest"
        )


def _with_traffic(service: object, cloud: "Cloud") -> "list[Resource]":
    """The traffic split; without one, all traffic goes to the first version."""
    versions = _versions_of(service, cloud)
    split = next((candidate for candidate in cloud.of(SPLIT) if candidate.inputs["service"] == service), None)
    if split is None:
        return [min(versions, key=lambda version: version.computed["number"])]
    return [version for version in versions if version.inputs["versionId"] in split.inputs["split"]["allocations"]]


def _split_problems(inputs: Values) -> Problems:
    """https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.services#TrafficSplit."""
    split = group(inputs, "split")
    shares = [float(share) for share in group(split, "allocations").values() if isinstance(share, str | int | float)]
    if shares and abs(sum(shares) - 1) > 0.001:
        yield "split.allocations", f"got a sum of {sum(shares):g}, expected 1"
    if len(shares) > 1 and not split.get("shardBy"):
        yield "split.shardBy", "required for several versions"
    yield from among(split, "shardBy", ("UNSPECIFIED", "COOKIE", "IP", "RANDOM"))


def _split_fits(resource: "Resource", cloud: "Cloud") -> None:
    service = resource.inputs["service"]
    versions = {version.inputs["versionId"]: version for version in _versions_of(service, cloud)}
    for version in resource.inputs["split"]["allocations"]:
        if version not in versions:
            raise CloudError(f"googleapi: Error 400: version {version} of service {service} is not there., badRequest")
        if resource.inputs.get("migrateTraffic") and versions[version].kind.token == FLEXIBLE:
            raise CloudError(
                "googleapi: Error 400: Traffic migration does not support App Engine Flexible., badRequest"
            )


def _numbered(request: CreateRequest) -> tuple[str, dict[str, object]]:
    resource_id, outputs = _version(request)
    return resource_id, {**outputs, "number": request.cloud.next_number()}


def _flexible_normal_form(inputs: Values) -> Values:
    """App Engine returns the IP mode of a network: the provider's tests of flexible versions set it always."""
    network = group(inputs, "network")
    return {**inputs, "network": {"instanceIpMode": "EXTERNAL", **network}} if network else inputs


_RUNS_AS = Reference(path="serviceAccount", kinds=(ACCOUNT,), by=("email",), blocks_delete=False)
KINDS = (
    of_google(
        APPLICATION,
        "appengine",
        _application,
        check=_application_problems,
        on_create=_with_buckets,
        write_only=("iap.oauth2ClientSecret",),
        update_error=_stays_where_it_is,
        # resource_app_engine_application.go, Delete: a warning in the log, and no API call.
        survives_delete=lambda _resource: True,
        lost_on_timeout=True,
        conflict=lambda _there: (
            "Error creating App Engine application: googleapi: Error 409: This application already exists and "
            "cannot be re-created., alreadyExists"
        ),
    ),
    of_google(
        FLEXIBLE,
        ("appengine", "appengineflex"),
        _numbered,
        references=(
            _RUNS_AS,
            Reference(path="network.name", kinds=(NETWORK,), by=("name",)),
            # aef-... machines are in it: https://github.com/GoogleCloudPlatform/magic-modules/pull/10326
            Reference(path="network.subnetwork", kinds=(SUBNETWORK,), by=("name",)),
        ),
        check=_flexible_problems,
        on_create=_flexible_deployed,
        on_update=_flexible_redeployed,
        on_delete=_undeploy,
        survives_delete=lambda resource: bool(resource.inputs.get("noopOnDestroy")),
        normal_form=_flexible_normal_form,
        write_only=("betaSettings", "deployment", "envVariables", "noopOnDestroy", "deleteServiceOnDestroy"),
        overwrites=True,
        lost_on_timeout=True,
    ),
    of_google(
        STANDARD,
        "appengine",
        _numbered,
        references=(_RUNS_AS,),
        check=_version_problems,
        on_create=_standard_deployed,
        on_update=_redeployed,
        on_delete=_undeploy,
        survives_delete=lambda resource: bool(resource.inputs.get("noopOnDestroy")),
        overwrites=True,
        lost_on_timeout=True,
    ),
    of_google(
        SPLIT,
        "appengine",
        lambda request: (f"apps/{PROJECT}/services/{request.inputs['service']}", {}),
        check=_split_problems,
        on_create=_split_fits,
        on_update=_split_fits,
        # It is a field of the service, and deleting it has no effect.
        overwrites=True,
        lost_on_timeout=True,
    ),
)
