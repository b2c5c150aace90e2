"""Steps that are skipped when nothing that they depend on has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gaitd import __version__
from gaitforge.common import console, files


class Steps:
    """Runs steps and remembers in a file what each was made from, by hash."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        try:
            self._known: dict[str, dict[str, str]] = json.loads(memory.read_text())
        except (OSError, ValueError):
            self._known = {}

    def run(
        self,
        name: str,
        inputs: Iterable[Path | None],
        options: Mapping[str, object],
        outputs: Iterable[Path],
        action: Callable[[], object],
    ) -> None:
        """Run a step unless inputs, options and outputs are those of its last run.

        An action that raises leaves the step to be done again.
        """
        made = list(outputs)
        key = _key(inputs, options)
        if self._known.get(name) == {"key": key, "outputs": _hashes(made)}:
            console.say(f"{name}: unchanged, skipped")
            return
        console.say(f"== {name}")
        action()
        self._known[name] = {"key": key, "outputs": _hashes(made)}
        files.write_text(self._memory, json.dumps(self._known, indent=2) + "\n")


def _key(inputs: Iterable[Path | None], options: Mapping[str, object]) -> str:
    parts = [None if path is None else files.sha256(path) for path in inputs]
    text = json.dumps([__version__, parts, dict(options)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _hashes(paths: Iterable[Path]) -> str:
    return ",".join(files.sha256(path) if path.is_file() else "-" for path in paths)
