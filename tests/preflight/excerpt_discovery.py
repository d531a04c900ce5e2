"""Write discovery.json, an excerpt of Google's discovery documents: the methods that the checks call, without texts.

`python -m tests.preflight.excerpt_discovery DIRECTORY`: the directory has the documents (cloudbilling.v1.json, ...), as
googleapiclient/discovery_cache/documents of the package google-api-python-client, version 2.202.0 for the stored file.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

EXCERPT = Path(__file__).with_name("discovery.json")
METHODS = {
    "cloudresourcemanager.v1": ("projects.getEffectiveOrgPolicy",),
    "cloudresourcemanager.v3": ("organizations.search", "projects.get", "projects.testIamPermissions"),
    "cloudbilling.v1": ("projects.getBillingInfo",),
    "serviceusage.v1": ("services.batchGet",),
    "appengine.v1": ("apps.get", "apps.locations.list", "apps.services.versions.list"),
    "iam.v1": ("projects.serviceAccounts.get",),
    "compute.v1": (
        "networks.get",
        "regions.get",
        "subnetworks.get",
        "networks.list",
        "subnetworks.list",
        "firewalls.list",
        "routers.list",
        "globalAddresses.list",
    ),
    "sqladmin.v1": ("tiers.list", "instances.get", "instances.list", "operations.list"),
    "secretmanager.v1": ("projects.secrets.get",),
    "artifactregistry.v1": ("projects.locations.repositories.get",),
    "storage.v1": ("buckets.get", "buckets.list"),
    "logging.v2": (
        "projects.sinks.get",
        "projects.exclusions.get",
        "projects.metrics.list",
        "projects.locations.buckets.list",
    ),
    "servicenetworking.v1": ("services.connections.list",),
    "monitoring.v1": ("projects.dashboards.list",),
    "monitoring.v3": ("projects.alertPolicies.list", "projects.notificationChannels.list"),
    "cloudscheduler.v1": ("projects.locations.jobs.get",),
}


def _method(document: dict[str, Any], name: str) -> dict[str, Any]:
    place = document
    *resources, last = name.split(".")
    for resource in resources:
        place = place["resources"][resource]
    return cast("dict[str, Any]", place["methods"][last])


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if isinstance(items.get("$ref"), str):
            yield items["$ref"]
        for inner in items.values():
            yield from _references(inner)


def _bare(value: Any) -> Any:
    """A schema or parameters without descriptions and enumerations' texts."""
    if isinstance(value, dict):
        kept = (
            "$ref",
            "type",
            "format",
            "items",
            "properties",
            "additionalProperties",
            "enum",
            "location",
            "pattern",
            "repeated",
            "required",
        )
        return {
            name: {key: _bare(one) for key, one in cast("dict[str, Any]", inner).items()}
            if name == "properties"
            else _bare(inner)
            for name, inner in cast("dict[str, Any]", value).items()
            if name in kept
        }
    return value


def excerpt(directory: Path) -> dict[str, Any]:
    """Return {api: {revision, base, methods, schemas}}."""
    found: dict[str, Any] = {}
    for api, names in METHODS.items():
        document = json.loads((directory / f"{api}.json").read_text())
        methods: dict[str, Any] = {}
        wanted: list[str] = []
        for name in names:
            method = _method(document, name)
            methods[name] = {
                "httpMethod": method["httpMethod"],
                "path": method["path"],
                "parameters": {key: _bare(one) for key, one in method.get("parameters", {}).items()},
                **{key: method[key]["$ref"] for key in ("request", "response") if key in method},
            }
            wanted += [methods[name][key] for key in ("request", "response") if key in methods[name]]
        schemas: dict[str, Any] = {}
        while wanted:
            name = wanted.pop()
            if name not in schemas:
                schemas[name] = _bare(document["schemas"][name])
                wanted += _references(schemas[name])
        base = document["rootUrl"] + document["servicePath"]
        found[api] = {
            "revision": document["revision"],
            "base": base,
            "methods": methods,
            "schemas": dict(sorted(schemas.items())),
        }
    return found


if __name__ == "__main__":
    lines = [
        f"{json.dumps(api)}:{json.dumps(one, separators=(',', ':'), sort_keys=True)}"
        for api, one in excerpt(Path(sys.argv[1])).items()
    ]
    EXCERPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
