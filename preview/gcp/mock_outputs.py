"""Mock outputs of Google Cloud resources and functions: ids, links and names in the documented formats.

components/gcp sets the project of each resource, and the mock outputs use it. A resource that is read (``get``) has its
id among its inputs.
"""

from collections.abc import Mapping
from typing import Any

from ..mock_ids import CallMock, ResourceMock, hex_id

PROJECT = "my-project"
NUMBER = "123456789012"
REGION = "europe-west1"


def _compute(name: str, inputs: Mapping[str, Any], collection: str) -> dict[str, str]:
    chosen = inputs.get("name", name)
    return {"id": f"projects/{inputs['project']}/{collection}/{chosen}", "name": chosen}


def _account(name: str, project: str) -> dict[str, str]:
    email = f"{name}@{project}.iam.gserviceaccount.com"
    value = f"projects/{project}/serviceAccounts/{email}"
    return {"id": value, "name": value, "email": email, "member": f"serviceAccount:{email}"}


def _agent(service: str) -> dict[str, str]:
    """https://cloud.google.com/iam/docs/service-agents."""
    email = f"service-{NUMBER}@gcp-sa-{service}.iam.gserviceaccount.com"
    return {"email": email, "member": f"serviceAccount:{email}"}


def _application(_: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """An application that the program reads exists already, with Identity-Aware Proxy enabled."""
    project = inputs.get("project") or inputs["id"]
    location = inputs.get("locationId", "europe-west")
    code = {"europe-west": "ew", "us-central": "uc"}.get(location, "xx")
    read = {"enabled": True, "oauth2ClientId": f"{NUMBER}-there.apps.googleusercontent.com"}
    return {
        "id": project,
        "appId": project,
        "project": project,
        "locationId": location,
        "defaultHostname": f"{project}.{code}.r.appspot.com",
        "codeBucket": f"staging.{project}.appspot.com",
        "iap": inputs.get("iap", read),
    }


def _app_version(_: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    value = f"apps/{inputs['project']}/services/{inputs['service']}/versions/{inputs['versionId']}"
    return {"id": value, "name": value}


RESOURCES: dict[str, ResourceMock] = {
    # -- apis, encryption, app_engine
    "gcp:projects/serviceIdentity:ServiceIdentity": lambda _, inputs: _agent(
        str(inputs["service"]).removesuffix(".googleapis.com").replace("sqladmin", "cloud-sql")
    ),
    "gcp:appengine/application:Application": _application,
    "gcp:storage/bucketObject:BucketObject": lambda name, inputs: {"name": inputs.get("name", name)},
    "gcp:appengine/standardAppVersion:StandardAppVersion": _app_version,
    # -- network, database
    "gcp:compute/network:Network": lambda name, inputs: _compute(name, inputs, "global/networks"),
    "gcp:compute/subnetwork:Subnetwork": lambda name, inputs: _compute(
        name, inputs, f"regions/{inputs['region']}/subnetworks"
    ),
    "gcp:compute/router:Router": lambda name, inputs: _compute(name, inputs, f"regions/{inputs['region']}/routers"),
    "gcp:compute/routerNat:RouterNat": lambda name, inputs: {
        "id": f"{inputs['project']}/{inputs['region']}/{inputs['router']}/{inputs.get('name', name)}",
        "name": inputs.get("name", name),
    },
    "gcp:compute/globalAddress:GlobalAddress": lambda name, inputs: _compute(name, inputs, "global/addresses"),
    "gcp:sql/databaseInstance:DatabaseInstance": lambda name, inputs: {
        "id": inputs.get("name", name),
        "name": inputs.get("name", name),
        "connectionName": f"{inputs['project']}:{inputs['region']}:{inputs.get('name', name)}",
        "privateIpAddress": "10.99.0.3",
        "publicIpAddress": "203.0.113.3",
    },
    "gcp:secretmanager/secret:Secret": lambda _, inputs: {
        "id": f"projects/{inputs['project']}/secrets/{inputs['secretId']}",
        "name": f"projects/{NUMBER}/secrets/{inputs['secretId']}",
    },
    "gcp:secretmanager/secretVersion:SecretVersion": lambda _, inputs: {
        "id": f"{inputs['secret']}/versions/1",
        "name": f"{inputs['secret']}/versions/1",
        "version": "1",
    },
    # -- artifacts, image, identity
    "gcp:storage/bucket:Bucket": lambda name, inputs: {
        "id": inputs.get("name", name),
        "name": inputs.get("name", name),
        "url": f"gs://{inputs.get('name', name)}",
    },
    "gcp:artifactregistry/repository:Repository": lambda _, inputs: {
        "id": f"projects/{inputs['project']}/locations/{inputs['location']}/repositories/{inputs['repositoryId']}",
        "name": inputs["repositoryId"],
        "registryUri": f"{inputs['location']}-docker.pkg.dev/{inputs['project']}/{inputs['repositoryId']}",
    },
    "gcp:serviceaccount/account:Account": lambda _, inputs: _account(str(inputs["accountId"]), str(inputs["project"])),
    # -- service, domain
    "gcp:appengine/flexibleAppVersion:FlexibleAppVersion": _app_version,
    "gcp:appengine/domainMapping:DomainMapping": lambda _, inputs: {
        "id": f"apps/{inputs['project']}/domainMappings/{inputs['domainName']}",
        "name": f"apps/{inputs['project']}/domainMappings/{inputs['domainName']}",
        "resourceRecords": [
            {"name": inputs["domainName"].split(".")[0], "rrdata": "ghs.googlehosted.com", "type": "CNAME"}
        ],
    },
    "gcp:appengine/applicationUrlDispatchRules:ApplicationUrlDispatchRules": lambda _, inputs: {
        "id": inputs["project"]
    },
    # -- monitoring
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": lambda _, inputs: {
        "id": f"projects/{inputs['project']}/locations/{inputs['location']}/buckets/{inputs['bucketId']}",
    },
    "gcp:monitoring/notificationChannel:NotificationChannel": lambda name, inputs: {
        "name": f"projects/{inputs['project']}/notificationChannels/{int(hex_id(name), 16)}",
    },
    "gcp:monitoring/alertPolicy:AlertPolicy": lambda name, inputs: {
        "name": f"projects/{inputs['project']}/alertPolicies/{int(hex_id(name), 16)}",
    },
    "gcp:monitoring/dashboard:Dashboard": lambda name, _: {"id": f"projects/{NUMBER}/dashboards/{hex_id(name)}"},
}
CALLS: dict[str, CallMock] = {
    # -- encryption
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": lambda args: {
        **args,
        "id": f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com",
        "emailAddress": f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com",
        "member": f"serviceAccount:service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com",
    },
    "gcp:logging/getProjectCmekSettings:getProjectCmekSettings": lambda args: {
        **args,
        "id": f"projects/{args['project']}/cmekSettings",
        "name": f"projects/{args['project']}/cmekSettings",
        "serviceAccountId": f"service-{NUMBER}@gcp-sa-logging.iam.gserviceaccount.com",
    },
    # -- app_engine
    "gcp:secretmanager/getSecretVersion:getSecretVersion": lambda args: {
        **args,
        "id": f"projects/{args['project']}/secrets/{args['secret']}/versions/{args.get('version') or 1}",
        "secretData": f"what is in {args['secret']}\n",
    },
    "gcp:organizations/getClientConfig:getClientConfig": lambda _: {"id": "config", "accessToken": "an-access-token"},
    "gcp:organizations/getProject:getProject": lambda args: {
        "id": f"projects/{args['projectId']}",
        "projectId": args["projectId"],
        "name": args["projectId"],
        "number": NUMBER,
    },
}
