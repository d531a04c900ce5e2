"""What the program asks for, given to real implementations of AWS's services (moto): they take it, and say it back."""

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
# One without a customer key, one with; with both kinds of MLflow, WAF's log and Studio among them.
STACKS = ("development", "production", "customer-key", "studio")


@pytest.fixture(scope="module")
def origin() -> Generator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def client(origin: str) -> Client:
    session = botocore.session.Session()
    clients: dict[str, Any] = {}

    def of(service: str) -> Any:
        if service not in clients:
            clients[service] = session.create_client(
                cast("Any", service),
                region_name=REGION,
                endpoint_url=origin,
                aws_access_key_id="AKIDTEST",
                aws_secret_access_key="secret",
            )
        return clients[service]

    return of


def graph(stack: str) -> Graph:
    (found,) = [one for one in SCENARIOS if one.name == stack]
    return found.graph()


def of(stack: str, kind: str) -> Mapping[str, Resource]:
    """The resources of a type by their names."""
    return {one.name: one for one in graph(stack).of(kind)}


def as_api(value: Any) -> Any:
    """Pulumi's names as S3's API has them."""
    special = {"id": "ID", "sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {special.get(name, name[0].upper() + name[1:]): as_api(inner) for name, inner in items.items()}
    return [as_api(one) for one in cast("list[Any]", value)] if isinstance(value, list) else value


# --- Tokens: the program writes, the proxy reads, the command changes


class Kept:
    """Both secrets, made and filled by the calls that the provider makes."""

    def __init__(self, client: Any, token: str, document: str, name: str) -> None:
        self._client = client
        self.token = token
        self.plain = self._secret(f"{name}-admin-token", token)
        self.hashes = self._secret(f"{name}-tokens", document)

    def _secret(self, name: str, value: str) -> str:
        arn = str(self._client.create_secret(Name=name)["ARN"])
        labels = only(graph("development"), "aws:secretsmanager/secretVersion:SecretVersion", "mlflow-tokens").inputs
        self._client.put_secret_value(SecretId=arn, SecretString=value, VersionStages=labels["versionStages"])
        return arn

    def read(self) -> str:
        return str(self._client.get_secret_value(SecretId=self.hashes)["SecretString"])


@pytest.fixture
def kept(client: Client, origin: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kept:
    token, document = create_admin_token(monkeypatch)
    (tmp_path / "home").mkdir()
    empty_aws_home(tmp_path / "home", monkeypatch)
    for name, value in {**KEYS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": origin}.items():
        monkeypatch.setenv(name, value)
    return Kept(client("secretsmanager"), token, document, tmp_path.name)


async def test_the_proxy_takes_the_token_that_the_other_secret_has_in_plain(kept: Kept, client: Client) -> None:
    shown = client("secretsmanager").get_secret_value(SecretId=kept.plain)["SecretString"]
    authenticator = TokenAuthenticator(SecretStore(kept.hashes), 15)
    await authenticator.load()
    principal = await authenticator.authenticate(context({"Authorization": f"Bearer {shown}"}))
    assert principal is not None
    assert (principal.name, principal.role) == ("admin", Role.ADMIN)
    assert shown not in kept.read()


async def test_a_revoked_token_stays_revoked_and_a_running_proxy_follows(
    kept: Kept, tokens: Tokens, origin: str, tmp_path: Path
) -> None:
    settings = {**KEYS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": origin}
    proxy_settings = {
        "MLFLOW_PROXY_UPSTREAM_URL": "http://127.0.0.1:9",
        "MLFLOW_PROXY_TOKENS_FILE": "",
        "MLFLOW_PROXY_TOKENS_SECRET": kept.hashes,
        "MLFLOW_PROXY_TOKENS_RELOAD_SECONDS": "1",
    }
    page = f"GET / HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {kept.token}\r\n\r\n".encode()
    async with ProxyProcess.serving(tmp_path, tokens, **settings, **proxy_settings) as proxy:
        assert (await proxy.send(page)).status == 200
        command = ("token", "revoke", "--secret", kept.hashes, "admin")
        ended = await proxy_process.run(tmp_path, *command, **settings)
        assert (ended.code, ended.out) == (0, "")

        async def refused() -> bool:
            return (await proxy.send(page)).status == 401

        await wait_until(refused, 10)
    assert json.loads(kept.read()) == {"tokens": []}
    # And for one that starts now.
    authenticator = TokenAuthenticator(SecretStore(kept.hashes), 15)
    await authenticator.load()
    with pytest.raises(ApiError, match="Invalid token"):
        await authenticator.authenticate(context({"Authorization": f"Bearer {kept.token}"}))


# --- Roles and rights


@pytest.mark.parametrize("stack", STACKS)
def test_iam_takes_every_role_with_its_rights(stack: str, client: Client) -> None:
    iam = client("iam")
    for name, role in of(stack, "aws:iam/role:Role").items():
        trust = role.inputs["assumeRolePolicy"]
        said = iam.create_role(RoleName=f"{stack}-{name}", AssumeRolePolicyDocument=trust)["Role"]
        assert said["AssumeRolePolicyDocument"] == json.loads(trust)
    for name, policy in of(stack, "aws:iam/rolePolicy:RolePolicy").items():
        called = {"RoleName": f"{stack}-{policy.inputs['role']}", "PolicyName": name}
        iam.put_role_policy(**called, PolicyDocument=policy.inputs["policy"])
        assert iam.get_role_policy(**called)["PolicyDocument"] == json.loads(policy.inputs["policy"])


@pytest.mark.parametrize("name", ["deployer-policy.json", "deployer-policy-network.json"])
def test_iam_takes_the_deployers_policies(name: str, client: Client) -> None:
    document = (DOCS / name).read_text()
    arn = client("iam").create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
    said = client("iam").get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    assert said == json.loads(document)


@pytest.mark.parametrize(
    "wrong",
    [
        {"Resource": "a-bucket"},
        {"Action": "GetObject"},
        {"Effect": "Grant"},
        {"Condition": {"StringIs": {"aws:SourceAccount": "1"}}},
        {"Because": "of a typo"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_iam_would_refuse_a_wrong_one(wrong: dict[str, Any], client: Client) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", **wrong}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(ClientError, match="MalformedPolicyDocument"):
        client("iam").create_policy(PolicyName="wrong", PolicyDocument=document)


# --- Buckets


@pytest.mark.parametrize("stack", STACKS)
def test_s3_takes_a_buckets_documents(stack: str, client: Client) -> None:
    s3 = client("s3")
    for name, policy in of(stack, "aws:s3/bucketPolicy:BucketPolicy").items():
        bucket = f"{stack}-{name}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        kind = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        encryption = {"Rules": as_api(of(stack, kind)[name].inputs["rules"])}
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=encryption)
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == encryption
        # Which actions go together in a rule, and that a filter is one: checked by moto.
        kind = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
        rules = as_api(of(stack, kind)[name].inputs["rules"])
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
        s3.put_bucket_policy(Bucket=bucket, Policy=policy.inputs["policy"])
        assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(policy.inputs["policy"])


# --- Image, task, log


@pytest.mark.parametrize("stack", STACKS)
def test_ecr_takes_the_repository_and_its_lifecycle(stack: str, client: Client) -> None:
    ecr = client("ecr")
    (repository,) = of(stack, "aws:ecr/repository:Repository").values()
    (encryption,) = repository.inputs["encryptionConfigurations"]
    said = ecr.create_repository(
        repositoryName=stack,
        imageTagMutability=repository.inputs["imageTagMutability"],
        imageScanningConfiguration=repository.inputs["imageScanningConfiguration"],
        encryptionConfiguration=encryption,
    )["repository"]
    assert (said["imageTagMutability"], said["imageScanningConfiguration"]) == ("IMMUTABLE", {"scanOnPush": True})
    (rule,) = of(stack, "aws:ecr/lifecyclePolicy:LifecyclePolicy").values()
    # Checked by moto, rule by rule.
    ecr.put_lifecycle_policy(repositoryName=stack, lifecyclePolicyText=rule.inputs["policy"])
    kept = ecr.get_lifecycle_policy(repositoryName=stack)["lifecyclePolicyText"]
    assert json.loads(kept) == json.loads(rule.inputs["policy"])
    with pytest.raises(ClientError, match="InvalidParameterException"):
        ecr.put_lifecycle_policy(repositoryName=stack, lifecyclePolicyText=kept.replace("imageCount", "number"))


def test_the_image_is_pushed_by_a_login_of_ecrs_form(client: Client) -> None:
    (data,) = client("ecr").get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    (image,) = of("development", "docker-build:index:Image").values()
    (login,) = image.inputs["registries"]
    assert login["username"] == user == "AWS"
    assert login["password"] == SECRET
    assert password
    host = data["proxyEndpoint"].removeprefix("https://")
    assert login["address"].partition("/")[0].partition(".")[2] == host.partition(".")[2]


@pytest.mark.parametrize("stack", STACKS)
def test_ecs_takes_the_task_and_every_word_of_its_container(stack: str, client: Client) -> None:
    (task,) = of(stack, "aws:ecs/taskDefinition:TaskDefinition").values()
    containers = json.loads(task.inputs["containerDefinitions"])
    taken = ("family", "networkMode", "cpu", "memory", "runtimePlatform", "taskRoleArn", "executionRoleArn")
    # botocore refuses a word that ECS's model does not know; the provider's own parser would drop it.
    said = client("ecs").register_task_definition(
        **{name: task.inputs[name] for name in taken},
        requiresCompatibilities=task.inputs["requiresCompatibilities"],
        containerDefinitions=containers,
    )["taskDefinition"]
    (kept,) = said["containerDefinitions"]
    assert {name: kept[name] for name in containers[0]} == containers[0]
    containers[0]["stopTimeOut"] = 45
    with pytest.raises(ParamValidationError, match="stopTimeOut"):
        client("ecs").register_task_definition(family="wrong", containerDefinitions=containers)


@pytest.mark.parametrize("stack", STACKS)
def test_logs_takes_groups_filters_and_policies(stack: str, client: Client) -> None:
    logs = client("logs")
    names: dict[str, str] = {}
    for name, group in of(stack, "aws:cloudwatch/logGroup:LogGroup").items():
        given = str(group.inputs.get("name", name))
        names[given] = f"{stack}{given}"
        logs.create_log_group(logGroupName=names[given])
        logs.put_retention_policy(logGroupName=names[given], retentionInDays=group.inputs["retentionInDays"])
    for name, counted in of(stack, "aws:cloudwatch/logMetricFilter:LogMetricFilter").items():
        one = counted.inputs["metricTransformation"]
        value = {"defaultValue": float(one["defaultValue"])} if "defaultValue" in one else {}
        change = {f"metric{key[0].upper()}{key[1:]}": one[key] for key in ("name", "namespace", "value")}
        change |= {"unit": one["unit"], **({"dimensions": one["dimensions"]} if "dimensions" in one else {}), **value}
        logs.put_metric_filter(
            logGroupName=names[counted.inputs["logGroupName"]],
            filterName=name,
            filterPattern=counted.inputs["pattern"],
            metricTransformations=[change],
        )
    (group,) = {
        one.inputs["logGroupName"] for one in of(stack, "aws:cloudwatch/logMetricFilter:LogMetricFilter").values()
    }
    kept = logs.describe_metric_filters(logGroupName=names[group])["metricFilters"]
    assert len(kept) == len(of(stack, "aws:cloudwatch/logMetricFilter:LogMetricFilter"))
    for allowed in of(stack, "aws:cloudwatch/logResourcePolicy:LogResourcePolicy").values():
        logs.put_resource_policy(
            policyName=allowed.inputs["policyName"], policyDocument=allowed.inputs["policyDocument"]
        )
