"""The effect of changing each setting of a development stack on Google Cloud (see setting_changes.py)."""

import re

from tests.engine.setting_changes import REBUILD_STEPS, Change

OTHER_IMAGE = f"europe-west1-docker.pkg.dev/other-project/images/mlflow@sha256:{'0' * 64}"
# Steps of a changed service name, which is in every filter.
MONITORING_STEPS = (
    "update AlertPolicy",
    "update Dashboard",
    "update Metric",
    "update ProjectBucketConfig",
    "update ProjectExclusion",
    "update ProjectSink",
)
# Settings that replace the database, instance or bucket and lose its data, as their documentation states.
DATA_LOSS_SETTINGS = {"kmsKey", "artifacts.bucketName", "artifacts.location", "database.instanceName", "database.name"}
DATA_TYPES = {"Bucket", "Database", "DatabaseInstance"}
# The placeholder's bucket contains only its source file.
NO_DATA_LOSS_SETTINGS = {"app.placeholder"}
# Settings without a row: project and region, existing resources, and secrets, which test_existing_application.py sets.
EXCLUDED = re.compile(
    r"environment|project|region|oauthClientSecret|oauthClient\.client(IdSecret|SecretSecret)|access\.(conditional|roles)\..*"
    r"|network\.(hostProject|subnetwork|peered|cidr)|database\.maintenanceHour"
)

