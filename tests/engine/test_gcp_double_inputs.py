"""The double of Google Cloud validates inputs: formats, ranges and dependent fields."""

import json
from typing import Any

import pytest

from tests.doubles.provider import schema
from tests.doubles.provider.kinds import KINDS
from tests.doubles.provider.kinds.gcp import (
    app_engine,
    identity,
    logs,
    monitoring,
    network,
    project,
    registry,
    secrets,
    sql,
    storage,
)
from tests.engine.gcp_project import MEMBER, REGION, SETTINGS, flexible, instance


def problems(kind: str, inputs: dict[str, Any]) -> list[str]:
    """The paths of invalid fields."""
    return [field for field, _ in [*schema.problems(kind, inputs), *KINDS[kind].check(inputs)]]


@pytest.mark.parametrize(
    ("kind", "inputs", "path"),
    [
        (project.SERVICE, {"service": "sqladmin"}, "service"),
        (project.SERVICE, {"service": "sqladmin.googleapis.com", "project": "another-one"}, "project"),
        (app_engine.APPLICATION, {"locationId": "europe-west1"}, "locationId"),
        (
            app_engine.APPLICATION,
            {"locationId": "europe-west", "iap": {"enabled": True, "oauth2ClientId": "1"}},
            "iap.oauth2ClientSecret",
        ),
        (app_engine.FLEXIBLE, flexible(service="ah-mlflow"), "service"),
        (app_engine.FLEXIBLE, flexible(service="MLflow"), "service"),
        (app_engine.FLEXIBLE, flexible(versionId="default"), "versionId"),
        (app_engine.FLEXIBLE, flexible(manualScaling={"instances": 1}), "automaticScaling"),
        (app_engine.FLEXIBLE, flexible(envVariables={"A-B": "1"}), "envVariables.A-B"),
        (app_engine.FLEXIBLE, flexible(envVariables={"GAE_SERVICE": "1"}), "envVariables.GAE_SERVICE"),
        (app_engine.FLEXIBLE, flexible(resources={"cpu": 3, "memoryGb": 4}), "resources.cpu"),
        # App Engine reserves 0.4 GB.
        (app_engine.FLEXIBLE, flexible(resources={"cpu": 1, "memoryGb": 6.5}), "resources.memoryGb"),
        (app_engine.FLEXIBLE, flexible(network={"name": "projects/p/global/networks/n"}), "network.name"),
        (
            app_engine.FLEXIBLE,
            flexible(readinessCheck={"path": "/readyz", "appStartTimeout": "2400s"}),
            "readinessCheck.appStartTimeout",
        ),
        (app_engine.FLEXIBLE, flexible(livenessCheck={"path": "healthz"}), "livenessCheck.path"),
        (app_engine.FLEXIBLE, flexible(deployment={"zip": {"sourceUrl": "https://x"}}), "deployment.container"),
        (app_engine.SPLIT, {"service": "s", "split": {"allocations": {"v1": "0.5"}}}, "split.allocations"),
        (
            MEMBER,
            {"appId": "my-project", "service": "s", "role": "roles/viewer", "member": "user:ann@example.com"},
            "role",
        ),
        (
            identity.OF_PROJECT,
            {"project": project.PROJECT, "role": "roles/viewer", "member": "ann@example.com"},
            "member",
        ),
        (
            identity.OF_PROJECT,
            {"project": project.PROJECT, "role": "roles/viewer", "member": "deleted:user:ann@example.com?uid=1"},
            "member",
        ),
        (SETTINGS, {"name": "projects/my-project/iap_web/appengine-my-project/services/mlflow"}, "name"),
        (SETTINGS, {"name": "projects/1/iap_web/appengine-my-project/services/mlflow"}, "name"),
        (identity.ACCOUNT, {"accountId": "short"}, "accountId"),
        (identity.ACCOUNT, {"accountId": "a" * 31}, "accountId"),
        (sql.INSTANCE, {**instance(), "region": "europe-west"}, "region"),
        (sql.INSTANCE, instance(tier="db-custom-3-7680"), "settings.tier"),
        (sql.INSTANCE, instance(tier="db-perf-optimized-N-2"), "settings.tier"),
        # The default edition of version 8.4 is Enterprise Plus.
        (sql.INSTANCE, {**instance(), "settings": {"tier": "db-g1-small"}}, "settings.tier"),
        (sql.INSTANCE, instance(availabilityType="REGIONAL"), "settings.backupConfiguration.enabled"),
        (
            sql.INSTANCE,
            instance(backupConfiguration={"enabled": True, "transactionLogRetentionDays": 8}),
            "settings.backupConfiguration.transactionLogRetentionDays",
        ),
        (sql.INSTANCE, instance(ipConfiguration={"ipv4Enabled": False}), "settings.ipConfiguration.ipv4Enabled"),
        (
            sql.INSTANCE,
            instance(ipConfiguration={"privateNetwork": "vpc"}),
            "settings.ipConfiguration.privateNetwork",
        ),
        (sql.INSTANCE, instance(userLabels={"Team": "data"}), "settings.userLabels.Team"),
        (sql.USER, {"instance": "i", "name": "mlflow"}, "password"),
        (storage.BUCKET, {"name": "Test-Bucket", "location": "EU"}, "name"),
        (storage.BUCKET, {"name": "goog-bucket", "location": "EU"}, "name"),
        (storage.BUCKET, {"name": "test-bucket", "location": "europe-west"}, "location"),
        (
            storage.BUCKET,
            {"name": "test-bucket", "location": "EU", "softDeletePolicy": {"retentionDurationSeconds": 86400}},
            "softDeletePolicy.retentionDurationSeconds",
        ),
        (
            storage.BUCKET,
            {
                "name": "test-bucket",
                "location": "EU",
                "lifecycleRules": [{"action": {"type": "Delete"}, "condition": {}}],
            },
            "lifecycleRules[0].condition",
        ),
        (storage.BUCKET, {"name": "test-bucket", "location": "EU", "labels": {"team": "Data"}}, "labels.team"),
        (secrets.SECRET, {"secretId": "a/b", "replication": {"auto": {}}}, "secretId"),
        (secrets.SECRET, {"secretId": "a", "replication": {}}, "replication"),
        (
            secrets.SECRET,
            {"secretId": "a", "replication": {"userManaged": {"replicas": [{"location": "europe-west"}]}}},
            "replication.userManaged.replicas[0].location",
        ),
        (secrets.VERSION, {"secret": "a", "secretData": "x"}, "secret"),
        (registry.REPOSITORY, {"repositoryId": "Images", "format": "DOCKER", "location": REGION}, "repositoryId"),
        (registry.REPOSITORY, {"repositoryId": "images", "format": "DOCKER", "location": "EU"}, "location"),
        (
            registry.REPOSITORY,
            {
                "repositoryId": "images",
                "format": "DOCKER",
                "location": REGION,
                "cleanupPolicies": [{"id": "a", "action": "DELETE", "mostRecentVersions": {"keepCount": 2}}],
            },
            "cleanupPolicies[0].mostRecentVersions",
        ),
        (
            network.SUBNETWORK,
            {"name": "s", "network": "n", "ipCidrRange": "10.0.0.1/20", "region": REGION},
            "ipCidrRange",
        ),
        (network.ADDRESS, {"name": "a", "purpose": "VPC_PEERING", "addressType": "INTERNAL"}, "network"),
        (
            logs.BUCKET,
            {"project": project.PROJECT, "location": REGION, "bucketId": "b", "retentionDays": 0},
            "retentionDays",
        ),
        (
            logs.METRIC,
            {"name": "m", "filter": "f", "metricDescriptor": {"metricKind": "DELTA", "valueType": "DISTRIBUTION"}},
            "valueExtractor",
        ),
        (monitoring.CHANNEL, {"type": "email", "labels": {"address": "a@example.com"}}, "labels"),
        (
            monitoring.POLICY,
            {
                "combiner": "OR",
                "displayName": "d",
                "conditions": [
                    {
                        "displayName": "c",
                        "conditionAbsent": {"duration": "60s", "filter": "metric.type=1 resource.type=2"},
                    }
                ],
            },
            "conditions[0].conditionAbsent.duration",
        ),
        ("gcp:monitoring/dashboard:Dashboard", {"dashboardJson": json.dumps({"displayName": "d"})}, "dashboardJson"),
    ],
)
def test_invalid_input_is_rejected(kind: str, inputs: dict[str, Any], path: str) -> None:
    assert path in problems(kind, inputs)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (app_engine.FLEXIBLE, flexible(resources={"cpu": 1, "memoryGb": 6.1})),
        (app_engine.FLEXIBLE, flexible(resources={"cpu": 1, "memoryGb": 0.5})),
        (sql.INSTANCE, instance(tier="db-custom-2-7680")),
        (sql.INSTANCE, {**instance(), "settings": {"tier": "db-perf-optimized-N-2"}}),
        (storage.BUCKET, {"name": "test-bucket", "location": "EUROPE-WEST1"}),
        (SETTINGS, {"name": f"projects/{project.NUMBER}/iap_web/appengine-my-project/services/mlflow"}),
    ],
)
def test_valid_inputs_are_accepted(kind: str, inputs: dict[str, Any]) -> None:
    assert problems(kind, inputs) == []
