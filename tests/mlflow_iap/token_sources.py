"""The sources of tokens that the client supports: each sets up the simulated Google, and returns the environment."""

from collections.abc import Callable
from typing import Any

from tests.doubles.google.accounts import ANN, DESKTOP_CLIENT, JOB, ROBOT
from tests.doubles.google.world import HOST, World

URL_AUDIENCE = f"https://{HOST}/*"
LOGIN_FILE = ".config/gcloud/application_default_credentials.json"
Environ = dict[str, str]


def metadata(world: World) -> Environ:
    return world.on_google()


def metadata_self_signed(world: World) -> Environ:
    world.accounts.may_impersonate.add((JOB, JOB))
    return {**world.on_google(), "MLFLOW_IAP_AUDIENCE": URL_AUDIENCE}


def impersonation_by_key(world: World) -> Environ:
    world.accounts.may_impersonate.add((ROBOT, JOB))
    path = world.file("robot.json", world.accounts.key_file(ROBOT))
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def impersonation_self_signed(world: World) -> Environ:
    return {**impersonation_by_key(world), "MLFLOW_IAP_AUDIENCE": URL_AUDIENCE}


def impersonation_by_metadata_server(world: World) -> Environ:
    world.metadata.account = ROBOT
    world.accounts.may_impersonate.add((ROBOT, JOB))
    return {**world.on_google(), "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def impersonation_by_user(world: World) -> Environ:
    world.accounts.may_impersonate.add((ANN, JOB))
    world.file(LOGIN_FILE, world.accounts.sign_in(ANN))
    return {"MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def impersonation_by_federation(world: World) -> Environ:
    """A GitHub Actions job with workload identity federation."""
    world.token_exchange.known["a GitHub token"] = "principal://github"
    world.accounts.may_impersonate.add(("principal://github", JOB))
    credentials = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/github/providers/github",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(world.file("github-token", "a GitHub token"))},
    }
    path = world.file("github.json", credentials)
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "MLFLOW_IAP_IMPERSONATE_SERVICE_ACCOUNT": JOB}


def gcloud_impersonation(world: World) -> Environ:
    """`gcloud auth application-default login --impersonate-service-account`."""
    world.accounts.may_impersonate.add((ANN, JOB))
    base = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
    credentials: dict[str, Any] = {
        "type": "impersonated_service_account",
        "service_account_impersonation_url": f"{base}{JOB}:generateAccessToken",
        "delegates": [],
        "source_credentials": world.accounts.sign_in(ANN),
    }
    world.file(LOGIN_FILE, credentials)
    return {}


def gcloud_impersonation_self_signed(world: World) -> Environ:
    return {**gcloud_impersonation(world), "MLFLOW_IAP_AUDIENCE": URL_AUDIENCE}


def key(world: World) -> Environ:
    return {"MLFLOW_IAP_KEY_FILE": str(world.file("job.json", world.accounts.key_file(JOB)))}


def key_self_signed(world: World) -> Environ:
    return {**key(world), "MLFLOW_IAP_AUDIENCE": URL_AUDIENCE}


def key_of_application_default_credentials(world: World) -> Environ:
    path = world.file("job.json", world.accounts.key_file(JOB))
    return {**world.on_google(), "GOOGLE_APPLICATION_CREDENTIALS": str(path)}


def login(world: World) -> Environ:
    world.iap.members = {ANN}
    world.file(LOGIN_FILE, world.accounts.sign_in(ANN))
    return {}


def login_with_programmatic_client(world: World) -> Environ:
    world.iap.programmatic_clients.add(DESKTOP_CLIENT)
    return {**login(world), "MLFLOW_IAP_AUDIENCE": DESKTOP_CLIENT}


SOURCES: list[Callable[[World], Environ]] = [
    metadata,
    metadata_self_signed,
    impersonation_by_key,
    impersonation_self_signed,
    impersonation_by_metadata_server,
    impersonation_by_user,
    impersonation_by_federation,
    gcloud_impersonation,
    gcloud_impersonation_self_signed,
    key,
    key_self_signed,
    key_of_application_default_credentials,
    login,
    login_with_programmatic_client,
]
