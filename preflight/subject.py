"""What the checks examine: a stack with the graph of its program, the clouds and this machine."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from pydantic.alias_generators import to_snake

from components.gcp import regions
from preview.graph import Call, Graph, Resource, value_at
from preview.stack_files import Stack

from .aws.api import Aws
from .errors import Unchecked
from .gcp.api import Gcp
from .machine import Machine
from .state import State

_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class Subject:
    """``folder`` is that of the program. Nothing of a cloud or of Pulumi is opened before a check uses it."""

    stack: Stack
    graph: Graph
    folder: Path
    machine: Machine
    aws: Aws
    gcp: Gcp
    web: requests.Session
    """Sends no credentials by itself."""

    @functools.cached_property
    def state(self) -> State:
        """The stack's state in Pulumi's backend."""
        return State(self.machine, self.stack.name)

    def fetch(
        self, url: str, *, headers: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Return the response of a GET request without redirects. Raises Unchecked without a connection."""
        try:
            return self.web.get(url, headers=headers, params=params, allow_redirects=False, timeout=_SECONDS)
        except requests.RequestException as error:
            raise Unchecked(f"no response from {url.split('/')[2]}: {type(error).__name__}") from None

    def setting(self, name: str) -> Any:
        """Return a component's setting in the stack's file by its dotted name (aws.loadBalancer.hostName), or None."""
        cloud, *path = name.split(".")
        text = self.stack.config.get(f"mlflow:{cloud}")
        value: Any = json.loads(text) if text else None
        for part in path:
            found = value_at(value, part)
            value = value_at(value, to_snake(part)) if found is None else found
        return value

    def app_engine_region(self) -> str:
        """Return the region of App Engine's instances."""
        location = self.setting("gcp.app.location")
        region = self.setting("gcp.region") or self.stack.config.get("gcp:region")
        return regions.region_of(location) if location else str(region)

    def created(self, *types: str) -> list[Resource]:
        """Return the resources of these types that the stack creates; those that the program only reads are not."""
        return [resource for resource in self.graph.resources if resource.type in types and not resource.read]

    def calls(self, token: str) -> list[Call]:
        """Return the program's calls of a function, such as aws:ssm/getParameter:getParameter."""
        return [call for call in self.graph.calls if call.token == token]

    def missing(self, *types: str) -> list[Resource]:
        """Return the resources of these types that `up` would create: they are not in the state yet.

        Raises Unchecked if the state cannot be read.
        """
        deployed = self.state.urns()
        return [resource for resource in self.created(*types) if resource.urn not in deployed]
