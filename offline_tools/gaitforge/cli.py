"""gaitforge: the command-line program of the workstation."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from gaitd import __version__
from gaitd.errors import GaitdError

if TYPE_CHECKING:
    Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

COMMANDS = (
    "gaitforge.commands.example",
    "gaitforge.model.export",
    "gaitforge.data.calibrate",
    "gaitforge.commands.setup_rknn",
    "gaitforge.rknn.convert",
    "gaitforge.verify.verification",
    "gaitforge.commands.import_manifest",
    "gaitforge.bundle.pack",
    "gaitforge.commands.capture",
    "gaitforge.commands.parity",
    "gaitforge.verify.agent",
    "gaitforge.chain.chain",
    "gaitforge.commands.simulate",
    "gaitforge.stack.demo",
    "gaitforge.stack.latency",
    "gaitforge.commands.evidence",
    "gaitforge.commands.faults",
    "gaitforge.stack.soak",
)
"""One module per command, in the order of the chain; each has add_parser()."""

EXTRAS = {
    "torch": "train",
    **dict.fromkeys(("matplotlib", "mujoco", "onnx", "onnxruntime", "onnxslim", "tqdm"), "forge"),
}
"""Which extra of the distribution brings a package that a command imports only when it runs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (gaitd.errors)."""
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except GaitdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        print(f"error: {error.name} is missing: pip install 'gaitd[{EXTRAS[error.name]}]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gaitforge", description="Turn a training checkpoint into a verified policy bundle."
    )
    parser.add_argument("--version", action="version", version=f"gaitforge {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(name).add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
