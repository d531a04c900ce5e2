"""README's picture and docs/pictures.md, drawn from the stacks' files. `make docs` runs this; a test fails if stale."""

import re
from pathlib import Path

from .__main__ import graph_of
from .console import Style
from .drawing import mermaid
from .report import exposed
from .stack_files import read_stack

_ROOT = Path(__file__).resolve().parents[1]
_IN_README = re.compile(r"(<!-- preview:aws -->\n).*?(<!-- /preview:aws -->\n)", re.DOTALL)


def readme(text: str) -> str:
    """README with the development stack's picture between its marks. Raises ValueError without those."""
    picture = f"```mermaid\n{mermaid(graph_of(read_stack(_ROOT, 'dev'), _ROOT))}```\n"
    written, count = _IN_README.subn(lambda found: f"{found[1]}{picture}{found[2]}", text)
    if count != 1:
        raise ValueError("README.md needs one <!-- preview:aws --> and <!-- /preview:aws -->.")
    return written


def page() -> str:
    """A picture of each stack that has a file, and whom it lets in and out."""
    parts = ["# What the stacks look like\n\nWritten by `make docs` from what `make preview` shows.\n"]
    for file in sorted(_ROOT.glob("Pulumi.*.yaml")):
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
