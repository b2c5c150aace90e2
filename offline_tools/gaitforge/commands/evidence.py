"""gaitforge evidence: the closed loops behind the safety case's defaults."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

NAMES = ("delay", "rate", "resume", "fallback", "actions", "healthy")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``evidence``."""
    parser = subparsers.add_parser(
        "evidence",
        help="closed loops behind the defaults: late commands, fallbacks, wrong actions, limits",
        description="Walks the policy in the simulator, called directly, ten gait phases a cell, and writes "
        "what came of it as evidence.md and evidence.json.",
    )
    parser.add_argument("--bundle", type=Path, required=True, help="the policy")
    parser.add_argument("--output", type=Path, default=Path("build/evidence"), help="where the results go")
    parser.add_argument("--only", choices=NAMES, action="append", help="just this experiment; repeatable")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the experiments. Raises InputError when the bundle is not for the simulated robot."""
    from gaitd.bundle.read import open_bundle
    from gaitforge.common.tables import markdown
    from gaitforge.evidence.closed_loop import ClosedLoop
    from gaitforge.evidence.experiments import EXPERIMENTS

    loop = ClosedLoop(open_bundle(options.bundle))
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    manifest = loop.bundle.manifest
    text = [f"# Closed loops of {manifest.name} {manifest.version}"]
    results = {}
    for experiment in EXPERIMENTS:
        if options.only and experiment.name not in options.only:
            continue
        print(f"{experiment.name}: {experiment.question}", flush=True)
        rows = results[experiment.name] = list(experiment.rows(loop))
        text += [f"## {experiment.name}\n\n{experiment.question}", markdown(rows)]
        print(text[-1], flush=True)
    (output / "evidence.md").write_text("\n\n".join(text) + "\n")
    (output / "evidence.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"{output}/evidence.md  {output}/evidence.json")
