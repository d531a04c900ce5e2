"""The double of Google Cloud is strict: what Google or its provider would refuse, it refuses. No engine is needed."""

from pathlib import Path
from typing import Any

import pytest

from tests.doubles.provider import schema
from tests.doubles.provider.changes import table
from tests.doubles.provider.cloud import Cloud
from tests.doubles.provider.kind import RefusedError
from tests.doubles.provider.kinds.gcp import (
    app_engine,
    calls,
    identity,
    logs,
    network,
    project,
    registry,
    secrets,
    sql,
    storage,
    watching,
)
from tests.doubles.provider.kinds.images import IMAGE
from tests.engine.google import DIGEST, MEMBER, REGION, Project, instance

# -- APIs


def test_an_api_that_is_off_is_named_and_one_that_is_switched_on_answers() -> None:
    cloud = Cloud()
    with pytest.raises(RefusedError, match=r"403: sqladmin\.googleapis\.com API has not been used .*SERVICE_DISABLED"):
        cloud.create(sql.INSTANCE, "i", instance())
    made = cloud.create(project.SERVICE, "s", {"service": "sqladmin.googleapis.com"})
    cloud.create(sql.INSTANCE, "i", instance())
    cloud.delete(project.SERVICE, made.id, made.outputs)
    assert "API sqladmin.googleapis.com" in cloud.left
    assert "sqladmin.googleapis.com" in cloud.apis


def test_an_api_in_use_is_not_switched_off() -> None:
    cloud = Cloud()
    inputs = {"service": "sqladmin.googleapis.com", "disableOnDestroy": True}
    made = cloud.create(project.SERVICE, "s", inputs)
    there = cloud.create(sql.INSTANCE, "i", instance())
    with pytest.raises(RefusedError, match="SERVICE_IN_USE"):
        cloud.delete(project.SERVICE, made.id, made.outputs)
    cloud.remove(there)
    cloud.delete(project.SERVICE, made.id, made.outputs)
    assert "sqladmin.googleapis.com" not in cloud.apis


# -- identity


def test_a_member_of_the_project_exists() -> None:
    cloud = Project()
    email = f"server@{project.PROJECT}.iam.gserviceaccount.com"
    inputs = {"project": project.PROJECT, "role": "roles/logging.logWriter", "member": f"serviceAccount:{email}"}
    with pytest.raises(RefusedError, match=f"Service account {email} does not exist"):
        cloud.create(identity.OF_PROJECT, "m", inputs)
    account = cloud.create(identity.ACCOUNT, "server", {"accountId": "server"})
    assert account.computed["email"] == email
    cloud.create(identity.OF_PROJECT, "m", inputs)
    with pytest.raises(RefusedError, match="409: Service account server already exists"):
        cloud.create(identity.ACCOUNT, "other", {"accountId": "server"})
    cloud.gone(account)
    assert any(one.startswith("member deleted:serviceAccount:server@") for one in cloud.left)
    with pytest.raises(RefusedError, match=r"was deleted|does not exist"):
        cloud.create(identity.OF_PROJECT, "m", inputs)


def test_a_member_of_a_service_needs_the_service() -> None:
    cloud = Project()
    inputs = {
        "appId": project.PROJECT,
        "service": "mlflow",
        "role": "roles/iap.httpsResourceAccessor",
        "member": "user:ann@example.com",
    }
    with pytest.raises(RefusedError, match="service mlflow"):
        cloud.create(MEMBER, "m", inputs)
    cloud.version()
    cloud.create(MEMBER, "m", inputs)


# -- data


def test_an_instances_name_is_taken_for_a_week_after_it_is_gone() -> None:
    cloud = Project()
    cloud.gone(cloud.create(sql.INSTANCE, "i", instance()))
    with pytest.raises(RefusedError, match="until one week from the deletion date"):
        cloud.create(sql.INSTANCE, "i", instance())


