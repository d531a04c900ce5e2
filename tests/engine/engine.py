"""The real engine: a project in a folder of its own, and `pulumi` run in it against the double's providers."""

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

PASSPHRASE = "of no use elsewhere"
PROJECT = "mlflow"
STACK = "dev"
# What a run may take on a machine that is busy.
PATIENCE = 240.0


def missing() -> str | None:
    """What to say where the engine is not there; None where it is."""
    if shutil.which("pulumi") is None or shutil.which("pulumi-language-python") is None:
        return "needs pulumi on PATH, with pulumi-language-python"
    return None


def make_venv(folder: Path) -> Path:
    """A venv with pip, which the engine asks for the packages, and with the packages of this interpreter."""
    venv.create(folder, with_pip=True)
    there = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    # A program lives for seconds and is mostly imports: without garbage collection they take a fifth less.
    lines = [sysconfig.get_path("purelib"), "import gc; gc.disable()"]
    (Path(there) / "packages-of-the-tests.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine did, or in a preview would do, with a resource."""

    op: str
    urn: str

    @property
    def kind(self) -> str:
        return self.urn.split("::")[2].split("$")[-1]

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]


@dataclass(frozen=True, slots=True)
class Run:
    """How a command of the engine ended. ``output`` is all that it showed."""

    code: int
    output: str
    events: list[dict[str, Any]]

    @property
    def steps(self) -> list[Step]:
        """Without what stayed as it was."""
        found = [event["resourcePreEvent"]["metadata"] for event in self.events if "resourcePreEvent" in event]
        return [Step(one["op"], one["urn"]) for one in found if one["op"] not in ("same", "read", "refresh")]

    @property
    def errors(self) -> list[str]:
        found = [event["diagnosticEvent"] for event in self.events if "diagnosticEvent" in event]
        return [one["message"] for one in found if one["severity"] == "error"]

    @property
    def warnings(self) -> list[str]:
        found = [event["diagnosticEvent"] for event in self.events if "diagnosticEvent" in event]
        return [one["message"] for one in found if one["severity"] == "warning"]

    def ok(self) -> "Run":
        """This run. Raises AssertionError if it failed."""
        assert self.code == 0, f"pulumi failed ({self.code}):\n{self.output[-6000:]}"
        return self


@dataclass(slots=True)
class Engine:
    """One stack. ``folder`` is the project's; state and home are beside it."""

    folder: Path
    venv: Path
    double: Double
    debug_providers: str
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    runs: int = 0
    shown: list[str] = field(default_factory=list[str])

    @property
    def state_file(self) -> Path:
        return self.folder.parent / "state" / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json"

    @property
    def environ(self) -> dict[str, str]:
        # Nothing of this machine's accounts, and nothing that asks the network.
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        return kept | {
            "HOME": str(self.folder.parent / "home"),
            "PULUMI_HOME": str(self.folder.parent / "home" / ".pulumi"),
            "PULUMI_BACKEND_URL": (self.folder.parent / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DEBUG_PROVIDERS": self.debug_providers,
            # For --event-log.
            "PULUMI_DEBUG_COMMANDS": "true",
            # Compiled once in a test run, and not into the folders of the packages.
            "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX") or str(self.venv.parent / "compiled"),
        }

    def init(self) -> None:
        for name in ("home", "state"):
            (self.folder.parent / name).mkdir()
        self.command("stack", "init", STACK).ok()
        for key, value in self.secrets.items():
            self.command("config", "set", "--secret", key, value).ok()
        self.configure(self.config)

    def configure(self, config: Mapping[str, Any]) -> None:
        """The stack's config, as in its file; what is encrypted stays."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        read: Any = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
        before: dict[str, Any] = read.get("config") or {}
        kept = {key: value for key, value in before.items() if key in self.secrets}
        read["config"] = {**config, **kept}
        file.write_text(yaml.safe_dump(read), encoding="utf-8")
        self.config = dict(config)

    def up(self, *flags: str) -> Run:
        return self.command("up", "--yes", "--skip-preview", *_OFTEN, *flags)

    def preview(self, *flags: str) -> Run:
        return self.command("preview", *_OFTEN, *flags)

    def refresh(self, *flags: str) -> Run:
        return self.command("refresh", "--yes", "--skip-preview", *_OFTEN, *flags)

    def destroy(self, *flags: str) -> Run:
        return self.command("destroy", "--yes", "--skip-preview", *_OFTEN, *flags)

    def outputs(self) -> dict[str, Any]:
        """Those of the stack, secret ones too."""
        shown = self.command("stack", "output", "--json", "--show-secrets").ok().output
        # What it was asked to show is no leak.
        self.shown.pop()
        return json.loads(shown)

    def kept(self) -> list[str]:
        """What the stack says that its destroy leaves."""
        return self.outputs().get("kept", [])

    def cancel(self) -> Run:
        return self.command("cancel", "--yes")

    def command(self, *arguments: str) -> Run:
        """Run it to its end."""
        with self.started(*arguments) as running:
            output, _ = running.process.communicate(timeout=PATIENCE)
        return running.run(output)

    def started(self, *arguments: str) -> "Running":
        """A command that runs in a process group of its own."""
        self.runs += 1
        return Running(self, arguments)

    @property
    def state(self) -> dict[str, Any]:
        """The deployment as it is on disk."""
        return json.loads(self.state_file.read_text(encoding="utf-8"))["checkpoint"]["latest"] or {}

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Those that a provider manages."""
        found = self.state.get("resources", [])
        return [one for one in found if one.get("custom") and not one["type"].startswith("pulumi:")]

    @property
    def pending(self) -> list[dict[str, Any]]:
        return self.state.get("pending_operations", [])


_OFTEN = ("--parallel", "32", "--suppress-progress")
_WITH_EVENTS = ("up", "preview", "refresh", "destroy")


class Running:
    """A command under way; a context manager that leaves nothing of it behind."""

    def __init__(self, engine: Engine, arguments: tuple[str, ...]) -> None:
        self.engine = engine
        self.log = engine.folder.parent / f"events-{engine.runs}.json"
        events = ("--event-log", str(self.log)) if arguments[0] in _WITH_EVENTS else ()
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
        """SIGKILL to the engine and to all that it started; nothing gets the chance to tidy up."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def run(self, output: str) -> Run:
        self.engine.shown.append(output)
        return Run(self.process.returncode, output, list(self._events()))

    def _events(self) -> Iterator[dict[str, Any]]:
        if self.log.exists():
            for line in self.log.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)
