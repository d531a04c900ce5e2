"""The components of a stack with the tags and names of their resources, and what the stack's state holds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from components import names
from components.gcp.deployment import label_value
from preflight.errors import Unchecked
from preflight.subject import Subject
from preview.graph import as_list, value_at

_STASH = "pulumi:index:Stash"
_COMPONENTS = ("mlflow:index:AwsMlflowProxy", "mlflow:index:GcpMlflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A component. ``component`` and ``stack`` are the names with which it was created: see names.original_names."""

    project: str
    stack: str
    component: str

    @property
    def title(self) -> str:
        """As ResourceNames.title."""
        return f"{self.component} ({self.stack})"

    @property
    def tags(self) -> dict[str, str]:
        """The tags of its resources on AWS."""
        return {"Project": self.project, "Stack": self.stack, "Component": self.component}

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its resources on Google Cloud."""
        return {key.lower(): label_value(value) for key, value in self.tags.items()}

    def physical_name(self, role: str, limit: int) -> str:
        """As ResourceNames.physical_name."""
        return names.physical_name(f"{self.stack}-{self.component}-{role}", limit)


class Held:
    """The resources in the stack's state. Without a state that can be read, none, and ``unread`` says why."""

    def __init__(self, subject: Subject) -> None:
        self.unread = ""
        self.resources: list[dict[str, Any]] = []
        try:
            self.resources = [
                cast("dict[str, Any]", one) for one in as_list(subject.state.deployment().get("resources"))
            ]
        except Unchecked as error:
            self.unread = str(error)
        self._names: dict[str, set[str]] = {}
        for resource in self.resources:
            type_token = str(resource.get("type"))
            found = (resource.get("id"), value_at(resource, "outputs", "arn"))
            self._names.setdefault(type_token, set()).update(_key(type_token, str(one)) for one in found if one)

    def holds(self, type_token: str, identities: Iterable[str]) -> bool:
        """Whether a resource of this type has one of these as its id or ARN."""
        return not self._names.get(type_token, set()).isdisjoint(_key(type_token, one) for one in identities)

    def owners(self, subject: Subject) -> list[Owner]:
        """Return the components of the program, and those that only the state has."""
        created = {
            str(resource["urn"]).rpartition("::")[2]: cast("dict[str, str]", value_at(resource, "outputs", "output"))
            for resource in self.resources
            if resource.get("type") == _STASH and isinstance(value_at(resource, "outputs", "output", "component"), str)
        }
        found = {one.name: (one.name, subject.stack.name) for one in subject.created(*_COMPONENTS)}
        found |= {name: (original["component"], original["stack"]) for name, original in created.items()}
        return [
            Owner(project=subject.stack.project, stack=stack, component=component)
            for component, stack in dict.fromkeys(found.values())
        ]


def _key(type_token: str, identity: str) -> str:
    """What identifies a resource of a type. Google's names have the project's ID or its number; versions of different
    App Engine services have the same name."""
    short = type_token.startswith("gcp:") and not type_token.startswith("gcp:appengine/")
    return identity.rpartition("/")[2] if short else identity
