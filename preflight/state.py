"""The stack's state, read by `pulumi stack export` without decrypting secrets."""

import json
import threading
from typing import Any, cast

from preview.graph import as_list

from .errors import Unchecked
from .machine import Machine, Output

_NO_STACK = "no stack named"


def last_line(output: Output) -> str:
    """Return the last line of a command's error output, without Pulumi's prefix."""
    lines = [line for line in output.stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"exit status {output.status}"


class State:
    """The state of a stack in the backend that is logged in."""

    def __init__(self, machine: Machine, stack: str) -> None:
        """Nothing is read before the first use."""
        self._machine = machine
        self._stack = stack
        self._lock = threading.Lock()
        self._read: dict[str, Any] | None = None

    def urns(self) -> frozenset[str]:
        """Return the URNs in the state. Raises Unchecked if it cannot be read."""
        return frozenset(str(resource["urn"]) for resource in as_list(self.deployment().get("resources")))

    def pending(self) -> list[tuple[str, str]]:
        """Return (operation, URN) of what an interrupted run left. Raises Unchecked."""
        operations = as_list(self.deployment().get("pending_operations"))
        return [(str(found["type"]), str(found["resource"]["urn"])) for found in operations]

    def deployment(self) -> dict[str, Any]:
        """Return the deployment of Pulumi's export format; empty if there is no stack. Raises Unchecked."""
        with self._lock:
            if self._read is None:
                self._read = self._export()
            return self._read

    def _export(self) -> dict[str, Any]:
        try:
            output = self._machine.run(["pulumi", "stack", "export", "--stack", self._stack, "--non-interactive"])
        except FileNotFoundError:
            raise Unchecked("Pulumi's state was not read: `pulumi` is not on PATH") from None
        if output.status != 0:
            if _NO_STACK in output.stderr:
                return {}
            raise Unchecked(f"Pulumi's state was not read: {last_line(output)}")
        return cast("dict[str, Any]", json.loads(output.stdout).get("deployment") or {})
