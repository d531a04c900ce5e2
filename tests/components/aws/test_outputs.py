"""The shell commands in the stack's outputs: a shell runs them, and they contain no token."""

import dataclasses
import json
import shutil
import subprocess
from typing import Any, cast

import pulumi
import pytest

from components.aws.load_balancer import LoadBalancer
from components.aws.outputs import client_commands
from components.aws.service import Service
from components.aws.tokens import Tokens
from preview.recorder import record

from .helpers import make_deployment

SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:proxy-admin-token-AbCdEf"
ALB = "internal-proxy-alb-1234567890.eu-west-1.elb.amazonaws.com"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LoadBalancer:
    public: bool = False
    https: bool = False
    host_name: str | None = None

    @property
    def port(self) -> int:
        return 443 if self.https else 80

    @property
    def url(self) -> pulumi.Output[str]:
        return pulumi.Output.from_input(f"http{'s' if self.https else ''}://{self.host_name or ALB}")

    @property
    def dns_name(self) -> pulumi.Output[str]:
        return pulumi.Output.from_input(ALB)


class _Service:
    def __init__(self) -> None:
        self.instances_group_name = pulumi.Output.from_input("proxy-instances-1234567")


class _Tokens:
    def __init__(self) -> None:
        self.admin_token_secret_arn = pulumi.Output.from_input(SECRET_ARN)
        self.admin_token = pulumi.Output.secret("mlp_k3v9x2ab_in-plain")


HTTP = _LoadBalancer()
NAMED = _LoadBalancer(https=True, host_name="mlflow.example.com")
UNNAMED = _LoadBalancer(https=True)
PUBLIC = _LoadBalancer(https=True, public=True, host_name="mlflow.example.com")


def commands(load_balancer: _LoadBalancer) -> tuple[str | None, str]:
    """The stack's outputs (port_forward, client_setup)."""

    def program() -> None:
        port_forward, client_setup = client_commands(
            make_deployment(),
            load_balancer=cast("LoadBalancer", load_balancer),
            service=cast("Service", _Service()),
            tokens=cast("Tokens", _Tokens()),
        )
        pulumi.export("forward", port_forward)
        pulumi.export("client_setup", client_setup)

    outputs = record(program).outputs
    return outputs.get("forward"), outputs["client_setup"]


def run(script: str) -> list[str]:
    """The lines that a shell prints for a script, with an `aws` that prints its arguments."""
    bash = shutil.which("bash")
    assert bash
    # One argument on each line; for ec2 and secretsmanager, stdout is an instance id or a token.
    aws = """aws() {
      case "$1" in
        ec2) printf '%s\\n' "$@" >&2; echo i-0123456789abcdef0 ;;
        secretsmanager) printf '%s\\n' "$@" >&2; echo mlp_from_the_secret ;;
        *) printf '%s\\n' "$@" ;;
      esac
    }
    """
    completed = subprocess.run([bash, "-euc", aws + script], capture_output=True, text=True, check=True)
    return (completed.stderr + completed.stdout).splitlines()


def option_value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


@pytest.mark.parametrize(
    ("load_balancer", "port", "local"), [(HTTP, "80", "8080"), (NAMED, "443", "8443"), (UNNAMED, "443", "8443")]
)
def test_port_forward_connects_to_the_load_balancer_through_an_instance(
    load_balancer: _LoadBalancer, port: str, local: str
) -> None:
    port_forward, _ = commands(load_balancer)
    assert port_forward is not None
    words = run(port_forward)
    assert "Name=tag:aws:autoscaling:groupName,Values=proxy-instances-1234567" in words
    assert option_value(words, "--target") == "i-0123456789abcdef0"
    assert option_value(words, "--document-name") == "AWS-StartPortForwardingSessionToRemoteHost"
    parameters: Any = json.loads(option_value(words, "--parameters"))
    assert parameters == {"host": [ALB], "portNumber": [port], "localPortNumber": [local]}


def test_public_load_balancer_has_no_port_forward() -> None:
    port_forward, client_setup = commands(PUBLIC)
    assert port_forward is None
    assert "laptop" not in client_setup


@pytest.mark.parametrize("load_balancer", [HTTP, NAMED, UNNAMED, PUBLIC])
def test_client_setup_sets_uri_and_token_without_containing_the_token(load_balancer: _LoadBalancer) -> None:
    port_forward, client_setup = commands(load_balancer)
    assert "mlp_" not in f"{port_forward}{client_setup}"
    words = run(f'{client_setup}\necho "uri $MLFLOW_TRACKING_URI"; echo "token $MLFLOW_TRACKING_TOKEN"')
    assert option_value(words, "--secret-id") == SECRET_ARN
    assert words[-2:] == [
        f"uri http{'s' if load_balancer.https else ''}://{load_balancer.host_name or ALB}",
        "token mlp_from_the_secret",
    ]


def test_client_setup_has_the_local_address_for_a_port_forward() -> None:
    client_setup = commands(NAMED)[1]
    assert "`127.0.0.1 mlflow.example.com` to /etc/hosts" in client_setup
    assert "https://mlflow.example.com:8443" in client_setup
    assert "http://localhost:8080" in commands(HTTP)[1]
    assert "localhost" not in client_setup


def test_client_setup_mentions_host_name_setting_only_for_an_unnamed_certificate() -> None:
    assert "loadBalancer.hostName" in commands(UNNAMED)[1]
    assert "loadBalancer.hostName" not in commands(NAMED)[1] + commands(HTTP)[1] + commands(PUBLIC)[1]
