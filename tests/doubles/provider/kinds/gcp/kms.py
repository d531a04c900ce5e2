"""Cloud KMS: members of a key's roles, Google's service agents, and what a key that a resource names must allow."""

from typing import TYPE_CHECKING

from ...kind import CloudError, CreateRequest, Problems, Values
from ..common import matches
from .identity import iam_member
from .project import NUMBER, PROJECT, of_google

if TYPE_CHECKING:
    from ...cloud import Cloud, Resource

MEMBER = "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember"
IDENTITY = "gcp:projects/serviceIdentity:ServiceIdentity"
_USE = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
_KEY = r"projects/[^/]+/locations/[a-z0-9-]+/keyRings/[\w-]{1,63}/cryptoKeys/[\w-]{1,63}"
# https://cloud.google.com/iam/docs/service-agents
AGENTS = {
    "artifactregistry": f"service-{NUMBER}@gcp-sa-artifactregistry.iam.gserviceaccount.com",
    "logging": f"service-{NUMBER}@gcp-sa-logging.iam.gserviceaccount.com",
    "secretmanager": f"service-{NUMBER}@gcp-sa-secretmanager.iam.gserviceaccount.com",
    "sqladmin": f"service-{NUMBER}@gcp-sa-cloud-sql.iam.gserviceaccount.com",
    "storage": f"service-{NUMBER}@gs-project-accounts.iam.gserviceaccount.com",
}


def agent_made(cloud: "Cloud", service: str) -> str:
    """Create a service agent if it does not exist. Returns its e-mail address."""
    cloud.existing.add(AGENTS[service])
    return AGENTS[service]


def require_key(resource: "Resource", cloud: "Cloud", *, service: str, key: object, location: str) -> None:
    """Require that the service's agent may use ``key``, if there is one, and that the key is in ``location``."""
    if not key:
        return
    if str(key).split("/")[3] != location.lower():
        raise CloudError(f"googleapi: Error 400: {key} is not in {location.lower()}, where {resource} is., invalid")
    grant = {"cryptoKeyId": key, "role": _USE, "member": f"serviceAccount:{AGENTS[service]}"}
    if not any(grant.items() <= dict(other.inputs).items() for other in cloud.of(MEMBER)):
        raise CloudError(
            f"googleapi: Error 403: Permission denied on Cloud KMS key {key}. Please ensure that {AGENTS[service]} has "
            "been authorized to use this key., forbidden"
        )


def _identity(request: CreateRequest) -> tuple[str, dict[str, object]]:
    service = str(request.inputs["service"])
    email = agent_made(request.cloud, service.removesuffix(".googleapis.com"))
    return f"projects/{PROJECT}/services/{service}", {"email": email, "member": f"serviceAccount:{email}"}


def _agent_exists(resource: "Resource", cloud: "Cloud") -> None:
    """https://cloud.google.com/iam/docs/create-service-agents: an agent gets no role before it is created."""
    email = str(resource.inputs["member"]).removeprefix("serviceAccount:")
    if email in AGENTS.values() and email not in cloud.existing:
        raise CloudError(f"googleapi: Error 400: Service account {email} does not exist., badRequest")


def _key_problems(inputs: Values) -> Problems:
    yield from matches(inputs, "cryptoKeyId", _KEY)


KINDS = (
    iam_member(
        MEMBER,
        "cloudkms",
        lambda inputs: str(inputs["cryptoKeyId"]),
        on_create=_agent_exists,
        check=_key_problems,
    ),
    of_google(
        IDENTITY,
        "serviceusage",
        _identity,
        # Creating an existing one succeeds, and deleting it has no effect: resource_project_service_identity.go.
        overwrites=True,
        survives_delete=lambda _resource: True,
    ),
)
