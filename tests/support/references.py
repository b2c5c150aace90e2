"""Of tools/reference, which is no package: the generator of docs/reference."""

from __future__ import annotations

from pathlib import Path

from support.scripts import load

generator = load(Path(__file__).parents[2] / "tools" / "reference" / "generate.py")
