"""Coverage-guided fuzzing of what reads foreign bytes: ``python -m fuzz.coverage TARGET CORPUS ...``.

A target raises on what must not happen: an error that is not documented, or a judgement that the oracle does
not share. The arguments after it are libFuzzer's own.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gaitd", "yaml", "tomllib", "zipfile", "mcap", "fuzz.targets"]):
    from fuzz.targets import TARGETS, planted


def main() -> None:
    """Fuzz until libFuzzer's arguments end it; it exits the process by itself."""
    name, corpus, *arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        target = {**TARGETS, "planted": planted}[name](Path(scratch))
        directory = Path(corpus)
        directory.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(target.seeds):
            (directory / f"seed-{index}").write_bytes(seed)
        one_input: Callable[[bytes], None] = target.check
        atheris.Setup([sys.argv[0], corpus, *arguments], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
