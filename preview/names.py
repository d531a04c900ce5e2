"""What an id, an ARN or an address in the graph stands for."""

from collections.abc import Iterator
from typing import Any

from .graph import Graph, Resource

# Outputs by which others name a resource, the clearest first.
_NAMING = (
    *("arn", "id", "name", "bucket", "keyId", "dnsName", "repositoryUrl"),
    *("email", "member", "connectionName", "registryUri", "url"),
)
# Those whose id is the project's stand for no project.
_OF_PROJECT = ("gcp:appengine/application:Application",)


class Names:
    """Looks up resources by what other resources call them."""

    def __init__(self, graph: Graph) -> None:
        self._by_value: dict[str, Resource] = {}
        # What was asked for by a name has it.
        self._asked = {
            str(call.answer["id"]): str(call.args["name"])
            for call in graph.calls
            if "name" in call.args and "id" in call.answer
        }
        for one in graph.resources:
            if one.custom and one.type not in _OF_PROJECT:
                for value in self._values(one):
                    self._by_value.setdefault(value, one)
        # The longest first: arn:...:bucket/prefix is no other bucket's.
        self._longest = sorted((value for value in self._by_value if len(value) > 3), key=len, reverse=True)

    def _values(self, one: Resource) -> Iterator[str]:
        known: dict[str, Any] = {**one.outputs, "id": one.id}
        for name in _NAMING:
            value = known.get(name)
            # A name that was chosen says nothing that a reader would not see.
            if isinstance(value, str) and value and (name in ("arn", "id") or value != one.inputs.get(name)):
                yield value

    def resource(self, value: Any) -> Resource | None:
        """What is called exactly that."""
        return self._by_value.get(value) if isinstance(value, str) else None

    def within(self, text: str) -> tuple[Resource, str] | None:
        """(resource, rest) of a text that begins with what a resource is called, such as an object in a bucket."""
        found = next(
            (value for value in self._longest if text == value or text.startswith((f"{value}/", f"{value}:"))), None
        )
        return (self._by_value[found], text[len(found) :]) if found else None

    def called(self, value: Any) -> str:
        """A value as a reader of the program knows it."""
        if not isinstance(value, str):
            return str(value)
        found = self.within(value)
        return f"{found[0].name}{found[1]}" if found else self._asked.get(value, value)


def kind(resource: Resource) -> str:
    """A type as programs write it: aws.lb.LoadBalancer."""
    package, _, rest = resource.type.partition(":")
    module, _, name = rest.partition(":")
    middle = module.split("/")[0]
    return ".".join(part for part in (package, middle, name) if part not in ("", "index"))