def test_an_instance_is_protected_twice() -> None:
    cloud = Project()
    made = cloud.create(sql.INSTANCE, "i", {**instance(), "deletionProtection": True})
    with pytest.raises(RefusedError, match="deletion_protection is set to true"):
        cloud.gone(made)
    cloud.update(sql.INSTANCE, made.id, {}, instance(deletionProtectionEnabled=True))
    with pytest.raises(RefusedError, match="The instance is protected"):
        cloud.gone(made)
    cloud.update(sql.INSTANCE, made.id, {}, instance(deletionProtectionEnabled=False))
    cloud.gone(made)
    # The provider's own is on where nothing is said.
    plain = {name: value for name, value in instance().items() if name != "deletionProtection"}
    with pytest.raises(RefusedError, match="deletion_protection is set to true"):
        cloud.gone(cloud.create(sql.INSTANCE, "i", {**plain, "name": "another"}))


def test_a_user_and_a_database_go_with_their_instance_and_backups_stay() -> None:
    cloud = Project()
    kept = instance(retainBackupsOnDelete=True, finalBackupConfig={"enabled": True, "retentionDays": 30})
    made = cloud.create(sql.INSTANCE, "i", kept)
    user = cloud.create(sql.USER, "u", {"instance": "some-instance", "name": "mlflow", "password": "p"})
    cloud.create(sql.DATABASE, "d", {"instance": "some-instance", "name": "mlflow"})
    assert user.computed["host"] == "%"
    cloud.gone(made)
    assert cloud.of(sql.USER) == cloud.of(sql.DATABASE) == []
    assert "final backup and backups of database instance some-instance" in cloud.left


def test_a_disk_does_not_shrink() -> None:
    cloud = Project()
    made = cloud.create(sql.INSTANCE, "i", instance(diskSize=20))
    with pytest.raises(RefusedError, match="cannot become"):
        cloud.update(sql.INSTANCE, made.id, {}, instance(diskSize=10))


def test_a_version_of_mysql_is_only_exchanged_for_a_newer_one() -> None:
    cloud = Project()
    made = cloud.create(sql.INSTANCE, "i", {**instance(), "databaseVersion": "MYSQL_8_0"})
    cloud.update(sql.INSTANCE, made.id, {}, instance())
    with pytest.raises(RefusedError, match="no downgrades"):
        cloud.update(sql.INSTANCE, made.id, {}, {**instance(), "databaseVersion": "MYSQL_8_0"})


def test_a_private_instance_needs_the_connection_and_the_connection_is_in_use_for_days_after_it() -> None:
    cloud = Project()
    alone = cloud.create(network.NETWORK, "alone", {"name": "alone", "autoCreateSubnetworks": False})
    with pytest.raises(RefusedError, match="SERVICE_NETWORKING_NOT_ENABLED"):
        cloud.create(sql.INSTANCE, "i", instance(ipConfiguration={"privateNetwork": alone.id}))
    vpc, held, peering, made = cloud.private()
    assert made.computed["privateIpAddress"]
    for one in (vpc, held):
        with pytest.raises(RefusedError, match="in use by"):
            cloud.gone(one)
    cloud.gone(made)
    with pytest.raises(RefusedError, match=r"Producer services .* are still using this connection"):
        cloud.gone(peering)
    peering.inputs["deletionPolicy"] = "REMOVE_PEERING"
    for one in (peering, held, vpc):
        cloud.gone(one)


def test_a_peering_is_not_removed_under_an_instance() -> None:
    cloud = Project()
    *_, peering, _ = cloud.private()
    peering.inputs["deletionPolicy"] = "REMOVE_PEERING"
    with pytest.raises(RefusedError, match="is reached through it"):
        cloud.gone(peering)


def test_a_bucket_goes_when_it_is_empty_or_forced_and_its_name_is_one_of_all_the_world() -> None:
    cloud = Project()
    cloud.given.add("gs://taken")
    with pytest.raises(RefusedError, match="shared by all"):
        cloud.create(storage.BUCKET, "b", {"name": "taken", "location": "EU"})
    made = cloud.create(storage.BUCKET, "b", {"name": "some", "location": "EU"})
    with pytest.raises(RefusedError, match="409"):
        cloud.create(storage.BUCKET, "c", {"name": "some", "location": "EU"})
    made.inside["model.pkl"] = ""
    with pytest.raises(RefusedError, match="without `force_destroy`"):
        cloud.gone(made)
    cloud.update(storage.BUCKET, made.id, {}, {**made.inputs, "forceDestroy": True})
    cloud.gone(made)
    assert "soft-deleted bucket some for 7 days" in cloud.left


