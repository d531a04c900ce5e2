"""Results of the functions of Google's provider."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...kind import CloudError, Values
from .kms import agent_made
from .project import NUMBER, PROJECT, api_disabled

if TYPE_CHECKING:
    from ...cloud import Cloud

_SECRET = "gcp:secretmanager/secret:Secret"
_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"


def _on(cloud: "Cloud", api: str) -> None:
    if api not in cloud.apis:
        raise CloudError(api_disabled(api))


def _project(arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    # Reading a project needs this API, which is not enabled by default.
    _on(cloud, "cloudresourcemanager.googleapis.com")
    if arguments.get("projectId", PROJECT) != PROJECT:
        raise CloudError(
            f"googleapi: Error 403: The caller does not have permission for {arguments['projectId']}, forbidden"
        )
    return {
        "id": f"projects/{PROJECT}",
        "projectId": PROJECT,
        "name": PROJECT,
        "number": NUMBER,
        "billingAccount": "000000-111111-222222",
        "orgId": "123456789",
        "labels": {},
        "effectiveLabels": {},
        "pulumiLabels": {},
        "autoCreateNetwork": True,
    }


def _client(_arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    # Each call returns a new token.
    return {
        "id": f"projects/{PROJECT}",
        "project": PROJECT,
        "region": "",
        "zone": "",
        "accessToken": f"registry-password-{cloud.next_number()}",
        "defaultLabels": {},
    }


def _secret_version(arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    _on(cloud, "secretmanager.googleapis.com")
    name = str(arguments["secret"]).rsplit("/", 1)[-1]
    secret = cloud.find(f"projects/{PROJECT}/secrets/{name}", (_SECRET,))
    versions = [version for version in cloud.of(_VERSION) if version.inputs["secret"] == secret.id]
    number = str(arguments.get("version") or "latest")
    found = [version for version in versions if number in ("latest", version.computed["version"])]
    if not found:
        raise CloudError(f"googleapi: Error 404: Secret Version {secret.id}/versions/{number} not found., notFound")
    last = found[-1]
    return {
        "id": last.id,
        "project": PROJECT,
        "secret": name,
        "version": last.computed["version"],
        "name": last.id,
        "secretData": last.inputs["secretData"],
        "createTime": "2026-01-02T03:04:05Z",
        "enabled": True,
        "fetchSecretData": True,
        "destroyTime": "",
    }


def _bucket_agent(_arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    _on(cloud, "storage.googleapis.com")
    email = agent_made(cloud, "storage")
    return {"id": email, "project": PROJECT, "emailAddress": email, "member": f"serviceAccount:{email}"}


def _log_agent(_arguments: Values, cloud: "Cloud") -> dict[str, Any]:
    """https://cloud.google.com/logging/docs/reference/v2/rest/v2/CmekSettings."""
    _on(cloud, "logging.googleapis.com")
    name = f"projects/{PROJECT}/cmekSettings"
    account = agent_made(cloud, "logging")
    return {
        "id": name,
        "name": name,
        "project": PROJECT,
        "kmsKeyName": "",
        "kmsKeyVersionName": "",
        "serviceAccountId": account,
    }


CALLS: dict[str, Callable[[Values, "Cloud"], dict[str, Any]]] = {
    "gcp:organizations/getProject:getProject": _project,
    "gcp:organizations/getClientConfig:getClientConfig": _client,
    "gcp:secretmanager/getSecretVersion:getSecretVersion": _secret_version,
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": _bucket_agent,
    "gcp:logging/getProjectCmekSettings:getProjectCmekSettings": _log_agent,
}
