"""Write docs/diagrams.md from the stacks' files. `make docs` runs this; a test fails if the page is out of date."""

from pathlib import Path

from .__main__ import graph_of
from .console import Style
from .diagram import mermaid
from .report import exposure_tables
from .stack_files import read_stack

_ROOT = Path(__file__).resolve().parents[1]


def page() -> str:
    """Return docs/diagrams.md: for each stack file a diagram and the network and identity exposure, as Markdown."""
    parts = ["# Diagrams\n\n`make docs` writes this page from the output of `make preview` for each stack file.\n"]
    for file in sorted(_ROOT.glob("Pulumi.*.yaml"), key=lambda file: ("gcp" in file.name, file.name)):
        graph = graph_of(read_stack(_ROOT, file.name.split(".")[1]), _ROOT)
        found = exposure_tables(graph, Style(colours=False))
        tables = "\n\n".join("\n".join([title, *lines]) for title, lines in found)
        parts.append(f"## {file.name}\n\n```mermaid\n{mermaid(graph)}```\n\n```text\n{tables}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    (_ROOT / "docs" / "diagrams.md").write_text(page())


if __name__ == "__main__":
    main()