def test_a_secret_that_is_protected_or_prevented_stays() -> None:
    cloud = Project()
    inputs: dict[str, Any] = {"secretId": "some-secret", "replication": {"auto": {}}}
    made = cloud.create(secrets.SECRET, "s", {**inputs, "deletionProtection": True})
    with pytest.raises(RefusedError, match="deletion_protection"):
        cloud.gone(made)
    cloud.update(secrets.SECRET, made.id, {}, {**inputs, "deletionPolicy": "PREVENT"})
    with pytest.raises(RefusedError, match="deletion_policy"):
        cloud.gone(made)
    cloud.update(secrets.SECRET, made.id, {}, {**inputs, "deletionPolicy": "ABANDON"})
    cloud.gone(made)
    assert cloud.of(secrets.SECRET) == [made]


def test_a_version_of_a_secret_has_a_number_of_its_own() -> None:
    cloud = Project()
    made = cloud.create(secrets.SECRET, "s", {"secretId": "some-secret", "replication": {"auto": {}}})
    versions = [cloud.create(secrets.VERSION, "v", {"secret": made.id, "secretData": data}) for data in "ab"]
    assert [one.computed["version"] for one in versions] == ["1", "2"]


# -- the rest


def test_an_image_is_pulled_by_a_digest_that_was_pushed(tmp_path: Path) -> None:
    cloud = Project(folder=tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    repository = cloud.create(
        registry.REPOSITORY, "r", {"repositoryId": "images", "format": "DOCKER", "location": REGION}
    )
    name = f"{repository.computed['registryUri']}/mlflow"
    sign_in = {"address": f"{REGION}-docker.pkg.dev", "username": "oauth2accesstoken", "password": "token"}
    inputs = {"push": True, "tags": [f"{name}:one"], "context": {"location": "."}, "registries": [sign_in]}
    with pytest.raises(RefusedError, match="nobody has signed in"):
        cloud.create(IMAGE, "i", {**inputs, "registries": []})
    image = cloud.create(IMAGE, "i", inputs)
    for reference, there in ((f"{name}@{image.id}", True), (f"{name}@{DIGEST}", False), (f"{name}:two", False)):
        assert registry.has_image(reference, cloud) is there
    cloud.gone(repository)
    assert cloud.of(IMAGE) == []


def test_only_what_dockerignore_lets_in_makes_another_image(tmp_path: Path) -> None:
    cloud = Project(folder=tmp_path)
    (tmp_path / "app").mkdir()
    for name, text in {"Dockerfile": "FROM scratch", ".dockerignore": "*\n!app/*.py\n**/.*\n", "app/a.py": "1"}.items():
        (tmp_path / name).write_text(text)

    def digest() -> str:
        return cloud.create(IMAGE, f"i{cloud.ticket()}", {"context": {"location": "."}, "tags": ["t"]}).computed[
            "contextHash"
        ]

    first = digest()
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}")
    (tmp_path / "app" / ".hidden.py").write_text("2")
    assert digest() == first
    (tmp_path / "app" / "a.py").write_text("2")
    assert digest() != first


def test_a_log_buckets_name_is_taken_for_a_week_after_it_is_gone() -> None:
    cloud = Project()
    inputs = {"project": project.PROJECT, "location": REGION, "bucketId": "lines"}
    cloud.gone(cloud.create(logs.BUCKET, "b", inputs))
    assert "log bucket lines for 7 days" in cloud.left
    with pytest.raises(RefusedError, match="pending deletion"):
        cloud.create(logs.BUCKET, "b", inputs)


