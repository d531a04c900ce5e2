"""Runs the real Pulumi CLI in a project folder against the double's providers."""

import json
import os
import shutil
import signal
import subprocess
import sysconfig
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.doubles.provider.server import Double

PASSPHRASE = "a-passphrase-for-tests"
PROJECT = "mlflow"
STACK = "dev"
# Seconds for one command.
TIMEOUT = 240.0


def missing_tool() -> str | None:
    """Return a message if a tool that the tests need is missing, and None otherwise."""
    if shutil.which("pulumi") is None or shutil.which("pulumi-language-python") is None:
        return "needs pulumi on PATH, with pulumi-language-python"
    return None


def make_venv(folder: Path) -> Path:
    """Create a venv with this interpreter's packages, and with pip, which the engine lists packages with."""
    venv.create(folder, with_pip=True)
    site_packages = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    # Most of a program's run time is imports, which are 20% faster without garbage collection.
    lines = [sysconfig.get_path("purelib"), "import gc; gc.disable()"]
    (Path(site_packages) / "test-packages.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class Step:
    """An operation of the engine on a resource: done, or planned in a preview."""

    op: str
    urn: str

    @property
    def kind(self) -> str:
        """The type token."""
        return self.urn.split("::")[2].split("$")[-1]

    @property
    def name(self) -> str:
        """The Pulumi name."""
        return self.urn.split("::", 3)[3]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished command. ``output`` is its standard output and error."""

    code: int
    output: str
    events: list[dict[str, Any]]

    @property
    def steps(self) -> list[Step]:
        """The operations that change a resource."""
        operations = [event["resourcePreEvent"]["metadata"] for event in self.events if "resourcePreEvent" in event]
        return [
            Step(metadata["op"], metadata["urn"])
            for metadata in operations
            if metadata["op"] not in ("same", "read", "refresh")
        ]

    @property
    def errors(self) -> list[str]:
        """Error messages of the engine."""
        diagnostics = [event["diagnosticEvent"] for event in self.events if "diagnosticEvent" in event]
        return [diagnostic["message"] for diagnostic in diagnostics if diagnostic["severity"] == "error"]

    @property
    def warnings(self) -> list[str]:
        """Warnings of the engine."""
        diagnostics = [event["diagnosticEvent"] for event in self.events if "diagnosticEvent" in event]
        return [diagnostic["message"] for diagnostic in diagnostics if diagnostic["severity"] == "warning"]

    def ok(self) -> "Run":
        """Return this run. Raises AssertionError if the command failed."""
        assert self.code == 0, f"pulumi failed ({self.code}):\n{self.output[-6000:]}"
        return self


@dataclass(slots=True)
class Engine:
    """A stack. ``folder`` is the project's; the state and home folders are next to it."""

    folder: Path
    venv: Path
    double: Double
    debug_providers: str
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    runs: int = 0
    console_output: list[str] = field(default_factory=list[str])

    @property
    def state_file(self) -> Path:
        """The file with the state of the stack."""
        return self.folder.parent / "state" / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json"

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the commands, without this machine's cloud credentials."""
        variables = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return variables | {
            "HOME": str(self.folder.parent / "home"),
            "PULUMI_HOME": str(self.folder.parent / "home" / ".pulumi"),
            "PULUMI_BACKEND_URL": (self.folder.parent / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            # A provider plugin on PATH would be used instead of the double.
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            "PULUMI_DEBUG_PROVIDERS": self.debug_providers,
            # For --event-log.
            "PULUMI_DEBUG_COMMANDS": "true",
            # Shared by all runs, outside of the packages' folders.
            "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX") or str(self.venv.parent / "compiled"),
        }

    def init(self) -> None:
        """Create the stack and set its config and secrets."""
        for name in ("home", "state"):
            (self.folder.parent / name).mkdir()
        self.command("stack", "init", STACK).ok()
        for key, value in self.secrets.items():
            self.command("config", "set", "--secret", key, value).ok()
        self.configure(self.config)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the stack's config file, with the encrypted values that it has."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        file_content: Any = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
        previous: dict[str, Any] = file_content.get("config") or {}
        encrypted = {key: value for key, value in previous.items() if key in self.secrets}
        file_content["config"] = {**config, **encrypted}
        file.write_text(yaml.safe_dump(file_content), encoding="utf-8")
        self.config = dict(config)

    def up(self, *flags: str) -> Run:
        """Run `pulumi up`."""
        return self.command("up", "--yes", "--skip-preview", *_COMMON_FLAGS, *flags)

    def preview(self, *flags: str) -> Run:
        """Run `pulumi preview`."""
        return self.command("preview", *_COMMON_FLAGS, *flags)

    def refresh(self, *flags: str) -> Run:
        """Run `pulumi refresh`."""
        return self.command("refresh", "--yes", "--skip-preview", *_COMMON_FLAGS, *flags)

    def destroy(self, *flags: str) -> Run:
        """Run `pulumi destroy`."""
        return self.command("destroy", "--yes", "--skip-preview", *_COMMON_FLAGS, *flags)

    def outputs(self) -> dict[str, Any]:
        """Return the stack outputs, with secrets in plain text."""
        output = self.command("stack", "output", "--json", "--show-secrets").ok().output
        # This output has the secrets by design: tests must not search it for leaks.
        self.console_output.pop()
        return json.loads(output)

    def retained_on_destroy(self) -> list[str]:
        """Return the output `retained_on_destroy`: the resources that `destroy` leaves."""
        return self.outputs().get("retained_on_destroy", [])

    def cancel(self) -> Run:
        """Run `pulumi cancel`, which removes the lock of a killed engine."""
        return self.command("cancel", "--yes")

    def command(self, *arguments: str) -> Run:
        """Run a command until it exits."""
        with self.started(*arguments) as running:
            output, _ = running.process.communicate(timeout=TIMEOUT)
        return running.run(output)

    def started(self, *arguments: str) -> "Running":
        """Start a command in its own process group."""
        self.runs += 1
        return Running(self, arguments)

    @property
    def state(self) -> dict[str, Any]:
        """The deployment in the state file."""
        return json.loads(self.state_file.read_text(encoding="utf-8"))["checkpoint"]["latest"] or {}

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources in the state that a provider manages."""
        resources = self.state.get("resources", [])
        return [
            resource for resource in resources if resource.get("custom") and not resource["type"].startswith("pulumi:")
        ]

    @property
    def pending(self) -> list[dict[str, Any]]:
        """The pending operations in the state."""
        return self.state.get("pending_operations", [])


_COMMON_FLAGS = ("--parallel", "32", "--suppress-progress")
_COMMANDS_WITH_EVENTS = ("up", "preview", "refresh", "destroy")


class Running:
    """A running command; as a context manager it kills the command at exit."""

    def __init__(self, engine: Engine, arguments: tuple[str, ...]) -> None:
        self.engine = engine
        self.log = engine.folder.parent / f"events-{engine.runs}.json"
        events = ("--event-log", str(self.log)) if arguments[0] in _COMMANDS_WITH_EVENTS else ()
        self.process = subprocess.Popen(
            ["pulumi", *arguments, *events, "--non-interactive", "--color", "never"],
            cwd=engine.folder,
            env=engine.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL to the engine and its child processes."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def run(self, output: str) -> Run:
        """Return the finished command."""
        self.engine.console_output.append(output)
        return Run(self.process.returncode, output, list(self._events()))

    def _events(self) -> Iterator[dict[str, Any]]:
        if self.log.exists():
            for line in self.log.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)
