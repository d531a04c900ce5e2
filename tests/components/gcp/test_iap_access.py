"""Access through Identity-Aware Proxy, and the client service account."""

from collections.abc import Mapping
from typing import Any

import pytest

from preview.graph import Graph, Resource
from proxy_app.auth.role_rules import parse

from .helpers import CLIENT_ID, MINIMAL_ARGS, NUMBER, PROJECT, only, record_stack, urns_needed_by

ACCESSOR = "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember"
SETTINGS = "gcp:iap/settings:Settings"
ACCOUNT = "gcp:serviceaccount/account:Account"
ON_ACCOUNT = "gcp:serviceaccount/iAMMember:IAMMember"
VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
ROLES = MINIMAL_ARGS["access"]["roles"]
UNTIL = {"title": "until 2027", "expression": 'request.time < timestamp("2027-01-01T00:00:00Z")'}


def having(app: Mapping[str, Any] | None = None, oauth_client: Mapping[str, Any] | None = None, **access: Any) -> Graph:
    given: dict[str, Any] = {"access": {"roles": ROLES, **access}, "app": app or {}}
    if oauth_client is not None:
        given["oauthClient"] = oauth_client
    return record_stack(given)


def let_in(graph: Graph) -> list[tuple[str, Any]]:
    """(member, title of the condition) of each binding."""
    return sorted(
        (one.inputs["member"], one.inputs.get("condition", {}).get("title", "")) for one in graph.of(ACCESSOR)
    )


def client(graph: Graph) -> Resource:
    return only(graph, ACCOUNT, "mlflow-client")


def test_each_member_has_one_binding() -> None:
    members = ["user:ann@example.com", "group:ml@example.com", "user:ann@example.com", "user:a-nn@example.com"]
    assert let_in(having(members=members)) == [(one, "") for one in sorted(set(members))]
    assert let_in(having()) == []


@pytest.mark.parametrize("service", ["mlflow", "default"])
def test_binding_is_on_the_service_and_depends_on_it(service: str) -> None:
    graph = having({"service": service}, members=["user:ann@example.com"])
    found = only(graph, ACCESSOR)
    assert (found.inputs["appId"], found.inputs["service"]) == (PROJECT, service)
    assert found.inputs["role"] == "roles/iap.httpsResourceAccessor"
    assert only(graph, VERSION).urn in urns_needed_by(graph, found)


def test_conditional_members_have_conditional_bindings() -> None:
    ann, bob = "user:ann@example.com", "user:bob@example.com"
    other = {"title": "by day", "expression": "request.time.getHours() > 6", "description": "office"}
    graph = having(members=[bob], conditional=[{"members": [ann, ann], **UNTIL}, {"members": [ann, bob], **other}])
    assert let_in(graph) == [(ann, "by day"), (ann, "until 2027"), (bob, ""), (bob, "by day")]
    conditions = [one.inputs["condition"] for one in graph.of(ACCESSOR) if "condition" in one.inputs]
    assert UNTIL in conditions
    assert other in conditions


def test_desktop_clients_are_programmatic_clients() -> None:
    assert having().of(SETTINGS) == []
    desktop = f"{NUMBER}-desktop.apps.googleusercontent.com"
    graph = having(oauth_client={"clientId": CLIENT_ID, "desktopClientIds": [desktop]})
    found = only(graph, SETTINGS)
    assert found.inputs["accessSettings"] == {"oauthSettings": {"programmaticClients": [desktop]}}
    # With the project number, which the API returns; another name would replace the resource.
    assert found.inputs["name"] == f"projects/{NUMBER}/iap_web/appengine-{PROJECT}/services/mlflow"
    assert only(graph, VERSION).urn in urns_needed_by(graph, found)


def test_no_client_service_account_by_default() -> None:
    graph = having()
    assert [one.name for one in graph.of(ACCOUNT) if one.name == "mlflow-client"] == []
    assert graph.of(ON_ACCOUNT) == []
    assert graph.of("mlflow:index:GcpMlflow")[0].outputs.get("client_service_account") is None


def test_client_service_account_has_access_and_token_creator() -> None:
    graph = having(clientServiceAccount=True)
    account = client(graph)
    assert let_in(graph) == [(account.outputs["member"], "")]
    itself = only(graph, ON_ACCOUNT)
    assert itself.inputs == {
        "serviceAccountId": account.outputs["name"],
        "member": account.outputs["member"],
        "role": "roles/iam.serviceAccountTokenCreator",
    }
    assert graph.of("mlflow:index:GcpMlflow")[0].outputs["client_service_account"] == account.outputs["email"]


@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
def test_client_role_is_added_to_the_role_rules(role: str) -> None:
    graph = having(clientServiceAccount=True, clientRole=role, roles={"admin": ["email:ann@example.com"]})
    rules = parse(only(graph, VERSION).inputs["envVariables"]["MLFLOW_PROXY_ROLE_RULES"])
    understood = {(one.kind, one.value, one.role.label) for one in rules}
    assert understood == {
        ("email", "ann@example.com", "admin"),
        ("email", client(graph).outputs["email"], role),
    }


def test_client_role_is_set_without_other_rules() -> None:
    graph = having(clientServiceAccount=True, roles={})
    told = only(graph, VERSION).inputs["envVariables"]["MLFLOW_PROXY_ROLE_RULES"]
    assert told == f"email:{client(graph).outputs['email']}=editor"


# The second case reads the client ID from the application.
@pytest.mark.parametrize(("app", "oauth_client"), [({}, None), ({"mode": "existing"}, {})])
def test_impersonators_get_the_id_token_role_only(
    app: Mapping[str, Any], oauth_client: Mapping[str, Any] | None
) -> None:
    users = ["group:ml@example.com", "serviceAccount:trainer@my-project.iam.gserviceaccount.com"]
    graph = having(app, oauth_client, clientServiceAccount=True, clientImpersonators=[*users, users[0]])
    account = client(graph)
    found = [one.inputs for one in graph.of(ON_ACCOUNT) if one.inputs["member"] != account.outputs["member"]]
    assert sorted(one["member"] for one in found) == users
    assert {one["serviceAccountId"] for one in found} == {account.outputs["name"]}
    assert {one["role"] for one in found} == {"roles/iam.serviceAccountOpenIdTokenCreator"}


def test_member_without_role_gives_a_warning() -> None:
    access = {
        "members": ["user:bob@other.example", "user:ann@example.com"],
        "roles": {"editor": ["domain:example.com"]},
    }
    assert record_stack({"access": access}).messages == [
        ("WARNING", "user:bob@other.example has access, but no role in access.roles: requests get 403.")
    ]
