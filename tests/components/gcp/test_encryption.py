"""The customer-managed encryption key."""

import json
from typing import Any

import pytest

from preview.graph import Graph, Resource
from tests.components.graph_queries import only, transitive_dependencies

from .helpers import NUMBER, record_stack
from .scenarios import KEY, SCENARIOS

GRANT = "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember"
# Where each resource type names the key, and the service agent that uses it.
# https://cloud.google.com/kms/docs/compatible-services, https://cloud.google.com/iam/docs/service-agents
ENCRYPTED = {
    "gcp:sql/databaseInstance:DatabaseInstance": ("encryptionKeyName", "gcp-sa-cloud-sql"),
    "gcp:storage/bucket:Bucket": ("defaultKmsKeyName", "gs-project-accounts"),
    "gcp:artifactregistry/repository:Repository": ("kmsKeyName", "gcp-sa-artifactregistry"),
    "gcp:secretmanager/secret:Secret": ("kmsKeyName", "gcp-sa-secretmanager"),
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": ("kmsKeyName", "gcp-sa-logging"),
}


def encrypted_stack() -> Graph:
    (scenario,) = [scenario for scenario in SCENARIOS if scenario.name == "own-key"]
    return scenario.graph()


def resources_with_data() -> list[Resource]:
    return [resource for resource in encrypted_stack().resources if resource.type in ENCRYPTED]


@pytest.mark.parametrize("resource", resources_with_data(), ids=lambda resource: f"{resource.type} {resource.name}")
def test_resource_names_the_key_after_its_agent_may_use_it(resource: Resource) -> None:
    graph = encrypted_stack()
    field, agent = ENCRYPTED[resource.type]
    assert f'"{field}": "{KEY}"' in json.dumps(resource.inputs)
    member = f"serviceAccount:service-{NUMBER}@{agent}.iam.gserviceaccount.com"
    (grant,) = [grant for grant in graph.of(GRANT) if grant.inputs["member"] == member]
    assert grant.inputs["cryptoKeyId"] == KEY
    assert grant.urn in transitive_dependencies(graph, resource)


def test_every_type_of_resource_with_data_is_encrypted() -> None:
    assert {resource.type for resource in resources_with_data()} == set(ENCRYPTED)


def test_roles_on_the_key_stay_after_a_destroy_and_are_listed() -> None:
    graph = encrypted_stack()
    assert len(graph.of(GRANT)) == len(ENCRYPTED)
    assert all(grant.retain_on_delete for grant in graph.of(GRANT))
    assert KEY in json.dumps(graph.outputs["retained_on_destroy"])


def test_repository_and_log_bucket_of_another_key_have_other_names() -> None:
    repository = "gcp:artifactregistry/repository:Repository"
    build: dict[str, Any] = {"image": {}}
    names = [
        only(record_stack({**build, **key}), repository).inputs["repositoryId"]
        for key in ({}, {"kmsKey": KEY}, {"kmsKey": f"{KEY}-2"})
    ]
    assert len(set(names)) == 3
    keepers = [
        only(record_stack(key), "random:index/randomId:RandomId").inputs.get("keepers")
        for key in ({}, {"kmsKey": KEY}, {"kmsKey": f"{KEY}-2"})
    ]
    assert keepers == [None, {"kms_key": KEY}, {"kms_key": f"{KEY}-2"}]


def test_stack_without_a_key_grants_none() -> None:
    graph = record_stack()
    assert graph.of(GRANT) == graph.of("gcp:projects/serviceIdentity:ServiceIdentity") == []
    assert [call.token for call in graph.calls if "Cmek" in call.token] == []
