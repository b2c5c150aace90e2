"""Results on the disk: rows for programs, and the same as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_tables(output: Path, name: str, rows: Sequence[dict[str, Any]], lines: Sequence[str]) -> None:
    """Write NAME.json and NAME.md into the directory, and print the latter."""
    (output / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n")
    (output / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(f"{output}/{name}.json  {output}/{name}.md")
