"""Access through Identity-Aware Proxy, and the client service account."""

from collections.abc import Mapping
from typing import Any

import pytest

from preview.graph import Graph, Resource
from proxy_app.auth.role_rules import parse

from .helpers import CLIENT_ID, MINIMAL_ARGS, NUMBER, PROJECT, only, record_stack, transitive_dependencies

ACCESSOR = "gcp:iap/appEngineServiceIamMember:AppEngineServiceIamMember"
SETTINGS = "gcp:iap/settings:Settings"
ACCOUNT = "gcp:serviceaccount/account:Account"
ON_ACCOUNT = "gcp:serviceaccount/iAMMember:IAMMember"
VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
ROLES = MINIMAL_ARGS["access"]["roles"]
UNTIL = {"title": "until 2027", "expression": 'request.time < timestamp("2027-01-01T00:00:00Z")'}


def record_access(
    app: Mapping[str, Any] | None = None, oauth_client: Mapping[str, Any] | None = None, **access: Any
) -> Graph:
    settings: dict[str, Any] = {"access": {"roles": ROLES, **access}, "app": app or {}}
    if oauth_client is not None:
        settings["oauthClient"] = oauth_client
    return record_stack(settings)


def access_bindings(graph: Graph) -> list[tuple[str, Any]]:
    """(member, title of the condition) of each binding."""
    return sorted(
        (binding.inputs["member"], binding.inputs.get("condition", {}).get("title", ""))
        for binding in graph.of(ACCESSOR)
    )


def client_account(graph: Graph) -> Resource:
    return only(graph, ACCOUNT, "mlflow-client")


def test_each_member_has_one_binding() -> None:
    members = ["user:ann@example.com", "group:ml@example.com", "user:ann@example.com", "user:a-nn@example.com"]
    assert access_bindings(record_access(members=members)) == [(member, "") for member in sorted(set(members))]
    assert access_bindings(record_access()) == []


@pytest.mark.parametrize("service", ["mlflow", "default"])
def test_binding_is_on_the_service_and_depends_on_it(service: str) -> None:
    graph = record_access({"service": service}, members=["user:ann@example.com"])
    binding = only(graph, ACCESSOR)
    assert (binding.inputs["appId"], binding.inputs["service"]) == (PROJECT, service)
    assert binding.inputs["role"] == "roles/iap.httpsResourceAccessor"
    assert only(graph, VERSION).urn in transitive_dependencies(graph, binding)


def test_conditional_members_have_conditional_bindings() -> None:
    ann, bob = "user:ann@example.com", "user:bob@example.com"
    by_day = {"title": "by day", "expression": "request.time.getHours() > 6", "description": "office hours"}
    graph = record_access(
        members=[bob], conditional=[{"members": [ann, ann], **UNTIL}, {"members": [ann, bob], **by_day}]
    )
    assert access_bindings(graph) == [(ann, "by day"), (ann, "until 2027"), (bob, ""), (bob, "by day")]
    conditions = [binding.inputs["condition"] for binding in graph.of(ACCESSOR) if "condition" in binding.inputs]
    assert UNTIL in conditions
    assert by_day in conditions


def test_desktop_clients_are_programmatic_clients() -> None:
    assert record_access().of(SETTINGS) == []
    desktop = f"{NUMBER}-desktop.apps.googleusercontent.com"
    graph = record_access(oauth_client={"clientId": CLIENT_ID, "desktopClientIds": [desktop]})
    iap_settings = only(graph, SETTINGS)
    assert iap_settings.inputs["accessSettings"] == {"oauthSettings": {"programmaticClients": [desktop]}}
    # With the project number, which the API returns; another name would replace the resource.
    assert iap_settings.inputs["name"] == f"projects/{NUMBER}/iap_web/appengine-{PROJECT}/services/mlflow"
    assert only(graph, VERSION).urn in transitive_dependencies(graph, iap_settings)


def test_no_client_service_account_by_default() -> None:
    graph = record_access()
    assert [account.name for account in graph.of(ACCOUNT) if account.name == "mlflow-client"] == []
    assert [binding for binding in graph.of(ON_ACCOUNT) if binding.name != "mlflow-server"] == []
    assert graph.of("mlflow:index:GcpMlflow")[0].outputs.get("client_service_account") is None


def test_client_service_account_has_access_and_token_creator() -> None:
    graph = record_access(clientServiceAccount=True)
    account = client_account(graph)
    assert access_bindings(graph) == [(account.outputs["member"], "")]
    binding = only(graph, ON_ACCOUNT, "mlflow-client")
    assert binding.inputs == {
        "serviceAccountId": account.outputs["name"],
        "member": account.outputs["member"],
        "role": "roles/iam.serviceAccountTokenCreator",
    }
    assert graph.of("mlflow:index:GcpMlflow")[0].outputs["client_service_account"] == account.outputs["email"]


@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
def test_client_role_is_added_to_the_role_rules(role: str) -> None:
    graph = record_access(clientServiceAccount=True, clientRole=role, roles={"admin": ["email:ann@example.com"]})
    rules = parse(only(graph, VERSION).inputs["envVariables"]["MLFLOW_PROXY_ROLE_RULES"])
    parsed_rules = {(rule.kind, rule.value, rule.role.label) for rule in rules}
    assert parsed_rules == {
        ("email", "ann@example.com", "admin"),
        ("email", client_account(graph).outputs["email"], role),
    }


def test_client_role_is_the_only_rule_without_other_rules() -> None:
    graph = record_access(clientServiceAccount=True, roles={})
    rules = only(graph, VERSION).inputs["envVariables"]["MLFLOW_PROXY_ROLE_RULES"]
    assert rules == f"email:{client_account(graph).outputs['email']}=editor"


# In the second case the client ID comes from the existing application.
@pytest.mark.parametrize(("app", "oauth_client"), [({}, None), ({"mode": "existing"}, {})])
def test_impersonators_get_the_id_token_role_only(
    app: Mapping[str, Any], oauth_client: Mapping[str, Any] | None
) -> None:
    impersonators = ["group:ml@example.com", "serviceAccount:trainer@my-project.iam.gserviceaccount.com"]
    graph = record_access(
        app, oauth_client, clientServiceAccount=True, clientImpersonators=[*impersonators, impersonators[0]]
    )
    account = client_account(graph)
    bindings = [
        binding.inputs
        for binding in graph.of(ON_ACCOUNT)
        if binding.inputs["serviceAccountId"] == account.outputs["name"]
        and binding.inputs["member"] != account.outputs["member"]
    ]
    assert sorted(inputs["member"] for inputs in bindings) == impersonators
    assert {inputs["serviceAccountId"] for inputs in bindings} == {account.outputs["name"]}
    assert {inputs["role"] for inputs in bindings} == {"roles/iam.serviceAccountOpenIdTokenCreator"}


def test_member_without_role_causes_a_warning() -> None:
    access = {
        "members": ["user:bob@other.example", "user:ann@example.com"],
        "roles": {"editor": ["domain:example.com"]},
    }
    assert record_stack({"access": access}).messages == [
        ("WARNING", "user:bob@other.example has access, but no role in access.roles: requests get 403.")
    ]
