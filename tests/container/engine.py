"""A container engine, by its command line: build an image, run a container, read what it did."""

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

# The host's network for builds and containers: it needs no bridge, so it works where the engine may not make one.
NETWORK = ("--network", "host")
# What a careful platform takes away from a container.
CONFINED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


class EngineError(Exception):
    """A command of the engine failed; the message is the command and what it said."""


@dataclass(frozen=True, slots=True)
class Engine:
    """``cli`` is the path of a ``docker`` command; ``buildkit`` says which of its builders ``build`` takes."""

    cli: str
    buildkit: bool = False

    def run(self, *arguments: str, timeout: float = 60) -> str:
        """What the command wrote on standard output. Raises EngineError."""
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

    def build(self, tag: str, context: Path, arguments: dict[str, str], dockerfile: str = "Dockerfile") -> str:
        """Build ``context`` as ``tag`` and give the tag back."""
        # The engine's own build arguments, which no Dockerfile has to name.
        proxies = [name for name in os.environ if name.lower() in {"http_proxy", "https_proxy", "no_proxy"}]
        flags = [f"{name}={value}" for name, value in arguments.items()] + proxies
        built = [part for flag in flags for part in ("--build-arg", flag)]
        named = ("--tag", tag, "--file", str(context / dockerfile))
        self.run("build", *NETWORK, *built, *named, str(context), timeout=480)
        return tag

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of an image or a container."""
        return json.loads(self.run("inspect", name))[0]

    def container(
        self, image: str, *flags: str, command: Sequence[str] = ()
    ) -> "contextlib.AbstractContextManager[Container]":
        """A container, confined and running in the background until the end of the block."""
        return self.started(image, *CONFINED, *flags, command=command)

    @contextlib.contextmanager
    def started(self, image: str, *flags: str, command: Sequence[str] = ()) -> "Generator[Container]":
        """The same, but with nothing taken away beyond what the flags say."""
        name = self.run("run", "--detach", *NETWORK, *flags, image, *command).strip()
        try:
            yield Container(self, name)
        finally:
            self.run("rm", "--force", "--volumes", name)

    @contextlib.contextmanager
    def unstarted(self, image: str) -> Generator[str]:
        """The name of a container that never runs, to read an image's files from."""
        name = self.run("create", image, "nothing").strip()
        try:
            yield name
        finally:
            self.run("rm", "--force", "--volumes", name)


@dataclass(frozen=True, slots=True)
class Container:
    engine: Engine
    name: str

    @property
    def state(self) -> dict[str, Any]:
        return self.engine.inspect(self.name)["State"]

    @property
    def log(self) -> str:
        """All that it wrote, on both outputs."""
        done = subprocess.run(
            [self.engine.cli, "logs", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def wait_until(self, true: Callable[["Container"], bool], seconds: float = 30) -> None:
        """Poll until ``true``; AssertionError with the log when it does not come, or the container ends before."""
        end = time.monotonic() + seconds
        while not true(self):
            assert self.state["Running"], f"The container ended: {self.log}"
            assert time.monotonic() < end, f"Not within {seconds} s: {self.state} {self.log}"
            time.sleep(0.1)

    def signal(self, name: str) -> None:
        self.engine.run("kill", "--signal", name, self.name)

    def exit_code(self) -> int:
        """Wait for its end."""
        return int(self.engine.run("wait", self.name))


def find_engine(*, buildkit: bool) -> Engine | None:
    """A ``docker`` command on PATH that reaches a daemon and has the builder; None if there is none.

    Up to version 22 the command speaks to BuildKit by itself, later ones leave that to the plugin buildx.
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
