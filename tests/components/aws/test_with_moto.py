"""moto's implementations of AWS services accept the program's documents and settings, and return them."""

import base64
import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, cast

import botocore.session
import pytest
from botocore.exceptions import ClientError, ParamValidationError

from preview.aws.mock_outputs import REGION
from preview.graph import SECRET, Graph, Resource
from proxy_app.auth import Role
from proxy_app.auth.token_store import SecretStore
from proxy_app.auth.tokens import TokenAuthenticator
from proxy_app.errors import ApiError
from tests.doubles import proxy_process
from tests.doubles.aws_home import empty_aws_home, moto_server
from tests.doubles.proxy_process import ProxyProcess
from tests.doubles.request_factory import context
from tests.doubles.running_proxy import Tokens, wait_until

from .admin_token import create_admin_token
from .helpers import only
from .scenarios import SCENARIOS

DOCS = Path(__file__).parents[3] / "docs"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": REGION}
Client = Callable[[str], Any]
# With and without a customer key, both kinds of MLflow, WAF logging, and Studio.
STACKS = ("development", "production", "customer-key", "studio")


@pytest.fixture(scope="module")
def origin() -> Generator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def client(origin: str) -> Client:
    session = botocore.session.Session()
    clients: dict[str, Any] = {}

    def client_of(service: str) -> Any:
        if service not in clients:
            clients[service] = session.create_client(
                cast("Any", service),
                region_name=REGION,
                endpoint_url=origin,
                aws_access_key_id="AKIDTEST",
                aws_secret_access_key="secret",
            )
        return clients[service]

    return client_of


def graph_of(stack: str) -> Graph:
    (found,) = [scenario for scenario in SCENARIOS if scenario.name == stack]
    return found.graph()


def resources_of(stack: str, kind: str) -> Mapping[str, Resource]:
    """The resources of a type, by name."""
    return {resource.name: resource for resource in graph_of(stack).of(kind)}


