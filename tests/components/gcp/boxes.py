"""What a box of Google Cloud's needs around it when it is tested alone."""

from components.gcp.place import Place
from preview.gcp.mock_outputs import NUMBER, PROJECT, REGION
from preview.graph import Graph, Resource

__all__ = ["HOST", "NUMBER", "PROJECT", "REGION", "a_place", "only"]

HOST = f"{PROJECT}.ew.r.appspot.com"


def a_place(*, deletion_protection: bool = False) -> Place:
    return Place(
        name="mlflow",
        stack="dev",
        project=PROJECT,
        region=REGION,
        labels={"project": "mlflow", "stack": "dev", "component": "mlflow"},
        deletion_protection=deletion_protection,
    )


def only(graph: Graph, kind: str, name: str | None = None) -> Resource:
    """The one resource of a type, or of a type and a name."""
    found = [one for one in graph.of(kind) if name is None or one.name == name]
    assert len(found) == 1, f"{kind} {name or ''}: {[one.name for one in found]}"
    return found[0]
