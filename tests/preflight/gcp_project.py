"""A double of a Google Cloud project for read-only requests, strict by an excerpt of Google's discovery documents.

Unknown hosts, paths, methods, query parameters and fields are refused, and so are requests without the token. Errors
have the form of google.rpc.Status with ErrorInfo: https://cloud.google.com/apis/design/errors.
"""

import datetime
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import google.auth.credentials
import google.auth.exceptions
import requests
from requests.adapters import BaseAdapter

DISCOVERY: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("discovery.json").read_text())
PROJECT, NUMBER = "acme-mlflow", "424242424242"
TOKEN = "ya29.a-token"
REGION = "europe-west1"
COMPUTE_ACCOUNT = f"{NUMBER}-compute@developer.gserviceaccount.com"
TRAINING = f"training@{PROJECT}.iam.gserviceaccount.com"
# The permission that each method requires, by the reference of its API; empty for those that require none.
REQUIRED = {
    "cloudresourcemanager.v1.projects.getEffectiveOrgPolicy": "orgpolicy.policy.get",
    "cloudresourcemanager.v3.organizations.search": "",
    "cloudresourcemanager.v3.projects.get": "resourcemanager.projects.get",
    "cloudresourcemanager.v3.projects.testIamPermissions": "",
    "cloudbilling.v1.projects.getBillingInfo": "resourcemanager.projects.get",
    "serviceusage.v1.services.batchGet": "serviceusage.services.get",
    "appengine.v1.apps.get": "appengine.applications.get",
    "appengine.v1.apps.locations.list": "",
    "iam.v1.projects.serviceAccounts.get": "iam.serviceAccounts.get",
    "compute.v1.networks.get": "compute.networks.get",
    "compute.v1.subnetworks.get": "compute.subnetworks.get",
    "compute.v1.regions.get": "compute.regions.get",
    "sqladmin.v1.tiers.list": "cloudsql.instances.list",
    "sqladmin.v1.instances.get": "cloudsql.instances.get",
    "sqladmin.v1.operations.list": "cloudsql.instances.list",
    "secretmanager.v1.projects.secrets.get": "secretmanager.secrets.get",
    "artifactregistry.v1.projects.locations.repositories.get": "artifactregistry.repositories.get",
    "storage.v1.buckets.get": "storage.buckets.get",
    "logging.v2.projects.sinks.get": "logging.sinks.get",
    "appengine.v1.apps.services.versions.list": "appengine.versions.list",
    "compute.v1.networks.list": "compute.networks.list",
    "compute.v1.subnetworks.list": "compute.subnetworks.list",
    "compute.v1.firewalls.list": "compute.firewalls.list",
    "compute.v1.routers.list": "compute.routers.list",
    "compute.v1.globalAddresses.list": "compute.globalAddresses.list",
    "sqladmin.v1.instances.list": "cloudsql.instances.list",
    "storage.v1.buckets.list": "storage.buckets.list",
    "logging.v2.projects.exclusions.get": "logging.exclusions.get",
    "logging.v2.projects.metrics.list": "logging.logMetrics.list",
    "logging.v2.projects.locations.buckets.list": "logging.buckets.list",
    "servicenetworking.v1.services.connections.list": "servicenetworking.services.get",
    "monitoring.v1.projects.dashboards.list": "monitoring.dashboards.list",
    "monitoring.v3.projects.alertPolicies.list": "monitoring.alertPolicies.list",
    "monitoring.v3.projects.notificationChannels.list": "monitoring.notificationChannels.list",
    "cloudscheduler.v1.projects.locations.jobs.get": "cloudscheduler.jobs.get",
}
# Methods that list, with the field of their response; each page has one item.
_LISTS = {
    "appengine.v1.apps.services.versions.list": "versions",
    "compute.v1.networks.list": "items",
    "compute.v1.subnetworks.list": "items",
    "compute.v1.firewalls.list": "items",
    "compute.v1.routers.list": "items",
    "compute.v1.globalAddresses.list": "items",
    "sqladmin.v1.instances.list": "items",
    "storage.v1.buckets.list": "items",
    "logging.v2.projects.metrics.list": "metrics",
    "logging.v2.projects.locations.buckets.list": "buckets",
    "servicenetworking.v1.services.connections.list": "connections",
    "monitoring.v1.projects.dashboards.list": "dashboards",
    "monitoring.v3.projects.alertPolicies.list": "alertPolicies",
    "monitoring.v3.projects.notificationChannels.list": "notificationChannels",
}
# Messages of these APIs name no permission in the error's details.
_WITHOUT_DETAILS = ("compute.", "storage.")


