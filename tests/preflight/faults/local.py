"""Faults of this machine, Pulumi and the stack's file."""

import dataclasses
import json
from collections.abc import Callable, Mapping

import preview.__main__
from preflight.machine import Output
from tests.components.scenario import ROOT
from tests.preflight.faults.case import Case, edited, setting
from tests.preflight.stacks import World


def _fails(*command: str, stderr: str, status: int = 255) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.machine.outputs[command] = Output(status, "", stderr)

    return change


def _docker_config(config: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        folder = world.machine.home / ".docker"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))

    return change


def _pending(world: World) -> None:
    urn = "urn:pulumi:dev::mlflow::aws:ec2/vpc:Vpc::mlflow-vpc"
    world.machine.export["deployment"]["pending_operations"] = [{"resource": {"urn": urn}, "type": "creating"}]


def without_buildx(world: World, server: Output | None = None) -> None:
    """Docker 28 without its plugin; ``server`` is what the daemon answers."""
    version = ("docker", "version", "--format", "{{.Server.Version}}")
    missing = Output(1, "", "docker: unknown command: docker buildx\n\nRun 'docker --help' for more information\n")
    answer = server or Output(0, "28.2.2\n", "")
    world.machine.outputs |= {("docker", "buildx", "inspect"): missing, version: answer}


def _unset_secret(world: World) -> None:
    config = {key: value for key, value in world.stack.config.items() if key != "mlflow:gcpOauthClientSecret"}
    world.stack = dataclasses.replace(world.stack, config=config)
    world.graph = preview.__main__.graph_of(world.stack, ROOT)


_WHOAMI = ("pulumi", "whoami", "--json", "--non-interactive")


_SHOW = ("pulumi", "config", "--show-secrets", "--json", "--stack", "gcp-dev", "--non-interactive")


_SOCKET = "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


CASES: Mapping[str, tuple[Case, ...]] = {
    "placeholders": (
        Case(
            "dev",
            edited(mlflow__aws='{"monitoring": {"alarmEmail": "ops@example.com"}}'),
            r"alarmEmail: got ops@example\.com",
            "edit Pulumi.dev.yaml",
        ),
    ),
    "secrets": (
        Case("gcp-dev", _unset_secret, "mlflow:gcpOauthClientSecret is not set", "pulumi config set --secret"),
    ),
    "pulumi": (
        Case("dev", lambda world: world.machine.programs.remove("pulumi"), "not on PATH", "install Pulumi"),
        Case(
            "dev",
            lambda world: world.machine.outputs.update({("pulumi", "version"): Output(0, "v3.99.0\n", "")}),
            "v3.99.0",
            "install Pulumi",
        ),
    ),
    "pulumi backend": (
        Case(
            "dev",
            _fails(
                *_WHOAMI,
                stderr="error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions\n",
            ),
            "not logged in",
            "pulumi login",
        ),
    ),
    "pulumi passphrase": (
        Case(
            "gcp-dev",
            _fails(*_SHOW, stderr="error: incorrect passphrase\n"),
            "incorrect passphrase",
            "PULUMI_CONFIG_PASSPHRASE",
        ),
        Case(
            "gcp-dev",
            _fails(*_SHOW, stderr="error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE\n"),
            "must be set",
            "PULUMI_CONFIG_PASSPHRASE",
        ),
        Case(
            "gcp-dev",
            _fails(*_SHOW, stderr="error: no stack named 'gcp-dev' found\n"),
            "no stack gcp-dev",
            "pulumi stack init",
        ),
    ),
    "pulumi state": (Case("dev", _pending, "creating mlflow-vpc", "pulumi refresh"),),
    "image builder": (
        Case("dev", lambda world: world.machine.programs.remove("docker"), "not on PATH", "install Docker"),
        Case(
            "dev",
            lambda world: without_buildx(world, Output(1, "", _SOCKET)),
            "Is the docker daemon running",
            "start Docker",
            prepare=without_buildx,
        ),
        Case(
            "dev", _fails("docker", "buildx", "inspect", stderr=_SOCKET), "Is the docker daemon running", "start Docker"
        ),
    ),
    "disk space": (Case("dev", setting("machine", free=2**30), "1.0 GiB left", "docker system prune"),),
    "registry login": (
        Case("dev", _docker_config({"credsStore": "desktop"}), "docker-credential-desktop", "install it"),
        Case(
            "dev",
            _docker_config({"credHelpers": {"public.ecr.aws": "ecr-login"}}),
            "docker-credential-ecr-login",
            "install it",
        ),
    ),
}
