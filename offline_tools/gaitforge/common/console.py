"""What a person at the terminal sees while a command works."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print a line of the result."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print something the person should know, but need not act on at once."""
    print(f"note: {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Show that a step is under way, and how long it took; a failed one says so and raises on."""
    live = sys.stdout.isatty()
    if live:
        print(f"{text} ...", end="", flush=True)
    start = time.monotonic()
    lead = "\r" if live else ""
    try:
        yield
    except BaseException:
        print(f"{lead}{text}: failed", flush=True)
        raise
    print(f"{lead}{text}: {time.monotonic() - start:.1f} s", flush=True)


def table(rows: list[list[str]]) -> str:
    """Align rows in columns; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