class Refusal(Exception):
    """An error response."""

    def __init__(self, status: int, message: str, reason: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.metadata = status, reason, metadata


class _Credentials(google.auth.credentials.Credentials):
    def refresh(self, request: Any) -> None:
        self.token = TOKEN
        self.expiry = None


class _NoCredentials(google.auth.credentials.Credentials):
    def refresh(self, request: Any) -> None:
        raise google.auth.exceptions.RefreshError("Reauthentication is needed.")


def credentials(*, valid: bool = True) -> Any:
    """Credentials whose token the project accepts, or that cannot be refreshed."""
    return _Credentials() if valid else _NoCredentials()


class GcpProject(BaseAdapter):
    """A project without anything but its default account and network. Tests change it before the checks run."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "ACTIVE"
        self.billing = True
        self.enabled = {"cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com", "compute.googleapis.com"}
        # APIs whose requests are refused until they are enabled; by default all respond.
        self.disabled_apis: set[str] = set()
        self.lacking: set[str] = set()
        self.not_testable: set[str] = set()
        self.policies: dict[str, dict[str, Any]] = {}
        self.application: dict[str, Any] | None = None
        self.flexible = ["europe-west", "us-central"]
        self.accounts: dict[str, bool] = {COMPUTE_ACCOUNT: True, TRAINING: True}
        self.networks = {"default"}
        self.subnetworks: set[str] = set()
        self.region_status = "UP"
        self.quotas = {"CPUS": (24.0, 0.0), "IN_USE_ADDRESSES": (8.0, 0.0)}
        self.tiers = {"db-g1-small": [REGION], "db-perf-optimized-N-2": [REGION, "us-central1"]}
        self.instances: set[str] = set()
        self.deleted_instances: dict[str, datetime.datetime] = {}
        self.named: set[str] = set()
        # What the methods of _LISTS list.
        self.listed: dict[str, list[dict[str, Any]]] = {}
        self.organizations = {"acme.test": "C0acme"}
        self.latency = 0.0
        self.called: set[str] = set()
        self.denied: set[str] = set()
        self.rejects_token = False
        self.has_credentials = True

    def close(self) -> None:
        """Nothing to close."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:  # pyright: ignore
        time.sleep(self.latency)
        url = urllib.parse.urlsplit(str(request.url))
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        try:
            response.status_code, body = 200, self._respond(request, url)
        except Refusal as error:
            response.status_code, body = error.status, _error_body(error)
        cast("Any", response)._content = json.dumps(body).encode()
        response.headers["Content-Type"] = "application/json"
        return response

    def _respond(self, request: requests.PreparedRequest, url: urllib.parse.SplitResult) -> dict[str, Any]:
        api, name, method, values = _find(str(request.method), url)
        if self.rejects_token or request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, "Request had invalid authentication credentials.")
        full = f"{api}.{name}"
        self.called.add(full)
        host = str(url.hostname)
        if host in self.disabled_apis:
            raise Refusal(
                403,
                f"{host} has not been used in project {NUMBER} before or it is disabled.",
                "SERVICE_DISABLED",
                service=host,
            )
        if full in self.denied:
            permission = REQUIRED[full]
            if full.startswith(_WITHOUT_DETAILS):
                raise Refusal(403, f"Required '{permission}' permission for 'projects/{PROJECT}'")
            raise Refusal(
                403,
                f"Permission '{permission}' denied on resource '//x/{PROJECT}' (or it may not exist).",
                "IAM_PERMISSION_DENIED",
                permission=permission,
            )
        schemas = DISCOVERY[api]["schemas"]
        body: Any = json.loads(request.body) if request.body else None
        if "request" in method:
            validate(body, {"$ref": method["request"]}, schemas, "request")
        else:
            assert body is None, f"{full} takes no body"
        if full in _LISTS:
            result = self._list(full, values)
        else:
            handler = cast(
                "Callable[[Mapping[str, Any], Any], dict[str, Any]]", getattr(self, "_" + re.sub(r"\W", "_", full))
            )
            result = handler(values, body)
        validate(result, {"$ref": method["response"]}, schemas, "response")
        return result

    def _list(self, method: str, values: Mapping[str, Any]) -> dict[str, Any]:
        items = self.listed.get(method, [])
        if method == "appengine.v1.apps.services.versions.list":
            of_service = f"apps/{PROJECT}/services/{values['servicesId']}/"
            items = [one for one in items if one["name"].startswith(of_service)]
            if not items:
                raise Refusal(404, f"Could not find Service '{values['servicesId']}'.")
        if method == "servicenetworking.v1.services.connections.list":
            # https://docs.cloud.google.com/service-infrastructure/docs/service-networking/reference/rest/v1/services.connections/list
            assert re.fullmatch(r"projects/\d+/global/networks/.+", values["network"])
            items = [one for one in items if one["network"] == values["network"]]
        number = int(values.get("pageToken", 0))
        after = {"nextPageToken": str(number + 1)} if number + 1 < len(items) else {}
        return {_LISTS[method]: items[number : number + 1], **after} if items else {}

    # -- the methods, by the names of the discovery documents

    def _cloudresourcemanager_v3_organizations_search(self, _: Mapping[str, Any], __: Any) -> dict[str, Any]:
        return {
            "organizations": [
                {"name": f"organizations/{number}", "displayName": domain, "directoryCustomerId": customer}
                for number, (domain, customer) in enumerate(self.organizations.items(), start=1)
            ]
        }

    def _cloudresourcemanager_v3_projects_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        if values["name"] != f"projects/{PROJECT}":
            raise Refusal(404, f"The project {values['name']} does not exist.")
        return {"name": f"projects/{NUMBER}", "projectId": PROJECT, "state": self.state}

    def _cloudresourcemanager_v3_projects_testIamPermissions(self, _: Mapping[str, Any], body: Any) -> dict[str, Any]:
        if len(body["permissions"]) > 100:
            raise Refusal(400, "Too many permissions.")
        invalid = [name for name in body["permissions"] if name in self.not_testable]
        if invalid:
            raise Refusal(400, f"Permission {invalid[0]} is not valid for this resource.")
        held = [name for name in body["permissions"] if name not in self.lacking]
        return {"permissions": held} if held else {}

    def _cloudresourcemanager_v1_projects_getEffectiveOrgPolicy(
        self, _: Mapping[str, Any], body: Any
    ) -> dict[str, Any]:
        constraint = body["constraint"]
        return {"constraint": constraint, **self.policies.get(constraint.removeprefix("constraints/"), {})}

    def _cloudbilling_v1_projects_getBillingInfo(self, _: Mapping[str, Any], __: Any) -> dict[str, Any]:
        open_account = {"billingEnabled": True, "billingAccountName": "billingAccounts/012345-567890-ABCDEF"}
        return {"projectId": PROJECT, **(open_account if self.billing else {})}

    def _serviceusage_v1_services_batchGet(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        names = values["names"]
        if len(names) > 30:
            raise Refusal(400, "At most 30 services.")
        return {
            "services": [
                {"name": name, "state": "ENABLED" if name.rpartition("/")[2] in self.enabled else "DISABLED"}
                for name in names
            ]
        }

    def _appengine_v1_apps_get(self, _: Mapping[str, Any], __: Any) -> dict[str, Any]:
        if self.application is None:
            raise Refusal(404, f"Could not find Application '{PROJECT}'.")
        return {"name": f"apps/{PROJECT}", "id": PROJECT, **self.application}

    def _appengine_v1_apps_locations_list(self, _: Mapping[str, Any], __: Any) -> dict[str, Any]:
        names = [*self.flexible, "asia-south1"]
        kind = "type.googleapis.com/google.appengine.v1.LocationMetadata"
        return {
            "locations": [
                {
                    "name": f"apps/{PROJECT}/locations/{name}",
                    "locationId": name,
                    "metadata": {
                        "@type": kind,
                        "standardEnvironmentAvailable": True,
                        "flexibleEnvironmentAvailable": name in self.flexible,
                    },
                }
                for name in names
            ]
        }

    def _iam_v1_projects_serviceAccounts_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        email = values["name"].rpartition("/")[2]
        if email not in self.accounts:
            raise Refusal(404, f"Unknown service account: {email}")
        return {"email": email, **({} if self.accounts[email] else {"disabled": True})}

    def _compute_v1_networks_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.networks, values["network"])

    def _compute_v1_subnetworks_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.subnetworks, values["subnetwork"])

    def _compute_v1_regions_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        self._one({REGION}, values["region"])
        quotas = [{"metric": metric, "limit": limit, "usage": usage} for metric, (limit, usage) in self.quotas.items()]
        return {"name": values["region"], "status": self.region_status, "quotas": quotas}

    def _sqladmin_v1_tiers_list(self, _: Mapping[str, Any], __: Any) -> dict[str, Any]:
        return {"items": [{"tier": tier, "region": places} for tier, places in self.tiers.items()]}

    def _sqladmin_v1_instances_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.instances, values["instance"])

    def _sqladmin_v1_operations_list(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        ended = self.deleted_instances.get(values["instance"])
        if ended is None:
            return {}
        return {
            "items": [
                {"operationType": "DELETE", "targetId": values["instance"], "endTime": f"{ended:%Y-%m-%dT%H:%M:%SZ}"}
            ]
        }

    def _secretmanager_v1_projects_secrets_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.named, values["name"])

    def _artifactregistry_v1_projects_locations_repositories_get(
        self, values: Mapping[str, Any], _: Any
    ) -> dict[str, Any]:
        return self._one(self.named, values["name"])

    def _logging_v2_projects_sinks_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.named, values["sinkName"])

    def _logging_v2_projects_exclusions_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.named, values["name"])

    def _cloudscheduler_v1_projects_locations_jobs_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.named, values["name"])

    def _storage_v1_buckets_get(self, values: Mapping[str, Any], _: Any) -> dict[str, Any]:
        return self._one(self.named, values["bucket"])

    def _one(self, present: set[str], name: str) -> dict[str, Any]:
        if name not in present:
            raise Refusal(404, f"{name} was not found.")
        return {"name": name}


