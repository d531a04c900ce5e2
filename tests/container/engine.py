"""A container engine, by its command line: builds images, runs containers, reads their state and logs."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Builds and containers use the host's network: it works without the permission to create a bridge.
NETWORK = ("--network", "host")
# The restrictions of a hardened platform.
CONFINED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class EngineError(Exception):
    """A command of the engine failed; the message has the command and its output."""


@dataclass(frozen=True, slots=True)
class Engine:
    """``cli`` is the path of a ``docker`` command; ``buildkit`` selects the builder for ``build``."""

    cli: str
    buildkit: bool = False

    def run(self, *arguments: str, timeout: float = 60) -> str:
        """Run a command; returns its standard output. Raises EngineError."""
        done = subprocess.run(
            [self.cli, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"DOCKER_BUILDKIT": "1" if self.buildkit else "0"},
        )
        if done.returncode:
            raise EngineError(f"docker {' '.join(arguments)}: {(done.stderr + done.stdout)[-3000:]}")
        return done.stdout

    def build(
        self,
        tag: str,
        context: Path,
        arguments: dict[str, str],
        dockerfile: str = "Dockerfile",
        *,
        platform: str | None = None,
    ) -> str:
        """Build ``context`` as ``tag`` for ``platform``, by default that of the engine; returns the tag."""
        # Predefined build arguments, which a Dockerfile need not declare.
        proxies = [name for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "no_proxy"}]
        flags = [f"{name}={value}" for name, value in arguments.items()] + proxies
        built = [part for flag in flags for part in ("--build-arg", flag)]
        named = ("--tag", tag, "--file", str(context / dockerfile), *(("--platform", platform) if platform else ()))
        self.run("build", *NETWORK, *built, *named, str(context), timeout=480)
        return tag

    def inspect(self, name: str) -> dict[str, Any]:
        """The engine's description of an image or a container."""
        return json.loads(self.run("inspect", name))[0]

    def container(
        self, image: str, *flags: str, command: Sequence[str] = ()
    ) -> "contextlib.AbstractContextManager[Container]":
        """A confined container that runs in the background until the end of the block."""
        return self.started(image, *CONFINED, *flags, command=command)

    @contextlib.contextmanager
    def started(self, image: str, *flags: str, command: Sequence[str] = ()) -> "Generator[Container]":
        """The same, without restrictions other than those of the flags."""
        name = self.run("run", "--detach", *NETWORK, *flags, image, *command).strip()
        try:
            yield Container(self, name)
        finally:
            self.run("rm", "--force", "--volumes", name)

    @contextlib.contextmanager
    def unstarted(self, image: str) -> Generator[str]:
        """The name of a container that is not started, for reading the image's files."""
        name = self.run("create", image, "nothing").strip()
        try:
            yield name
        finally:
            self.run("rm", "--force", "--volumes", name)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    engine: Engine
    name: str

    @property
    def state(self) -> dict[str, Any]:
        """The engine's description of the state."""
        return self.engine.inspect(self.name)["State"]

    @property
    def log(self) -> str:
        """Everything that it wrote to standard output and standard error."""
        done = subprocess.run(
            [self.engine.cli, "logs", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def wait_until(self, condition: Callable[["Container"], bool], seconds: float = 30) -> None:
        """Poll until ``condition`` is true. Fails with the log after ``seconds``, or if the container exits."""
        deadline = time.monotonic() + seconds
        while not condition(self):
            assert self.state["Running"], f"The container exited: {self.log}"
            assert time.monotonic() < deadline, f"Not within {seconds} s: {self.state} {self.log}"
            time.sleep(0.1)

    def signal(self, name: str) -> None:
        """Send a signal."""
        self.engine.run("kill", "--signal", name, self.name)

    def exit_code(self) -> int:
        """Wait for the exit; returns the exit code."""
        return int(self.engine.run("wait", self.name))


def find_engine(*, buildkit: bool) -> Engine | None:
    """A ``docker`` command on PATH that reaches a daemon and has the builder; None if there is none.

    Since version 23, BuildKit requires the plugin buildx.
    """
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if cli := shutil.which("docker", path=folder):
            engine = Engine(cli, buildkit)
            with contextlib.suppress(EngineError):
                version = engine.run("version", "--format", "{{.Client.Version}}")
                if buildkit and int(version.split(".")[0]) > 22:
                    engine.run("buildx", "version")
                return engine
    return None
