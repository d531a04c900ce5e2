"""Text tables."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns; columns of numbers are aligned right."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    figures = [all(not row[column] or row[column][0].isdigit() for row in rows) for column in range(len(head))]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, figures, strict=True)
        )
        for row in every
    )
    return "\n".join(line.rstrip() for line in lines)


def goal(value: float, *, least: float | None = None, most: float | None = None) -> tuple[str, str]:
    """(the goal, whether ``value`` meets it), as two cells."""
    if least is not None:
        return f"at least {least:g}", "met" if value >= least else "MISSED"
    if most is not None:
        return f"at most {most:g}", "met" if value <= most else "MISSED"
    return "", ""