def _error_body(error: Refusal) -> dict[str, Any]:
    details = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.reason, "metadata": error.metadata}
    ]
    return {"error": {"code": error.status, "message": str(error), **({"details": details} if error.reason else {})}}


def _find(verb: str, url: urllib.parse.SplitResult) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """(api, method name, method, values of its parameters). Raises AssertionError for what no document has."""
    address = f"{url.scheme}://{url.netloc}{urllib.parse.unquote(url.path)}"
    for api, document in DISCOVERY.items():
        for name, method in document["methods"].items():
            found = re.fullmatch(_pattern(document["base"] + method["path"]), address)
            if found is None:
                continue
            parameters = method["parameters"]
            # Templates such as v2/{+name} differ in the patterns of their parameters only.
            if not all(
                re.fullmatch(parameters[key].get("pattern", ".*").strip("^$"), value)
                for key, value in found.groupdict().items()
            ):
                continue
            assert verb == method["httpMethod"], f"{verb} {address}: expected {method['httpMethod']}"
            query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
            known = {key for key, one in parameters.items() if one["location"] == "query"}
            assert set(query) <= known, f"{address} takes no {set(query) - known}"
            values = {key: values if parameters[key].get("repeated") else values[0] for key, values in query.items()}
            return api, name, method, {**found.groupdict(), **values}
    raise AssertionError(f"no method in the discovery documents: {verb} {address}")


