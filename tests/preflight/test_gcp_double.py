"""The double of Google's APIs refuses what their discovery documents do not have."""

import pytest
import requests

from tests.preflight.gcp_project import DISCOVERY, PROJECT, REQUIRED, TOKEN, GcpProject, validate

MANAGER = "https://cloudresourcemanager.googleapis.com/v3"
TOKEN_HEADER = {"Authorization": f"Bearer {TOKEN}"}


def send(verb: str, url: str, **arguments: object) -> requests.Response:
    session = requests.Session()
    session.mount("https://", GcpProject())
    return session.request(verb, url, **{"headers": TOKEN_HEADER, **arguments})  # pyright: ignore


def test_every_method_of_the_excerpt_has_the_permission_that_it_requires() -> None:
    assert {f"{api}.{name}" for api, document in DISCOVERY.items() for name in document["methods"]} == set(REQUIRED)


@pytest.mark.parametrize(
    ("verb", "url"),
    [
        ("GET", f"{MANAGER}/project/{PROJECT}"),
        ("GET", f"https://cloudresourcemanager.example/v3/projects/{PROJECT}"),
        ("DELETE", f"{MANAGER}/projects/{PROJECT}"),
        ("GET", f"{MANAGER}/projects/{PROJECT}?view=FULL"),
        ("GET", f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks/Default"),
    ],
)
def test_unknown_hosts_paths_methods_and_parameters_are_refused(verb: str, url: str) -> None:
    with pytest.raises(AssertionError):
        send(verb, url)


def test_a_request_without_the_token_is_refused() -> None:
    assert send("GET", f"{MANAGER}/projects/{PROJECT}").status_code == 200
    assert send("GET", f"{MANAGER}/projects/{PROJECT}", headers={}).status_code == 401


@pytest.mark.parametrize("body", [{"permission": ["a.b.c"]}, {"permissions": "a.b.c"}, {"permissions": [1]}])
def test_unknown_fields_and_types_of_a_body_are_refused(body: object) -> None:
    with pytest.raises(AssertionError):
        send("POST", f"{MANAGER}/projects/{PROJECT}:testIamPermissions", json=body)


def test_unknown_fields_and_values_of_a_response_are_refused() -> None:
    schemas = DISCOVERY["cloudresourcemanager.v3"]["schemas"]
    validate({"state": "ACTIVE"}, {"$ref": "Project"}, schemas, "response")
    for wrong in ({"status": "ACTIVE"}, {"state": "RUNNING"}):
        with pytest.raises(AssertionError):
            validate(wrong, {"$ref": "Project"}, schemas, "response")
