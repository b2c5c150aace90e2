"""Of tools/site, which is no package: what it takes for links and anchors."""

from __future__ import annotations

from pathlib import Path

from support.scripts import load

SITE = Path(__file__).parents[2] / "tools" / "site"

links = load(SITE / "links.py")