def test_an_alert_is_about_a_metric_that_is_there_and_tells_a_channel_that_stays() -> None:
    cloud = Project()
    channel = cloud.create(watching.CHANNEL, "c", {"type": "email", "labels": {"email_address": "a@example.com"}})
    text = 'metric.type = "logging.googleapis.com/user/ends" AND resource.type = "gae_app"'
    condition = {
        "displayName": "c",
        "conditionThreshold": {"filter": text, "comparison": "COMPARISON_GT", "duration": "0s"},
    }
    inputs = {"combiner": "OR", "displayName": "d", "conditions": [condition], "notificationChannels": [channel.id]}
    with pytest.raises(RefusedError, match="Cannot find metric"):
        cloud.create(watching.POLICY, "p", inputs)
    cloud.create(logs.METRIC, "m", {"name": "ends", "filter": "f"})
    cloud.create(watching.POLICY, "p", inputs)
    query = {"query": "logging_googleapis_com:user_ends > 0"}
    in_promql = {**inputs, "conditions": [{"displayName": "c", "conditionPrometheusQueryLanguage": query}]}
    with pytest.raises(RefusedError, match="no metric"):
        cloud.create(watching.POLICY, "q", in_promql)
    with pytest.raises(RefusedError, match="used by"):
        cloud.gone(channel)


def test_subnetworks_do_not_overlap_and_only_grow() -> None:
    cloud = Project()
    vpc = cloud.create(network.NETWORK, "vpc", {"name": "vpc", "autoCreateSubnetworks": False})
    inputs = {"name": "s", "network": vpc.id, "region": REGION, "ipCidrRange": "10.0.16.0/20"}
    made = cloud.create(network.SUBNETWORK, "s", inputs)
    with pytest.raises(RefusedError, match="conflicts with existing"):
        cloud.create(network.SUBNETWORK, "t", {**inputs, "name": "t", "ipCidrRange": "10.0.24.0/24"})
    with pytest.raises(RefusedError, match="must contain"):
        cloud.update(network.SUBNETWORK, made.id, {}, {**inputs, "ipCidrRange": "10.0.32.0/20"})
    cloud.update(network.SUBNETWORK, made.id, {}, {**inputs, "ipCidrRange": "10.0.0.0/16"})


# -- update or replace


def test_taking_a_private_address_away_makes_another_instance_and_giving_one_does_not() -> None:
    entry = table()[sql.INSTANCE]
    without_one, with_one = instance(ipConfiguration={}), instance(ipConfiguration={"privateNetwork": "n"})
    path = "settings.ipConfiguration.privateNetwork"
    assert entry.replaces(path, with_one, without_one)
    assert not entry.replaces(path, without_one, with_one)


def test_a_region_is_not_everywhere_a_reason_to_replace() -> None:
    assert not table()[app_engine.APPLICATION].replaces("region", {}, {})
    assert table()[sql.INSTANCE].replaces("region", {}, {})


# -- calls


def test_the_answers_to_calls_have_the_fields_of_the_sdk() -> None:
    cloud = Project()
    cloud.create(sql.INSTANCE, "i", instance())
    secret = cloud.create(secrets.SECRET, "s", {"secretId": "some-secret", "replication": {"auto": {}}})
    cloud.create(secrets.VERSION, "v", {"secret": secret.id, "secretData": "first"})
    cloud.create(secrets.VERSION, "w", {"secret": secret.id, "secretData": "second"})
    asked: dict[str, dict[str, Any]] = {
        "gcp:secretmanager/getSecretVersion:getSecretVersion": {"secret": "some-secret"},
        "gcp:sql/getCaCerts:getCaCerts": {"instance": "some-instance"},
    }
    answers = {token: answer(asked.get(token, {}), cloud) for token, answer in calls.CALLS.items()}
    assert {token: set(answer) - schema.fields_of_answer(token) for token, answer in answers.items()} == {
        token: set() for token in answers
    }
    assert answers["gcp:secretmanager/getSecretVersion:getSecretVersion"]["secretData"] == "second"


def test_a_project_is_read_by_an_api_that_is_on() -> None:
    with pytest.raises(RefusedError, match="cloudresourcemanager"):
        calls.CALLS["gcp:organizations/getProject:getProject"]({}, Cloud())
