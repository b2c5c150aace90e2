"""Answers the questions, and writes the answers down."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from gaitd.bundle.read import open_bundle
from gaitforge.common.tables import markdown
from gaitforge.evidence.closed_loop import ClosedLoop
from gaitforge.evidence.experiments import EXPERIMENTS


def write_evidence(bundle: Path, output: Path, only: Collection[str] = ()) -> None:
    """Run the experiments named in ``only``, or all; print and write evidence.md and evidence.json.

    Raises InputError when the bundle is not for the simulated robot.
    """
    loop = ClosedLoop(open_bundle(bundle))
    output.mkdir(parents=True, exist_ok=True)
    manifest = loop.bundle.manifest
    text = [f"# Closed loops of {manifest.name} {manifest.version}"]
    results = {}
    for experiment in EXPERIMENTS:
        if only and experiment.name not in only:
            continue
        print(f"{experiment.name}: {experiment.question}", flush=True)
        rows = results[experiment.name] = list(experiment.rows(loop))
        text += [f"## {experiment.name}\n\n{experiment.question}", markdown(rows)]
        print(text[-1], flush=True)
    (output / "evidence.md").write_text("\n\n".join(text) + "\n")
    (output / "evidence.json").write_text(json.dumps(results, indent=2) + "\n")
    print(f"{output}/evidence.md  {output}/evidence.json")
