"""Checks of the stack's file, Pulumi's backend and the machine that builds the image."""

import json
import re
from pathlib import Path
from typing import Any, cast

from components.placeholders import placeholders

from .errors import Unchecked
from .machine import Output
from .model import Fault, check
from .state import last_line
from .subject import Subject

_IMAGE = "docker-build:index:Image"
# Sizes of the base image, the packages and the layers of a build.
_FREE_GIB = 5
_LEAST_CLI = (3, 250)
_MISSING_SECRET = re.compile(r"(\S+) is not set: run `(pulumi config set --secret \S+)`")
# Of Docker 28 and of older releases.
_WITHOUT_BUILDX = ("unknown command: docker buildx", "'buildx' is not a docker command")
_SOCKET = "read and write /var/run/docker.sock (group docker)"


@check("placeholders")
def placeholders_left(subject: Subject) -> str | list[Fault]:
    """The stack's file has no placeholders of the example files."""
    remedy = f"edit {subject.stack.file.name}"
    return [Fault(f"{setting}: {problem}", remedy) for setting, problem in placeholders(subject.stack.config)] or "none"


@check("secrets")
def secrets(subject: Subject) -> str | list[Fault]:
    """Each secret that the program asks for is set."""
    found = [_MISSING_SECRET.search(message) for _, message in subject.graph.messages]
    faults = [Fault(f"{one[1]} is not set", f"run `{one[2]} --stack {subject.stack.name}`") for one in found if one]
    return faults or "set"


@check("pulumi")
def pulumi_cli(subject: Subject) -> str | list[Fault]:
    """Pulumi's CLI is installed, in a version that the program supports."""
    remedy = "install Pulumi's CLI: https://www.pulumi.com/docs/install/"
    try:
        output = subject.machine.run(["pulumi", "version"])
    except FileNotFoundError:
        return [Fault("`pulumi` is not on PATH", remedy)]
    found = re.match(r"v?(\d+)\.(\d+)\S*", output.stdout.strip())
    if output.status != 0 or found is None:
        raise Unchecked(f"`pulumi version`: {last_line(output)}")
    if (int(found[1]), int(found[2])) < _LEAST_CLI:
        return [Fault(f"Pulumi's CLI is {found[0]}, the program needs 3.{_LEAST_CLI[1]}", remedy)]
    return found[0]


@check("pulumi backend")
def backend(subject: Subject) -> str | list[Fault]:
    """Pulumi is logged in to a backend for its state."""
    output = _pulumi(subject, "whoami", "--json", "--non-interactive")
    if output.status != 0:
        if "PULUMI_ACCESS_TOKEN" in output.stderr:
            return [
                Fault(
                    "Pulumi is not logged in",
                    "run `pulumi login`, `pulumi login s3://...`, `pulumi login gs://...` or `pulumi login --local`",
                )
            ]
        raise Unchecked(f"`pulumi whoami`: {last_line(output)}")
    return str(json.loads(output.stdout).get("url") or "logged in")


@check(
    "pulumi passphrase",
    when=lambda subject: bool(subject.stack.secret_keys) or "encryptionsalt:" in subject.stack.file.read_text(),
    concerns="stacks with secrets in their file",
)
def passphrase(subject: Subject) -> str | list[Fault]:
    """Pulumi can decrypt the secrets in the stack's file: the passphrase or the key is right."""
    # The secrets stay in this process.
    output = _pulumi(subject, "config", "--show-secrets", "--json", "--stack", subject.stack.name, "--non-interactive")
    if output.status == 0:
        return "decrypts"
    if "no stack named" in output.stderr:
        return [
            Fault(
                f"{subject.stack.file.name} has secrets, and the backend has no stack {subject.stack.name}",
                f"run `pulumi stack init {subject.stack.name}`, and set the secrets again",
            )
        ]
    if "passphrase" in output.stderr:
        remedy = "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the passphrase of the stack"
        return [Fault(last_line(output), remedy)]
    raise Unchecked(f"`pulumi config`: {last_line(output)}")


