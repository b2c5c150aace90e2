"""Results as markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def markdown(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys as a table; the keys are its head."""
    head = list(rows[0])
    lines = [_line(head), _line(["---"] * len(head))]
    return "\n".join(lines + [_line([str(row[key]) for key in head]) for row in rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
