"""MLflow's image in containers, confined, on this machine's network."""

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
    def __init__(self, container: Container, url: str) -> None:
        self.container = container
        command = [container.engine.cli, "logs", "--follow", container.name]
        super().__init__(url, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))

    def terminate(self) -> None:
        self.container.signal("TERM")

    def ended(self, within: float) -> int:
        self.output.wait(within)
        return self.container.exit_code()

    def run(self, *command: str) -> str:
        """What a command writes that runs in the container too."""
        return self.container.engine.run("exec", self.container.name, *command)

    def kill(self, module: str) -> None:
        """SIGKILL for the process that runs this module."""
        self.run("python", "-c", _KILL.format(module=module))


class Told(NamedTuple):
    """A container's settings and flags."""

    settings: Mapping[str, str]
    flags: tuple[str, ...] = ()


@contextlib.contextmanager
def together(engine: Engine, image: str, several: Iterable[Told]) -> Generator[list[AppContainer]]:
    """One for each, all started at once, on ports that were free."""
    started: list[AppContainer] = []
    with contextlib.ExitStack() as stack:
        # Last, when the containers are gone.
        stack.callback(lambda: [app.heard() for app in started])
        for told in several:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            listen = {"MLFLOW_PROXY_LISTEN": f"127.0.0.1:{port}", "MLFLOW_PROXY_METRICS_LISTEN": "127.0.0.1:0"}
            flags = environment({**listen, **told.settings})
            container = stack.enter_context(engine.container(image, *told.flags, *flags))
            started.append(AppContainer(container, f"http://127.0.0.1:{port}"))
        yield started
