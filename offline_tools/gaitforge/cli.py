"""gaitforge: the command-line program of the workstation."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from gaitd import __version__
from gaitd.errors import GaitdError, ResourceError

COMMANDS = (
    "example",
    "train",
    "export",
    "calibrate",
    "setup_rknn",
    "convert",
    "verify",
    "import_manifest",
    "pack",
    "capture",
    "parity",
    "agent",
    "chain",
    "simulate",
    "view",
    "shadow",
    "demo",
    "camera",
    "latency",
    "growth",
    "tail",
    "evidence",
    "faults",
    "failovers",
    "soak",
)
"""Modules of gaitforge.commands, in the order of the chain; each has add_parser()."""

EXTRAS = {
    **dict.fromkeys(("mujoco.batch", "rsl_rl", "tensorboard", "tensordict"), "learn"),
    "torch": "train",
    **dict.fromkeys(("jinja2", "matplotlib", "mujoco", "onnx", "onnxruntime", "onnxslim", "tqdm"), "forge"),
}
"""Which extra of the distribution brings a package that a command imports only when it runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (gaitd.errors)."""
    args = make_parser().parse_args(argv)
    try:
        args.run(args)
    except GaitdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        print(
            f"error: {error.name} is missing: make forge in a clone, or pip install "
            f"'gaitd[{EXTRAS[error.name]}]'",
            file=sys.stderr,
        )
        return 2
    except MemoryError:
        print("error: out of memory: end other programs or take smaller files", file=sys.stderr)
        return ResourceError.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def make_parser() -> argparse.ArgumentParser:
    """All commands and options; also what the reference and the manual page are made from."""
    parser = argparse.ArgumentParser(
        prog="gaitforge", description="Turn a training checkpoint into a verified policy bundle."
    )
    parser.add_argument("--version", action="version", version=f"gaitforge {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"gaitforge.commands.{name}").add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
