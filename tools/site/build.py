"""Build the site of README and docs/: python tools/site/build.py

The pages are laid out as they are in the repository, with everything that they link to: a link leads to
the same place here and there.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path

from links import reachable
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PAGES = ("README.md", "README.zh-CN.md", "CHANGELOG.md", "docs/**/*.md", "examples/*/README.md")


def lay_out(source: Path) -> None:
    """Copy the pages, and what they lead to, into an empty directory."""
    starts = [page for pattern in PAGES for page in REPOSITORY.glob(pattern)]
    for path in sorted(reachable(REPOSITORY, starts)):
        target = source / path.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(HERE / "extra.css", source)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build/site")
    output = parser.parse_args().output.resolve()
    source = output.with_name(f"{output.name}-source")
    shutil.rmtree(source, ignore_errors=True)
    lay_out(source)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    config = load_config(str(HERE / "mkdocs.yml"), docs_dir=str(source), site_dir=str(output))
    try:
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    except Abort as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{output / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