def as_api(value: Any) -> Any:
    """Properties with the capitalization of the S3 API."""
    special = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {special.get(name, name[0].upper() + name[1:]): as_api(inner) for name, inner in items.items()}
    return [as_api(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


# --- Token secrets: written by the program, read by the proxy, changed by the token command


class TokenSecrets:
    """The secrets of the admin token and of the hashes, created with the provider's calls."""

    def __init__(self, client: Any, token: str, document: str, name: str) -> None:
        self._client = client
        self.token = token
        self.plain = self._secret(f"{name}-admin-token", token)
        self.hashes = self._secret(f"{name}-tokens", document)

    def _secret(self, name: str, value: str) -> str:
        arn = str(self._client.create_secret(Name=name)["ARN"])
        labels = only(graph_of("development"), "aws:secretsmanager/secretVersion:SecretVersion", "mlflow-tokens").inputs
        self._client.put_secret_value(SecretId=arn, SecretString=value, VersionStages=labels["versionStages"])
        return arn

    def read(self) -> str:
        return str(self._client.get_secret_value(SecretId=self.hashes)["SecretString"])


@pytest.fixture
def secrets(client: Client, origin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TokenSecrets:
    token, document = create_admin_token(monkeypatch)
    (tmp_path / "home").mkdir()
    empty_aws_home(tmp_path / "home", monkeypatch)
    for name, value in {**KEYS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": origin}.items():
        monkeypatch.setenv(name, value)
    return TokenSecrets(client("secretsmanager"), token, document, tmp_path.name)


async def test_proxy_authenticates_the_token_of_the_admin_token_secret(secrets: TokenSecrets, client: Client) -> None:
    token = client("secretsmanager").get_secret_value(SecretId=secrets.plain)["SecretString"]
    authenticator = TokenAuthenticator(SecretStore(secrets.hashes), 15)
    await authenticator.load()
    principal = await authenticator.authenticate(context({"Authorization": f"Bearer {token}"}))
    assert principal is not None
    assert (principal.name, principal.role) == ("admin", Role.ADMIN)
    assert token not in secrets.read()


async def test_revoked_token_is_rejected_by_running_and_new_proxies(
    secrets: TokenSecrets, tokens: Tokens, origin: str, tmp_path: Path
) -> None:
    settings = {**KEYS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": origin}
    proxy_settings = {
        "MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:9",
        "MLFLOW_PROXY_TOKENS_FILE": "",
        "MLFLOW_PROXY_TOKENS_SECRET": secrets.hashes,
        "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS": "1",
    }
    request = f"GET /proxy HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {secrets.token}\r\n\r\n".encode()
    async with ProxyProcess.serving(tmp_path, tokens, **settings, **proxy_settings) as proxy:
        assert (await proxy.send(request)).status == 200
        command = ("token", "revoke", "--secret", secrets.hashes, "admin")
        completed = await proxy_process.run(tmp_path, *command, **settings)
        assert (completed.code, completed.out) == (0, "")

        async def token_is_rejected() -> bool:
            return (await proxy.send(request)).status == 401

        await wait_until(token_is_rejected, 10)
    assert json.loads(secrets.read()) == {"tokens": []}
    # A proxy that starts now rejects the token too.
    authenticator = TokenAuthenticator(SecretStore(secrets.hashes), 15)
    await authenticator.load()
    with pytest.raises(ApiError, match="Invalid token"):
        await authenticator.authenticate(context({"Authorization": f"Bearer {secrets.token}"}))


# --- Roles and policies


@pytest.mark.parametrize("stack", STACKS)
def test_iam_accepts_roles_and_their_policies(stack: str, client: Client) -> None:
    iam = client("iam")
    for name, role in resources_of(stack, "aws:iam/role:Role").items():
        trust = role.inputs["assumeRolePolicy"]
        created = iam.create_role(RoleName=f"{stack}-{name}", AssumeRolePolicyDocument=trust)["Role"]
        assert created["AssumeRolePolicyDocument"] == json.loads(trust)
    for name, policy in resources_of(stack, "aws:iam/rolePolicy:RolePolicy").items():
        key = {"RoleName": f"{stack}-{policy.inputs['role']}", "PolicyName": name}
        iam.put_role_policy(**key, PolicyDocument=policy.inputs["policy"])
        assert iam.get_role_policy(**key)["PolicyDocument"] == json.loads(policy.inputs["policy"])


@pytest.mark.parametrize("name", sorted(file.name for file in DOCS.glob("deployer-policy*.json")))
def test_iam_accepts_the_deployer_policies(name: str, client: Client) -> None:
    document = (DOCS / name).read_text()
    arn = client("iam").create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    stored = client("iam").get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    assert stored == json.loads(document)


@pytest.mark.parametrize(
    "change",
    [
        {"Resource": "a-bucket"},
        {"Action": "GetObject"},
        {"Effect": "Grant"},
        {"Condition": {"StringIs": {"aws:SourceAccount": "1"}}},
        {"Because": "of a typo"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_iam_rejects_a_malformed_policy(change: dict[str, Any], client: Client) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", **change}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        client("iam").create_policy(PolicyName="wrong", PolicyDocument=document)


# --- Buckets


@pytest.mark.parametrize("stack", STACKS)
def test_s3_accepts_encryption_lifecycle_and_policy_of_buckets(stack: str, client: Client) -> None:
    s3 = client("s3")
    for name, policy in resources_of(stack, "aws:s3/bucketPolicy:BucketPolicy").items():
        bucket = f"{stack}-{name}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        kind = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        encryption = {"Rules": as_api(resources_of(stack, kind)[name].inputs["rules"])}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=encryption)
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == encryption
        # moto validates the combination of actions in a rule, and the filter.
        kind = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
        rules = as_api(resources_of(stack, kind)[name].inputs["rules"])
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
        s3.put_bucket_policy(Bucket=bucket, Policy=policy.inputs["policy"])
        assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(policy.inputs["policy"])


# --- Image, task, log


@pytest.mark.parametrize("stack", STACKS)
def test_ecr_accepts_repository_and_lifecycle_policy(stack: str, client: Client) -> None:
    ecr = client("ecr")
    (repository,) = resources_of(stack, "aws:ecr/repository:Repository").values()
    (encryption,) = repository.inputs["encryptionConfigurations"]
    created = ecr.create_repository(
        repositoryName=stack,
        imageTagMutability=repository.inputs["imageTagMutability"],
        imageScanningConfiguration=repository.inputs["imageScanningConfiguration"],
        encryptionConfiguration=encryption,
    )["repository"]
    assert (created["imageTagMutability"], created["imageScanningConfiguration"]) == ("IMMUTABLE", {"scanOnPush": True})
    (policy,) = resources_of(stack, "aws:ecr/lifecyclePolicy:LifecyclePolicy").values()
    # moto validates each rule.
    ecr.put_lifecycle_policy(repositoryName=stack, lifecyclePolicyText=policy.inputs["policy"])
    stored = ecr.get_lifecycle_policy(repositoryName=stack)["lifecyclePolicyText"]
    assert json.loads(stored) == json.loads(policy.inputs["policy"])
    with pytest.raises(ClientError, match="InvalidParameterException"):
        ecr.put_lifecycle_policy(repositoryName=stack, lifecyclePolicyText=stored.replace("imageCount", "number"))


def test_registry_login_has_the_format_of_ecr(client: Client) -> None:
    (data,) = client("ecr").get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    (image,) = resources_of("development", "docker-build:index:Image").values()
    (login,) = image.inputs["registries"]
    assert login["username"] == user == "AWS"
    assert login["password"] == SECRET
    assert password
    host = data["proxyEndpoint"].removeprefix("https://")
    assert login["address"].partition("/")[0].partition(".")[2] == host.partition(".")[2]


@pytest.mark.parametrize("stack", STACKS)
def test_ecs_accepts_the_task_definition_and_every_container_property(stack: str, client: Client) -> None:
    (task,) = resources_of(stack, "aws:ecs/taskDefinition:TaskDefinition").values()
    containers = json.loads(task.inputs["containerDefinitions"])
    properties = ("family", "networkMode", "cpu", "memory", "runtimePlatform", "taskRoleArn", "executionRoleArn")
    # botocore rejects an unknown property; the provider would ignore it.
    registered = client("ecs").register_task_definition(
        **{name: task.inputs[name] for name in properties},
        requiresCompatibilities=task.inputs["requiresCompatibilities"],
        containerDefinitions=containers,
    )["taskDefinition"]
    (stored,) = registered["containerDefinitions"]
    assert {name: stored[name] for name in containers[0]} == containers[0]
    containers[0]["stopTimeOut"] = 45
    with pytest.raises(ParamValidationError, match="stopTimeOut"):
        client("ecs").register_task_definition(family="wrong", containerDefinitions=containers)


@pytest.mark.parametrize("stack", STACKS)
def test_logs_accept_groups_filters_and_resource_policies(stack: str, client: Client) -> None:
    logs = client("logs")
    names: dict[str, str] = {}
    for name, group in resources_of(stack, "aws:cloudwatch/logGroup:LogGroup").items():
        original = str(group.inputs.get("name", name))
        names[original] = f"{stack}{original}"
        logs.create_log_group(logGroupName=names[original])
        logs.put_retention_policy(logGroupName=names[original], retentionInDays=group.inputs["retentionInDays"])
    for name, metric_filter in resources_of(stack, "aws:cloudwatch/logMetricFilter:LogMetricFilter").items():
        transformation = metric_filter.inputs["metricTransformation"]
        default = {"defaultValue": float(transformation["defaultValue"])} if "defaultValue" in transformation else {}
        metric = {f"metric{key[0].upper()}{key[1:]}": transformation[key] for key in ("name", "namespace", "value")}
        metric |= {
            "unit": transformation["unit"],
            **({"dimensions": transformation["dimensions"]} if "dimensions" in transformation else {}),
            **default,
        }
        logs.put_metric_filter(
            logGroupName=names[metric_filter.inputs["logGroupName"]],
            filterName=name,
            filterPattern=metric_filter.inputs["pattern"],
            metricTransformations=[metric],
        )
    (group,) = {
        resource.inputs["logGroupName"]
        for resource in resources_of(stack, "aws:cloudwatch/logMetricFilter:LogMetricFilter").values()
    }
    stored = logs.describe_metric_filters(logGroupName=names[group])["metricFilters"]
    assert len(stored) == len(resources_of(stack, "aws:cloudwatch/logMetricFilter:LogMetricFilter"))
    policies = {}
    for policy in resources_of(stack, "aws:cloudwatch/logResourcePolicy:LogResourcePolicy").values():
        policies[policy.inputs["policyName"]] = json.loads(policy.inputs["policyDocument"])
        logs.put_resource_policy(policyName=policy.inputs["policyName"], policyDocument=policy.inputs["policyDocument"])
    stored_policies = {
        policy["policyName"]: json.loads(policy["policyDocument"])
        for policy in logs.describe_resource_policies()["resourcePolicies"]
    }
    assert policies.items() <= stored_policies.items()
