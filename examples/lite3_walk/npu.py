"""Adds model.rknn to lite3_walk.gaitd: its model.onnx converted by rknn-toolkit2 and run in its simulator,
on the golden vectors and as the worker of walks in which it fails and model.onnx goes on as the standby.

    python examples/lite3_walk/npu.py

Needs the toolkit's environment (make rknn). Everything else in the bundle stays as it was.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import yaml

from gaitd.bundle.read import open_bundle
from gaitd.errors import GateError
from gaitforge.bundle.write import write_bundle
from gaitforge.model.onnx_policy import read_policy
from gaitforge.rknn import record
from gaitforge.rknn.convert import convert
from gaitforge.rknn.simulator import SimulatorBackend
from gaitforge.rknn.toolkit import BuildOptions, Toolkit
from gaitforge.simulate.body import lite3
from gaitforge.verify.failover import failovers_summary, walk_failovers
from gaitforge.verify.gate import Gate

BUNDLE = Path(__file__).with_name("lite3_walk.gaitd")
PHASES = 10
"""Of the gait, at which each kind of failover is walked."""


def main() -> None:
    bundle = open_bundle(BUNDLE)
    pipeline = bundle.pipeline()
    observations, actions = bundle.golden()
    with tempfile.TemporaryDirectory() as scratch:
        onnx, rknn = Path(scratch) / "model.onnx", Path(scratch) / "model.rknn"
        onnx.write_bytes(bundle.read_bytes("model.onnx"))
        options = BuildOptions("rk3588")
        convert(onnx, rknn, options=options)
        made = record.read(rknn)
        policy = read_policy(onnx)
        with Toolkit(Path(scratch) / "log") as toolkit:
            toolkit.build(policy, options)
            inputs = np.array([pipeline.normalize(row) for row in observations])
            npu = SimulatorBackend(toolkit, policy)
            simulated = npu.run_rows(inputs)
            walks = walk_failovers(bundle.manifest, npu, policy.backend(), None, lite3(), PHASES)
        content = rknn.read_bytes()
    errors = np.abs(simulated - actions)
    allowed = bundle.manifest.golden.rknn_tolerance
    if errors.max() > allowed:
        raise GateError(f"the simulator is off by {errors.max():.3g}, allowed is {allowed}")
    manifest = yaml.safe_load(bundle.read_bytes("manifest.yaml"))
    manifest.pop("files")
    manifest["provenance"]["rknn"] = record.describe(made)
    report = json.loads(bundle.read_bytes("report.json"))
    report["npu_simulator"] = {
        "golden_vectors": len(errors),
        "mean_error": round(float(errors.mean()), 6),
        "max_error": round(float(errors.max()), 6),
        "tolerance": allowed,
        "cpu_layers": made.cpu_layers,
    }
    failovers = failovers_summary(walks, Gate().failover_tracking)
    report["failovers"] = {"fp16": failovers}
    files = {name: bundle.read_bytes(name) for name in ("model.onnx", "golden.npz")}
    text = json.dumps(report, indent=2) + "\n"
    write_bundle(BUNDLE, manifest, {**files, "model.rknn": content, "report.json": text.encode()})
    print(f"{BUNDLE}: {record.describe(made)}; in the simulator off by {errors.max():.2g} at most")
    print(f"failovers: {failovers['failures'] or f'walked on {len(walks)} times'}")


if __name__ == "__main__":
    main()