def _pattern(template: str) -> str:
    """A URI template of a discovery document as a regular expression: {+name} spans several segments."""
    parts = re.split(r"\{(\+?)(\w+)\}", template)
    pattern = re.escape(parts[0])
    for plus, name, rest in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'[^:]+' if plus else '[^/:]+'})" + re.escape(rest)
    return pattern


def validate(value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], where: str) -> None:
    """Check a value against a schema of a discovery document; unknown fields are errors."""
    if "$ref" in schema:
        validate(value, schemas[schema["$ref"]], schemas, where)
        return
    kind = schema.get("type")
    if kind == "object":
        assert isinstance(value, dict), where
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, inner in cast("dict[str, Any]", value).items():
            assert name in properties or others is not None, f"{where} has no field {name}"
            validate(inner, properties.get(name, others), schemas, f"{where}.{name}")
    elif kind == "array":
        assert isinstance(value, list), where
        for one in cast("list[Any]", value):
            validate(one, schema["items"], schemas, where)
    elif kind in ("string", "boolean", "number", "integer"):
        types = {"string": str, "boolean": bool, "number": (int, float), "integer": int}
        assert isinstance(value, types[kind]), f"{where} is {value!r}"
        assert "enum" not in schema or value in schema["enum"], f"{where} is {value!r}"
    else:
        assert kind == "any", f"{where}: {kind}"