CHANGES = {
    "labels": Change(
        {"labels": {"team": "data"}},
        ("update AlertPolicy", "update Bucket", "update DatabaseInstance", "update Repository", "update Secret"),
    ),
    "deletionProtection": Change(
        {"deletionProtection": True}, ("update Bucket", "update DatabaseInstance", "update Secret")
    ),
    "kmsKey": Change(
        {"kmsKey": "projects/security-team-1/locations/europe-west1/keyRings/mlflow/cryptoKeys/mlflow"},
        (
            "create CryptoKeyIAMMember",
            "create Encryption",
            "create Service",
            "create ServiceIdentity",
            "replace Database",
            "replace DatabaseInstance",
            "replace Image",
            "replace ProjectBucketConfig",
            "replace RandomId",
            "replace Repository",
            "replace RepositoryIamMember",
            "replace User",
            "update AlertPolicy",
            "update Bucket",
            "update Dashboard",
            "update FlexibleAppVersion",
            "update ProjectSink",
            "update Secret",
        ),
    ),
    # The stack manages the application already.
    "app.mode": Change({"app": {"mode": "import", "placeholder": True}}, ()),
    "app.location": Change({"app": {"location": "us-central"}}, error="cannot move"),
    "app.service": Change(
        {"app": {"service": "runs"}},
        (
            "replace AppEngineServiceIamMember",
            "replace EngineSplitTraffic",
            "replace FlexibleAppVersion",
            *MONITORING_STEPS,
        ),
    ),
    "app.domain": Change(
        {"app": {"domain": "mlflow.example.com"}},
        ("create ApplicationUrlDispatchRules", "create Domain", "create DomainMapping", "update FlexibleAppVersion"),
    ),
    # The version itself is retained: App Engine cannot delete the service default.
    "app.placeholder": Change(
        {"app": {"placeholder": False}},
        (
            "delete Account",
            "delete Bucket",
            "delete BucketIAMMember",
            "delete BucketObject",
            "delete IAMMember",
            "delete Placeholder",
            "delete StandardAppVersion",
        ),
    ),
    "app.cpu": Change({"app": {"cpu": 2}}, ("update FlexibleAppVersion",)),
    "app.memoryGb": Change({"app": {"memoryGb": 3.0}}, ("update FlexibleAppVersion",)),
    "app.diskGb": Change({"app": {"diskGb": 20}}, ("update FlexibleAppVersion",)),
    "app.minInstances": Change({"app": {"minInstances": 2}}, ("update FlexibleAppVersion",)),
    "app.maxInstances": Change({"app": {"maxInstances": 6}}, ("update AlertPolicy", "update FlexibleAppVersion")),
    "app.cpuUtilization": Change({"app": {"cpuUtilization": 0.5}}, ("update FlexibleAppVersion",)),
    "app.startTimeoutSeconds": Change({"app": {"startTimeoutSeconds": 1800}}, ("update FlexibleAppVersion",)),
    "app.upstreamTimeoutSeconds": Change({"app": {"upstreamTimeoutSeconds": 60}}, ("update FlexibleAppVersion",)),
    "app.longUpstreamTimeoutSeconds": Change(
        {"app": {"longUpstreamTimeoutSeconds": 600}}, ("update FlexibleAppVersion",)
    ),
    "app.workers": Change({"app": {"workers": 2}}, ("update FlexibleAppVersion",)),
    "oauthClient.clientId": Change(
        {"oauthClient": {"clientId": "2-other.apps.googleusercontent.com"}}, ("update Application",)
    ),
    "oauthClient.desktopClientIds": Change(
        {"oauthClient": {"desktopClientIds": ["3-desktop.apps.googleusercontent.com"]}}, ("create Settings",)
    ),
    "access.members": Change(
        {"access": {"members": ["group:ml@example.com"]}},
        ("create AppEngineServiceIamMember", "delete AppEngineServiceIamMember"),
    ),
    "access.conditional": Change(
        {
            "access": {
                "conditional": [
                    {
                        "members": ["domain:example.com"],
                        "title": "until-2030",
                        "expression": 'request.time < timestamp("2030-01-01T00:00:00Z")',
                    }
                ]
            }
        },
        ("create AppEngineServiceIamMember",),
    ),
    "access.roles": Change({"access": {"roles": {"viewer": ["domain:example.com"]}}}, ("update FlexibleAppVersion",)),
    "access.clientServiceAccount": Change(
        {"access": {"clientServiceAccount": False, "clientImpersonators": []}},
        ("delete Account", "delete AppEngineServiceIamMember", "delete IAMMember", "update FlexibleAppVersion"),
    ),
    "access.clientRole": Change({"access": {"clientRole": "viewer"}}, ("update FlexibleAppVersion",)),
    "access.clientImpersonators": Change(
        {"access": {"clientImpersonators": ["group:jobs@example.com"]}}, ("create IAMMember", "delete IAMMember")
    ),
    "database.tier": Change(
        {"database": {"tier": "db-custom-2-7680"}}, ("update AlertPolicy", "update DatabaseInstance")
    ),
    "database.tier: Enterprise Plus": Change(
        {"database": {"tier": "db-perf-optimized-N-2"}}, ("update AlertPolicy", "update DatabaseInstance")
    ),
    "database.version": Change({"database": {"version": "MYSQL_8_0"}}, error="no downgrades"),
    "database.availability": Change({"database": {"availability": "REGIONAL"}}, ("update DatabaseInstance",)),
    # The setting applies at creation only; the disk grows automatically.
    "database.diskGb": Change({"database": {"diskGb": 20}}, ()),
    # Changing it back replaces the instance.
    "database.privateIp": Change(
        {"database": {"privateIp": True}},
        (
            "create Connection",
            "create Firewall",
            "create GlobalAddress",
            "create Network",
            "create Service",
            "create Subnetwork",
            "create SubnetworkIAMMember",
            "update DatabaseInstance",
            "update FlexibleAppVersion",
        ),
    ),
    "monitoring.canary": Change(
        {"monitoring": {"canary": True}},
        (
            "create Account",
            "create AlertPolicy",
            "create AppEngineServiceIamMember",
            "create Job",
            "create Metric",
            "create Service",
            "update Dashboard",
            "update FlexibleAppVersion",
        ),
    ),
    "network.instanceIp": Change(
        {"network": {"instanceIp": "internal"}},
        (
            "create Firewall",
            "create Network",
            "create Router",
            "create RouterNat",
            "create Subnetwork",
            "create SubnetworkIAMMember",
            "update FlexibleAppVersion",
        ),
    ),
    "database.name": Change({"database": {"name": "other"}}, ("replace Database", "update FlexibleAppVersion")),
    "database.user": Change({"database": {"user": "other"}}, ("replace User", "update FlexibleAppVersion")),
    "database.iamAuthentication": Change(
        {"database": {"iamAuthentication": True}},
        (
            "create IAMMember",
            "create User",
            "delete Password",
            "delete RandomPassword",
            "delete Secret",
            "delete SecretIamMember",
            "delete SecretVersion",
            "delete User",
            "update DatabaseInstance",
            "update FlexibleAppVersion",
        ),
    ),
    "database.backupCount": Change({"database": {"backupCount": 14}}, ("update DatabaseInstance",)),
    "database.transactionLogRetentionDays": Change(
        {"database": {"transactionLogRetentionDays": 5}}, ("update DatabaseInstance",)
    ),
    "database.finalBackupDays": Change({"database": {"finalBackupDays": 7}}, ("update DatabaseInstance",)),
    "database.maintenanceDay": Change({"database": {"maintenanceDay": 6}}, ("update DatabaseInstance",)),
    "database.instanceName": Change(
        {"database": {"instanceName": "chosen"}},
        (
            "replace Database",
            "replace DatabaseInstance",
            "replace User",
            "update AlertPolicy",
            "update Dashboard",
            "update FlexibleAppVersion",
        ),
    ),
    "network.vpcName": Change({"network": {"vpcName": "default"}}, ("update FlexibleAppVersion",)),
    "artifacts.location": Change(
        {"artifacts": {"location": "EU"}}, ("replace Bucket", "replace BucketIAMMember", "update FlexibleAppVersion")
    ),
    "artifacts.storageClass": Change({"artifacts": {"storageClass": "NEARLINE"}}, ("update Bucket",)),
    "artifacts.access": Change({"artifacts": {"access": "direct"}}, ("update FlexibleAppVersion",)),
    "artifacts.noncurrentVersionDays": Change({"artifacts": {"noncurrentVersionDays": 30}}, ("update Bucket",)),
    "artifacts.softDeleteDays": Change({"artifacts": {"softDeleteDays": 30}}, ("update Bucket",)),
    "artifacts.bucketName": Change(
        {"artifacts": {"bucketName": "chosen-bucket"}},
        ("replace Bucket", "replace BucketIAMMember", "update FlexibleAppVersion"),
    ),
    "image.imageUri": Change(
        {"image": {"imageUri": OTHER_IMAGE}},
        (
            "delete Image",
            "delete Repository",
            "delete RepositoryIamMember",
            "update FlexibleAppVersion",
        ),
    ),
    "image.baseImage": Change(
        {"image": {"baseImage": "python:3.12-slim"}}, (*REBUILD_STEPS, "update FlexibleAppVersion")
    ),
    "image.packageIndexUrl": Change(
        {"image": {"packageIndexUrl": "https://packages.example.com/simple"}},
        (*REBUILD_STEPS, "update FlexibleAppVersion"),
    ),
    "limits.requestsPerSecond": Change({"limits": {"requestsPerSecond": 20}}, ("update FlexibleAppVersion",)),
    "limits.maxRequests": Change({"limits": {"maxRequests": 16}}, ("update FlexibleAppVersion",)),
    "image.keepImages": Change({"image": {"keepImages": 20}}, ("update Repository",)),
    "monitoring.alarmEmail": Change(
        {"monitoring": {"alarmEmail": "ops@example.com"}}, ("create NotificationChannel", "update AlertPolicy")
    ),
    "monitoring.logRetentionDays": Change({"monitoring": {"logRetentionDays": 90}}, ("update ProjectBucketConfig",)),
    "monitoring.dashboard": Change({"monitoring": {"dashboard": False}}, ("delete Dashboard",)),
    "monitoring.latencyThresholdSeconds": Change(
        {"monitoring": {"latencyThresholdSeconds": 2}}, ("update AlertPolicy", "update Dashboard")
    ),
}
# The sample for CI: these settings change together.
CI_GROUPS = (
    (
        "labels",
        "app.cpu",
        "access.members",
        "access.clientRole",
        "database.availability",
        "artifacts.noncurrentVersionDays",
        "image.baseImage",
        "image.keepImages",
        "monitoring.alarmEmail",
        "monitoring.logRetentionDays",
    ),
)
