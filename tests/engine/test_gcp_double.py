"""The double of Google Cloud rejects operations that Google or its provider rejects. No engine is needed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider import schema
from tests.doubles.provider.changes import table
from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kind import CloudError
from tests.doubles.provider.kinds.gcp import (
    app_engine,
    calls,
    identity,
    kms,
    logs,
    monitoring,
    network,
    project,
    registry,
    secrets,
    sql,
    storage,
)
from tests.doubles.provider.kinds.images import IMAGE
from tests.engine.gcp_project import DIGEST, MEMBER, REGION, Project, instance

# -- Encryption keys

KEY = f"projects/security-team-1/locations/{REGION}/keyRings/mlflow/cryptoKeys/mlflow"
REPLICA = {"location": REGION, "customerManagedEncryption": {"kmsKeyName": KEY}}
ENCRYPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("sqladmin", sql.INSTANCE, {**instance(), "encryptionKeyName": KEY}),
    (
        "storage",
        storage.BUCKET,
        {"name": "test-bucket", "location": REGION.upper(), "encryption": {"defaultKmsKeyName": KEY}},
    ),
    (
        "artifactregistry",
        registry.REPOSITORY,
        {"repositoryId": "test", "location": REGION, "format": "DOCKER", "kmsKeyName": KEY},
    ),
    ("secretmanager", secrets.SECRET, {"secretId": "test", "replication": {"userManaged": {"replicas": [REPLICA]}}}),
    ("logging", logs.BUCKET, {"bucketId": "test", "location": REGION, "cmekSettings": {"kmsKeyName": KEY}}),
]


def grant_key(cloud: Cloud, service: str) -> None:
    role = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
    member = f"serviceAccount:{kms.AGENTS[service]}"
    cloud.create(kms.MEMBER, "m", {"cryptoKeyId": KEY, "role": role, "member": member})


@pytest.mark.parametrize(("service", "kind", "inputs"), ENCRYPTED, ids=[service for service, _, _ in ENCRYPTED])
def test_key_is_usable_by_the_service_agent_with_the_role_and_in_the_same_location(
    service: str, kind: str, inputs: dict[str, Any]
) -> None:
    cloud = Project()
    cloud.create(project.SERVICE, "s", {"service": "cloudkms.googleapis.com"})
    with pytest.raises(CloudError, match="does not exist"):
        grant_key(cloud, service)
    if service in ("storage", "logging"):
        kms.agent_made(cloud, service)
    else:
        cloud.create(kms.IDENTITY, "i", {"service": f"{service}.googleapis.com"})
    with pytest.raises(CloudError, match="Permission denied on Cloud KMS key"):
        cloud.create(kind, "r", inputs)
    grant_key(cloud, service)
    elsewhere = json.loads(json.dumps(inputs).replace(KEY, KEY.replace(REGION, "us-east1")))
    with pytest.raises(CloudError, match=f"is not in {REGION}"):
        cloud.create(kind, "r", elsewhere)
    cloud.create(kind, "r", inputs)


def test_log_bucket_keeps_its_key() -> None:
    cloud = Project()
    inputs = {"bucketId": "test", "location": REGION}
    bucket = cloud.create(logs.BUCKET, "b", inputs)
    with pytest.raises(CloudError, match=r"CMEK settings of .* cannot be changed"):
        cloud.update(logs.BUCKET, bucket.id, {}, {**inputs, "cmekSettings": {"kmsKeyName": KEY}})


# -- APIs


def test_operation_with_a_disabled_api_is_rejected_until_it_is_enabled() -> None:
    cloud = Cloud()
    with pytest.raises(CloudError, match=r"403: sqladmin\.googleapis\.com API has not been used .*SERVICE_DISABLED"):
        cloud.create(sql.INSTANCE, "i", instance())
    service = cloud.create(project.SERVICE, "s", {"service": "sqladmin.googleapis.com"})
    cloud.create(sql.INSTANCE, "i", instance())
    cloud.delete(project.SERVICE, service.id, service.outputs)
    assert "API sqladmin.googleapis.com" in cloud.left
    assert "sqladmin.googleapis.com" in cloud.apis


def test_api_in_use_cannot_be_disabled() -> None:
    cloud = Cloud()
    inputs = {"service": "sqladmin.googleapis.com", "disableOnDestroy": True}
    service = cloud.create(project.SERVICE, "s", inputs)
    database = cloud.create(sql.INSTANCE, "i", instance())
    with pytest.raises(CloudError, match="SERVICE_IN_USE"):
        cloud.delete(project.SERVICE, service.id, service.outputs)
    cloud.remove(database)
    cloud.delete(project.SERVICE, service.id, service.outputs)
    assert "sqladmin.googleapis.com" not in cloud.apis


# -- identity


def test_binding_of_a_missing_service_account_is_rejected() -> None:
    cloud = Project()
    email = f"server@{project.PROJECT}.iam.gserviceaccount.com"
    inputs = {"project": project.PROJECT, "role": "roles/logging.logWriter", "member": f"serviceAccount:{email}"}
    with pytest.raises(CloudError, match=f"Service account {email} does not exist"):
        cloud.create(identity.OF_PROJECT, "m", inputs)
    account = cloud.create(identity.ACCOUNT, "server", {"accountId": "server"})
    assert account.computed["email"] == email
    cloud.create(identity.OF_PROJECT, "m", inputs)
    with pytest.raises(CloudError, match="409: Service account server already exists"):
        cloud.create(identity.ACCOUNT, "other", {"accountId": "server"})
    cloud.delete_resource(account)
    assert any(leftover.startswith("member deleted:serviceAccount:server@") for leftover in cloud.left)
    with pytest.raises(CloudError, match=r"was deleted|does not exist"):
        cloud.create(identity.OF_PROJECT, "m", inputs)


def test_binding_on_a_missing_service_is_rejected() -> None:
    cloud = Project()
    inputs = {
        "appId": project.PROJECT,
        "service": "mlflow",
        "role": "roles/iap.httpsResourceAccessor",
        "member": "user:ann@example.com",
    }
    with pytest.raises(CloudError, match="service mlflow"):
        cloud.create(MEMBER, "m", inputs)
    cloud.version()
    cloud.create(MEMBER, "m", inputs)


# -- data


def test_instance_name_stays_reserved_after_deletion() -> None:
    cloud = Project()
    cloud.delete_resource(cloud.create(sql.INSTANCE, "i", instance()))
    with pytest.raises(CloudError, match="until one week from the deletion date"):
        cloud.create(sql.INSTANCE, "i", instance())


def test_instance_has_two_deletion_protections() -> None:
    cloud = Project()
    database = cloud.create(sql.INSTANCE, "i", {**instance(), "deletionProtection": True})
    with pytest.raises(CloudError, match="deletion_protection is set to true"):
        cloud.delete_resource(database)
    cloud.update(sql.INSTANCE, database.id, {}, instance(deletionProtectionEnabled=True))
    with pytest.raises(CloudError, match="The instance is protected"):
        cloud.delete_resource(database)
    cloud.update(sql.INSTANCE, database.id, {}, instance(deletionProtectionEnabled=False))
    cloud.delete_resource(database)
    # The provider's own protection is on by default.
    default = {name: value for name, value in instance().items() if name != "deletionProtection"}
    with pytest.raises(CloudError, match="deletion_protection is set to true"):
        cloud.delete_resource(cloud.create(sql.INSTANCE, "i", {**default, "name": "second-instance"}))


def test_deletion_of_an_instance_deletes_users_and_keeps_backups() -> None:
    cloud = Project()
    inputs = instance(retainBackupsOnDelete=True, finalBackupConfig={"enabled": True, "retentionDays": 30})
    database = cloud.create(sql.INSTANCE, "i", inputs)
    user = cloud.create(sql.USER, "u", {"instance": "test-instance", "name": "mlflow", "password": "p"})
    cloud.create(sql.DATABASE, "d", {"instance": "test-instance", "name": "mlflow"})
    assert user.computed["host"] == "%"
    cloud.delete_resource(database)
    assert cloud.of(sql.USER) == cloud.of(sql.DATABASE) == []
    assert "final backup and backups of database instance test-instance" in cloud.left


def test_disk_cannot_shrink() -> None:
    cloud = Project()
    database = cloud.create(sql.INSTANCE, "i", instance(diskSize=20))
    with pytest.raises(CloudError, match="cannot become"):
        cloud.update(sql.INSTANCE, database.id, {}, instance(diskSize=10))


def test_mysql_version_can_only_be_upgraded() -> None:
    cloud = Project()
    database = cloud.create(sql.INSTANCE, "i", {**instance(), "databaseVersion": "MYSQL_8_0"})
    cloud.update(sql.INSTANCE, database.id, {}, instance())
    with pytest.raises(CloudError, match="no downgrades"):
        cloud.update(sql.INSTANCE, database.id, {}, {**instance(), "databaseVersion": "MYSQL_8_0"})


def test_private_instance_needs_a_connection_and_blocks_its_deletion() -> None:
    cloud = Project()
    unpeered = cloud.create(network.NETWORK, "unpeered", {"name": "unpeered", "autoCreateSubnetworks": False})
    with pytest.raises(CloudError, match="SERVICE_NETWORKING_NOT_ENABLED"):
        cloud.create(sql.INSTANCE, "i", instance(ipConfiguration={"privateNetwork": unpeered.id}))
    vpc, address, peering, database = cloud.create_private_database()
    assert database.computed["privateIpAddress"]
    for resource in (vpc, address):
        with pytest.raises(CloudError, match="in use by"):
            cloud.delete_resource(resource)
    cloud.delete_resource(database)
    with pytest.raises(CloudError, match=r"Producer services .* are still using this connection"):
        cloud.delete_resource(peering)
    peering.inputs["deletionPolicy"] = "REMOVE_PEERING"
    for resource in (peering, address, vpc):
        cloud.delete_resource(resource)


def test_peering_in_use_cannot_be_removed() -> None:
    cloud = Project()
    *_, peering, _ = cloud.create_private_database()
    peering.inputs["deletionPolicy"] = "REMOVE_PEERING"
    with pytest.raises(CloudError, match="is reached through it"):
        cloud.delete_resource(peering)


def test_bucket_with_objects_needs_force_destroy_and_names_are_global() -> None:
    cloud = Project()
    cloud.existing.add("gs://taken")
    with pytest.raises(CloudError, match="shared by all"):
        cloud.create(storage.BUCKET, "b", {"name": "taken", "location": "EU"})
    bucket = cloud.create(storage.BUCKET, "b", {"name": "test-bucket", "location": "EU"})
    with pytest.raises(CloudError, match="409"):
        cloud.create(storage.BUCKET, "c", {"name": "test-bucket", "location": "EU"})
    bucket.contents["model.pkl"] = ""
    with pytest.raises(CloudError, match="without `force_destroy`"):
        cloud.delete_resource(bucket)
    cloud.update(storage.BUCKET, bucket.id, {}, {**bucket.inputs, "forceDestroy": True})
    cloud.delete_resource(bucket)
    assert "soft-deleted bucket test-bucket for 7 days" in cloud.left


def test_protected_secret_cannot_be_deleted() -> None:
    cloud = Project()
    inputs: dict[str, Any] = {"secretId": "test-secret", "replication": {"auto": {}}}
    secret = cloud.create(secrets.SECRET, "s", {**inputs, "deletionProtection": True})
    with pytest.raises(CloudError, match="deletion_protection"):
        cloud.delete_resource(secret)
    cloud.update(secrets.SECRET, secret.id, {}, {**inputs, "deletionPolicy": "PREVENT"})
    with pytest.raises(CloudError, match="deletion_policy"):
        cloud.delete_resource(secret)
    cloud.update(secrets.SECRET, secret.id, {}, {**inputs, "deletionPolicy": "ABANDON"})
    cloud.delete_resource(secret)
    assert cloud.of(secrets.SECRET) == [secret]


def test_secret_versions_are_numbered() -> None:
    cloud = Project()
    secret = cloud.create(secrets.SECRET, "s", {"secretId": "test-secret", "replication": {"auto": {}}})
    versions = [cloud.create(secrets.VERSION, "v", {"secret": secret.id, "secretData": data}) for data in "ab"]
    assert [version.computed["version"] for version in versions] == ["1", "2"]


# -- images, logs, alerts, networks


def test_only_pushed_digests_are_in_the_registry(tmp_path: Path) -> None:
    cloud = Project(folder=tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    repository = cloud.create(
        registry.REPOSITORY, "r", {"repositoryId": "images", "format": "DOCKER", "location": REGION}
    )
    name = f"{repository.computed['registryUri']}/mlflow"
    login = {"address": f"{REGION}-docker.pkg.dev", "username": "oauth2accesstoken", "password": "token"}
    inputs = {"push": True, "tags": [f"{name}:one"], "context": {"location": "."}, "registries": [login]}
    with pytest.raises(CloudError, match="there is no login"):
        cloud.create(IMAGE, "i", {**inputs, "registries": []})
    image = cloud.create(IMAGE, "i", inputs)
    for reference, exists in ((f"{name}@{image.id}", True), (f"{name}@{DIGEST}", False), (f"{name}:two", False)):
        assert registry.has_image(reference, cloud) is exists
    cloud.delete_resource(repository)
    assert cloud.of(IMAGE) == []


def test_files_in_dockerignore_do_not_change_the_image(tmp_path: Path) -> None:
    cloud = Project(folder=tmp_path)
    (tmp_path / "app").mkdir()
    for name, text in {"Dockerfile": "FROM scratch", ".dockerignore": "*\n!app/*.py\n**/.*\n", "app/a.py": "1"}.items():
        (tmp_path / name).write_text(text)

    def digest() -> str:
        return cloud.create(IMAGE, f"i{cloud.next_number()}", {"context": {"location": "."}, "tags": ["t"]}).computed[
            "contextHash"
        ]

    first = digest()
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}")
    (tmp_path / "app" / ".hidden.py").write_text("2")
    assert digest() == first
    (tmp_path / "app" / "a.py").write_text("2")
    assert digest() != first


def test_log_bucket_name_stays_reserved_after_deletion() -> None:
    cloud = Project()
    inputs = {"project": project.PROJECT, "location": REGION, "bucketId": "log"}
    cloud.delete_resource(cloud.create(logs.BUCKET, "b", inputs))
    assert "log bucket log for 7 days" in cloud.left
    with pytest.raises(CloudError, match="pending deletion"):
        cloud.create(logs.BUCKET, "b", inputs)


def test_alert_needs_its_metric_and_blocks_the_deletion_of_its_channel() -> None:
    cloud = Project()
    channel = cloud.create(monitoring.CHANNEL, "c", {"type": "email", "labels": {"email_address": "a@example.com"}})
    filter_text = 'metric.type = "logging.googleapis.com/user/ends" AND resource.type = "gae_app"'
    condition = {
        "displayName": "c",
        "conditionThreshold": {"filter": filter_text, "comparison": "COMPARISON_GT", "duration": "0s"},
    }
    inputs = {"combiner": "OR", "displayName": "d", "conditions": [condition], "notificationChannels": [channel.id]}
    with pytest.raises(CloudError, match="Cannot find metric"):
        cloud.create(monitoring.POLICY, "p", inputs)
    cloud.create(logs.METRIC, "m", {"name": "ends", "filter": "f"})
    cloud.create(monitoring.POLICY, "p", inputs)
    query = {"query": "logging_googleapis_com:user_ends > 0"}
    in_promql = {**inputs, "conditions": [{"displayName": "c", "conditionPrometheusQueryLanguage": query}]}
    with pytest.raises(CloudError, match="no metric"):
        cloud.create(monitoring.POLICY, "q", in_promql)
    with pytest.raises(CloudError, match="used by"):
        cloud.delete_resource(channel)


def test_subnetwork_that_overlaps_or_shrinks_is_rejected() -> None:
    cloud = Project()
    vpc = cloud.create(network.NETWORK, "vpc", {"name": "vpc", "autoCreateSubnetworks": False})
    inputs = {"name": "s", "network": vpc.id, "region": REGION, "ipCidrRange": "10.0.16.0/20"}
    subnetwork = cloud.create(network.SUBNETWORK, "s", inputs)
    with pytest.raises(CloudError, match="conflicts with existing"):
        cloud.create(network.SUBNETWORK, "t", {**inputs, "name": "t", "ipCidrRange": "10.0.24.0/24"})
    with pytest.raises(CloudError, match="must contain"):
        cloud.update(network.SUBNETWORK, subnetwork.id, {}, {**inputs, "ipCidrRange": "10.0.32.0/20"})
    cloud.update(network.SUBNETWORK, subnetwork.id, {}, {**inputs, "ipCidrRange": "10.0.0.0/16"})


# -- update or replace


def test_removed_private_network_replaces_an_instance_and_an_added_one_does_not() -> None:
    entry = table()[sql.INSTANCE]
    public, private = instance(ipConfiguration={}), instance(ipConfiguration={"privateNetwork": "n"})
    path = "settings.ipConfiguration.privateNetwork"
    assert entry.replaces(path, private, public)
    assert not entry.replaces(path, public, private)


def test_changed_region_replaces_an_instance_and_not_an_application() -> None:
    assert not table()[app_engine.APPLICATION].replaces("region", {}, {})
    assert table()[sql.INSTANCE].replaces("region", {}, {})


# -- calls


def test_call_results_have_the_fields_of_the_sdk() -> None:
    cloud = Project()
    cloud.create(sql.INSTANCE, "i", instance())
    secret = cloud.create(secrets.SECRET, "s", {"secretId": "test-secret", "replication": {"auto": {}}})
    cloud.create(secrets.VERSION, "v", {"secret": secret.id, "secretData": "first"})
    cloud.create(secrets.VERSION, "w", {"secret": secret.id, "secretData": "second"})
    arguments: dict[str, dict[str, Any]] = {
        "gcp:secretmanager/getSecretVersion:getSecretVersion": {"secret": "test-secret"},
    }
    results = {token: call(arguments.get(token, {}), cloud) for token, call in calls.CALLS.items()}
    assert {token: set(result) - schema.result_fields(token) for token, result in results.items()} == {
        token: set() for token in results
    }
    assert results["gcp:secretmanager/getSecretVersion:getSecretVersion"]["secretData"] == "second"


def test_reading_a_project_needs_the_api() -> None:
    with pytest.raises(CloudError, match="cloudresourcemanager"):
        calls.CALLS["gcp:organizations/getProject:getProject"]({}, Cloud())
