"""Stacks for the checks, each recorded once, on a machine where every command succeeds."""

import dataclasses
import functools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests
from google.auth.transport.requests import AuthorizedSession

from preflight.aws.api import Aws
from preflight.gcp.api import Gcp
from preflight.machine import Machine, Output
from preflight.subject import Subject
from preview.graph import Graph
from preview.recorder import record
from preview.stack_files import Stack, read_stack
from tests.components.scenario import ROOT, SECRET_KEYS, project_program
from tests.preflight.aws_account import AwsAccount
from tests.preflight.gcp_project import GcpProject, credentials
from tests.preflight.web import Web

CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"
GCP_SETTINGS: Mapping[str, Any] = {
    "oauthClient": {"clientId": "424242424242-abcdef0123456789.apps.googleusercontent.com"},
    "access": {
        "members": ["user:ann@acme.test", "serviceAccount:training@acme-mlflow.iam.gserviceaccount.com"],
        "roles": {"admin": ["email:ann@acme.test"]},
    },
}
GCP_CONFIG = {"gcp:project": "acme-mlflow", "gcp:billingProject": "acme-mlflow"}


def stack_of(name: str, settings: Mapping[str, Any] | None = None, config: Mapping[str, str] | None = None) -> Stack:
    """Pulumi.<name>.yaml with these settings over those of its component, without placeholders."""
    found = read_stack(ROOT, name)
    key = next(key for key in ("mlflow:aws", "mlflow:gcp") if key in found.config)
    base: dict[str, Any] = json.loads(found.config[key])
    own: Mapping[str, Any] = GCP_SETTINGS if key == "mlflow:gcp" else {}
    if name == "prod":
        own = {
            # Each kind of MLflow has checks of its own.
            "tracking": {"kind": "server"},
            "loadBalancer": {"certificateArn": CERTIFICATE, "hostName": "mlflow.acme.test"},
            "monitoring": {},
        }
    if name == "gcp-prod":
        own = {**own, "monitoring": {}}
    merged = {**base, **own, **(settings or {})}
    changed = {
        **found.config,
        **(GCP_CONFIG if key == "mlflow:gcp" else {}),
        **(config or {}),
        key: json.dumps({name: value for name, value in merged.items() if value is not None}),
    }
    secret = {"mlflow:gcpOauthClientSecret": "a-secret"} if key == "mlflow:gcp" else {}
    return dataclasses.replace(found, config={**changed, **secret}, secret_keys=tuple(secret))


def graph_of(stack: Stack) -> Graph:
    """The graph of the program with this stack's config; cached."""
    return _recorded(stack.name, json.dumps(stack.config, sort_keys=True))


@functools.cache
def _recorded(name: str, config: str) -> Graph:
    return record(project_program, stack_name=name, config=json.loads(config), secret_keys=SECRET_KEYS)


BUILDER = """Name:          default
Driver:        docker

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.23.2
Platforms:        linux/amd64, linux/amd64/v2, linux/386, linux/arm64
"""


class FakeMachine(Machine):
    """Answers the commands of the checks as Pulumi 3.260 and Docker 28 do; an unknown command is an error."""

    def __init__(self, stack: str, home: Path) -> None:
        super().__init__(ROOT, {"PATH": "", "HOME": str(home)})
        self.programs = {"pulumi", "docker"}
        self.free = 100 * 2**30
        self.latency = 0.0
        self.export: dict[str, Any] = {"version": 3, "deployment": {"resources": []}}
        self.outputs: dict[tuple[str, ...], Output] = {
            ("pulumi", "version"): Output(0, "v3.260.0\n", ""),
            ("pulumi", "whoami", "--json", "--non-interactive"): Output(0, '{"user": "ann", "url": "file://~"}', ""),
            ("pulumi", "config", "--show-secrets", "--json", "--stack", stack, "--non-interactive"): Output(
                0, "{}", ""
            ),
            ("docker", "buildx", "inspect"): Output(0, BUILDER, ""),
            ("docker", "info", "--format", "{{.DockerRootDir}}"): Output(0, "/\n", ""),
        }
        self._export_command = ("pulumi", "stack", "export", "--stack", stack, "--non-interactive")

    def run(self, command: Sequence[str]) -> Output:
        time.sleep(self.latency)
        if command[0] not in self.programs:
            raise FileNotFoundError(command[0])
        if tuple(command) == self._export_command and tuple(command) not in self.outputs:
            return Output(0, json.dumps(self.export), "")
        return self.outputs[tuple(command)]

    def which(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.programs else None

    def free_bytes(self, path: Path) -> int:
        return self.free


@dataclasses.dataclass(kw_only=True)
class World:
    """What a check examines: change it, then ask for the subject."""

    stack: Stack
    machine: FakeMachine
    aws: AwsAccount
    gcp: GcpProject
    web: Web
    graph: Graph | None = None

    def replace_stack(self, config: Mapping[str, str]) -> None:
        """Give the stack another config; the graph stays that of the first one."""
        self.graph = self.graph or graph_of(self.stack)
        self.stack = dataclasses.replace(self.stack, config=dict(config))

    def deploy(self) -> None:
        """Put every resource of the stack's graph into its state."""
        self.machine.export["deployment"]["resources"] = [{"urn": one.urn} for one in graph_of(self.stack).resources]

    def subject(self) -> Subject:
        """The subject; its credentials reach the doubles."""
        session, web = AuthorizedSession(credentials(valid=self.gcp.has_credentials)), requests.Session()
        session.mount("https://", self.gcp)
        web.mount("https://", self.web)
        return Subject(
            stack=self.stack,
            graph=self.graph or graph_of(self.stack),
            folder=ROOT,
            machine=self.machine,
            aws=Aws(self.stack.config, self.aws.session()),
            gcp=Gcp(self.stack.config, self.stack.config.get("gcp:project", ""), session),
            web=web,
        )


def world(stack: Stack, home: Path) -> World:
    """A world in which nothing prevents the stack's first `up`."""
    return World(stack=stack, machine=FakeMachine(stack.name, home), aws=AwsAccount(), gcp=GcpProject(), web=Web())
