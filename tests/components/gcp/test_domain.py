"""A domain of its own: the mapping, the dispatch rule, and what follows from the name."""

from collections.abc import Mapping
from typing import Any

import pytest

from components import SettingsError
from preview import mock_outputs
from tests.components.graph_queries import only, transitive_dependencies

from .helpers import CLIENT_ID, record_stack

MAPPING = "gcp:appengine/domainMapping:DomainMapping"
RULES = "gcp:appengine/applicationUrlDispatchRules:ApplicationUrlDispatchRules"
VERSION = "gcp:appengine/flexibleAppVersion:FlexibleAppVersion"
DOMAIN = "mlflow.example.com"
URL = f"https://{DOMAIN}"


def with_domain(**app: Any) -> dict[str, Any]:
    return {"app": {"domain": DOMAIN, **app}}


def outputs(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    return only(record_stack(settings), "mlflow:index:GcpMlflow").outputs


def test_mapping_has_a_managed_certificate_and_starts_after_the_service_and_its_rule() -> None:
    graph = record_stack(with_domain())
    mapping, rules = only(graph, MAPPING), only(graph, RULES)
    assert mapping.inputs["domainName"] == DOMAIN
    assert mapping.inputs["sslSettings"] == {"sslManagementType": "AUTOMATIC"}
    assert rules.inputs["dispatchRules"] == [{"domain": DOMAIN, "path": "/*", "service": "mlflow"}]
    assert only(graph, VERSION).urn in transitive_dependencies(graph, rules)
    assert rules.urn in transitive_dependencies(graph, mapping)


@pytest.mark.parametrize("mode", ["create", "import"])
def test_service_default_needs_no_rule(mode: str) -> None:
    graph = record_stack(with_domain(service="default", mode=mode))
    assert graph.of(RULES) == []
    assert len(graph.of(MAPPING)) == 1


def test_application_without_a_domain_keeps_its_dispatch_rules() -> None:
    graph = record_stack()
    assert graph.of(RULES) == graph.of(MAPPING) == []
    assert only(graph, "mlflow:index:GcpMlflow").outputs["dns_records"] == []


def test_existing_application_requires_the_service_default() -> None:
    existing = {"mode": "existing", "placeholder": False}
    with pytest.raises(SettingsError, match=r"app\.domain: .*'mlflow'.* dispatch rule.*set mode to import"):
        record_stack({**with_domain(**existing), "oauthClient": {}})
    graph = record_stack({**with_domain(service="default", **existing), "oauthClient": {}})
    assert len(graph.of(MAPPING)) == 1


def test_urls_and_commands_have_the_domain() -> None:
    found = outputs({**with_domain(), "monitoring": {"canary": True}})
    assert found["url"] == found["tracking_uri"] == URL
    assert f"export MLFLOW_TRACKING_URI={URL}\n" in found["client_setup"]
    assert found["token_audience"] == CLIENT_ID
    job = only(record_stack({**with_domain(), "monitoring": {"canary": True}}), "gcp:cloudscheduler/job:Job")
    assert job.inputs["httpTarget"]["uri"].startswith(f"{URL}/api/")


def test_audience_of_self_signed_tokens_has_the_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    application = "gcp:appengine/application:Application"
    mock = mock_outputs.RESOURCES[application]
    monkeypatch.setitem(
        mock_outputs.RESOURCES, application, lambda name, inputs: {**mock(name, inputs), "iap": {"enabled": True}}
    )
    settings: dict[str, Any] = {**with_domain(mode="existing", service="default", cpu=2), "oauthClient": {}}
    assert outputs(settings)["token_audience"] == f"{URL}/*"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([{"name": "mlflow", "type": "CNAME", "rrdata": "ghs.googlehosted.com"}], ["CNAME ghs.googlehosted.com"]),
        (
            [{"type": "A", "rrdata": "216.239.32.21"}, {"type": "AAAA", "rrdata": "2001:4860:4802:32::15"}],
            ["A 216.239.32.21", "AAAA 2001:4860:4802:32::15"],
        ),
    ],
)
def test_dns_records_have_the_complete_name(
    records: list[dict[str, str]], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = f"{len(records)}.example.com"
    mock = mock_outputs.RESOURCES[MAPPING]
    monkeypatch.setitem(
        mock_outputs.RESOURCES, MAPPING, lambda name, inputs: {**mock(name, inputs), "resourceRecords": records}
    )
    assert outputs({"app": {"domain": domain}})["dns_records"] == [f"{domain} {record}" for record in expected]
