"""Tell the stand-in runtime what to do wrong (orders.h lists the orders)."""

from __future__ import annotations

from pathlib import Path


class Orders:
    """The control file, named to the stand-in by $GAITD_STANDIN_CONTROL; read at the runtime's next call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.give()

    def give(self, *lines: str) -> None:
        """Replace all orders; none: run well."""
        draft = self.path.with_suffix(".draft")
        draft.write_text("".join(f"{line}\n" for line in lines))
        draft.replace(self.path)
