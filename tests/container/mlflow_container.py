"""MLflow's image in confined containers, on this machine's network."""

import contextlib
import socket
import subprocess
from collections.abc import Generator, Iterable, Mapping
from typing import NamedTuple

from tests.container.engine import Container, Engine
from tests.container.proxy import environment
from tests.mlflow_app.app import App

_KILL = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"-m\\0{module}\\0" in path.read_bytes() and int(path.parent.name) != os.getpid():
        os.kill(int(path.parent.name), signal.SIGKILL)
        break
"""


class AppContainer(App):
    """An instance in a container."""

    def __init__(self, container: Container, url: str) -> None:
        self.container = container
        command = [container.engine.cli, "logs", "--follow", container.name]
        super().__init__(url, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))

    def terminate(self) -> None:
        self.container.signal("TERM")

    def wait_for_exit(self, timeout: float) -> int:
        self.output.wait(timeout)
        return self.container.exit_code()

    def run(self, *command: str) -> str:
        """Run a command in the container; returns its output."""
        return self.container.engine.run("exec", self.container.name, *command)

    def kill(self, module: str) -> None:
        """SIGKILL the process that runs the module."""
        self.run("python", "-c", _KILL.format(module=module))


class ContainerConfig(NamedTuple):
    """A container's settings and flags."""

    settings: Mapping[str, str]
    flags: tuple[str, ...] = ()


@contextlib.contextmanager
def started_together(engine: Engine, image: str, several: Iterable[ContainerConfig]) -> Generator[list[AppContainer]]:
    """A container for each configuration, all started at once, on free ports."""
    started: list[AppContainer] = []
    with contextlib.ExitStack() as stack:
        # Runs last, after the containers are removed.
        stack.callback(lambda: [app.read_to_end() for app in started])
        for config in several:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            listen = {"MLFLOW_PROXY_LISTEN": f"127.0.0.1:{port}", "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0"}
            flags = environment({**listen, **config.settings})
            container = stack.enter_context(engine.container(image, *config.flags, *flags))
            started.append(AppContainer(container, f"http://127.0.0.1:{port}"))
        yield started
