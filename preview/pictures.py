"""README's pictures and docs/pictures.md, drawn from the stacks' files. `make docs` runs this; a test sees if stale."""

import re
from pathlib import Path

from .__main__ import graph_of
from .console import Style
from .drawing import mermaid
from .report import exposed
from .stack_files import read_stack

_ROOT = Path(__file__).resolve().parents[1]
# README's pictures, by the name of their marks: which stack is drawn.
_IN_README = {"aws": "dev", "gcp": "gcp-dev"}


def readme(text: str) -> str:
    """README with the development stacks' pictures between their marks. Raises ValueError without those."""
    for cloud, stack in _IN_README.items():
        picture = f"```mermaid\n{mermaid(graph_of(read_stack(_ROOT, stack), _ROOT))}```\n"
        start, end = f"<!-- preview:{cloud} -->\n", f"<!-- /preview:{cloud} -->\n"
        text, count = re.subn(f"{start}.*?{end}", lambda _, new=start + picture + end: new, text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"README.md needs one {start.strip()} and {end.strip()}.")
    return text


def page() -> str:
    """A picture of each stack that has a file, and whom it lets in and out."""
    parts = ["# What the stacks look like\n\nWritten by `make docs` from what `make preview` shows.\n"]
    for file in sorted(_ROOT.glob("Pulumi.*.yaml"), key=lambda file: ("gcp" in file.name, file.name)):
        stack = read_stack(_ROOT, file.name.split(".")[1])
        graph = graph_of(stack, _ROOT)
        tables = "\n\n".join("\n".join([title, *lines]) for title, lines in exposed(graph, Style(colours=False)))
        parts.append(f"## {file.name}\n\n```mermaid\n{mermaid(graph)}```\n\n```text\n{tables}\n```\n")
    return "\n".join(parts)


def main() -> None:
    where = _ROOT / "README.md"
    where.write_text(readme(where.read_text()))
    (_ROOT / "docs" / "pictures.md").write_text(page())


if __name__ == "__main__":
    main()
