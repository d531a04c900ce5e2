"""Names of resources in place of the ids, ARNs and addresses that refer to them."""

from collections.abc import Iterator
from typing import Any

from .graph import Graph, Resource

# Outputs by which other resources refer to a resource, the most specific first.
_REFERENCES = (
    *("arn", "id", "name", "bucket", "keyId", "dnsName", "repositoryUrl"),
    *("email", "member", "connectionName", "registryUri", "url"),
)
# The id of these types is the project's ID, which does not identify the resource.
_IDENTIFIED_BY_PROJECT = ("gcp:appengine/application:Application",)


class ResourceNames:
    """Finds resources by the values that refer to them."""

    def __init__(self, graph: Graph) -> None:
        self._by_value: dict[str, Resource] = {}
        # Calls that look up an id by a name: the name is shown in place of the id.
        self._looked_up = {
            str(call.result["id"]): str(call.args["name"])
            for call in graph.calls
            if "name" in call.args and "id" in call.result
        }
        for resource in graph.resources:
            if resource.custom and resource.type not in _IDENTIFIED_BY_PROJECT:
                for value in self._values(resource):
                    self._by_value.setdefault(value, resource)
        # The longest first, since a name may be the prefix of another.
        self._longest_first = sorted((value for value in self._by_value if len(value) > 3), key=len, reverse=True)

    def _values(self, resource: Resource) -> Iterator[str]:
        outputs: dict[str, Any] = {**resource.outputs, "id": resource.id}
        for name in _REFERENCES:
            value = outputs.get(name)
            # A name from the inputs is shown unchanged.
            if isinstance(value, str) and value and (name in ("arn", "id") or value != resource.inputs.get(name)):
                yield value

    def resource(self, value: Any) -> Resource | None:
        """Return the resource that the whole value refers to."""
        return self._by_value.get(value) if isinstance(value, str) else None

    def split(self, text: str) -> tuple[Resource, str] | None:
        """Return (resource, rest) of a text that begins with a reference, such as the ARN of objects in a bucket."""
        found = next(
            (value for value in self._longest_first if text == value or text.startswith((f"{value}/", f"{value}:"))),
            None,
        )
        return (self._by_value[found], text[len(found) :]) if found else None

    def display(self, value: Any) -> str:
        """Return a value with the resource's Pulumi name in place of a reference."""
        if not isinstance(value, str):
            return str(value)
        found = self.split(value)
        return f"{found[0].name}{found[1]}" if found else self._looked_up.get(value, value)


def class_name(resource: Resource) -> str:
    """Return the type as Pulumi programs write it, such as aws.lb.LoadBalancer."""
    package, _, rest = resource.type.partition(":")
    module, _, name = rest.partition(":")
    middle = module.split("/")[0]
    return ".".join(part for part in (package, middle, name) if part not in ("", "index"))