@check("pulumi state")
def state(subject: Subject) -> str | list[Fault]:
    """No earlier run was interrupted: the state has no pending operations."""
    pending = subject.state.pending()
    if pending:
        shown = ", ".join(f"{kind} {urn.rpartition('::')[2]}" for kind, urn in pending)
        return [
            Fault(
                f"an interrupted run left pending operations: {shown}",
                f"look whether the resources exist, then run `pulumi refresh --stack {subject.stack.name}`, which asks "
                "what to do with each (docs/reliability.md#recover)",
            )
        ]
    resources = len(subject.state.urns())
    return f"{resources} resources" if resources else "no state yet"


def _pulumi(subject: Subject, *arguments: str) -> Output:
    try:
        return subject.machine.run(["pulumi", *arguments])
    except FileNotFoundError:
        raise Unchecked("`pulumi` is not on PATH") from None


@check("image builder", types=(_IMAGE,))
def builder(subject: Subject) -> str | list[Fault]:
    """Docker or another builder (BuildKit) runs."""
    machine = subject.machine
    existing = "or use an existing image (image.imageUri)"
    try:
        output = machine.run(["docker", "buildx", "inspect"])
    except FileNotFoundError:
        if machine.environment.get("DOCKER_HOST"):
            raise Unchecked("`docker` is not on PATH, so the builder at DOCKER_HOST was not asked") from None
        return [Fault("`docker` is not on PATH", f"install Docker, {existing}")]
    # Pulumi's provider needs no plugin.
    without_plugin = output.status != 0 and any(text in output.stderr for text in _WITHOUT_BUILDX)
    if without_plugin:
        output = machine.run(["docker", "version", "--format", "{{.Server.Version}}"])
    if output.status == 0 and not _field(output, "Error"):
        return f"Docker {output.stdout.strip()}" if without_plugin else _field(output, "Driver")
    if "permission denied" in output.stderr:
        raise Unchecked("access to Docker's socket is denied", _SOCKET)
    problem = f"the builder does not run: {_field(output, 'Error') or last_line(output)}"
    return [Fault(problem, f"start Docker, {existing}")]


def _field(output: Output, name: str) -> str:
    found = re.search(rf"^{name}:\s*(.*)$", output.stdout, re.MULTILINE)
    return found[1].strip() if found else ""


@check("disk space", types=(_IMAGE,))
def disk_space(subject: Subject) -> str | list[Fault]:
    """The disk has room for the build of the image."""
    output = (
        subject.machine.run(["docker", "info", "--format", "{{.DockerRootDir}}"])
        if subject.machine.which("docker")
        else None
    )
    root = Path(output.stdout.strip()) if output is not None and output.status == 0 else subject.folder
    if output is not None and "permission denied" in output.stderr:
        raise Unchecked("access to Docker's socket is denied", _SOCKET)
    # A remote builder has a disk of its own.
    place = root if root.is_dir() else subject.folder
    free = subject.machine.free_bytes(place) / 2**30
    if free < _FREE_GIB:
        return [Fault(f"{place} has {free:.1f} GiB left, a build takes up to {_FREE_GIB}", "run `docker system prune`")]
    return f"{free:.0f} GiB"


@check("registry login", types=(_IMAGE,))
def registry_login(subject: Subject) -> str | list[Fault]:
    """Docker's configuration names no credential helper that is missing, which would fail every pull and push."""
    file = Path(subject.machine.environment.get("DOCKER_CONFIG") or subject.machine.home / ".docker") / "config.json"
    try:
        config = cast("dict[str, Any]", json.loads(file.read_text()))
    except FileNotFoundError:
        return f"no {file.name}"
    except PermissionError:
        raise Unchecked(f"{file} cannot be read", f"read {file}") from None
    except ValueError:
        return [Fault(f"{file} is not JSON", "correct or remove it")]
    helpers = {str(config["credsStore"])} if config.get("credsStore") else set[str]()
    helpers |= set(cast("dict[str, str]", config.get("credHelpers") or {}).values())
    absent = sorted(name for name in helpers if subject.machine.which(f"docker-credential-{name}") is None)
    return (
        [
            Fault(
                f"{file} names the helper docker-credential-{name}, which is not on PATH",
                f"install it, or remove it from {file}",
            )
            for name in absent
        ]
        or ", ".join(sorted(helpers))
        or "no helper"
    )
