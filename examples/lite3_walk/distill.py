"""Makes lite3_walk.gaitd: a small policy that learned to walk by imitating a large one in closed loop.

DAgger: the student walks in the simulator under random commands and pushes, the teacher says what it would
have done in the very states that the student came into, and the student learns from all of them so far.

    python examples/lite3_walk/distill.py --teacher policy.onnx --seed 0 --output examples/lite3_walk
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

import gaitd
from gaitd.backends.onnx import OnnxBackend
from gaitd.bundle.read import open_bundle
from gaitd.policy.manifest import Manifest, Model
from gaitforge.bundle.golden import sample
from gaitforge.bundle.write import write_bundle
from gaitforge.simulate.direct import Infer, Step, run_bundle, run_direct
from gaitforge.simulate.script import CommandScript, Push
from gaitforge.simulate.tour import tour

Float32Array = npt.NDArray[np.float32]

OBSERVATION_DIM, ACTION_DIM = 45, 12
HIDDEN = (128, 64)
GRAVITY = slice(3, 6)
"""Where projected gravity stands in the observation."""
MAX_TILT_RAD = np.deg2rad(50.0)
"""What comes after is a fall: nothing to learn from."""

ROUNDS = 10
EPISODES_A_ROUND = 8
EPISODE_S = 12.0
EPOCHS_A_ROUND = 30
LAST_EPOCHS = 150
BATCH = 512
GOLDEN_ROWS = 256

EVALUATION = {
    "forward 1.0": (1.0, 0.0, 0.0),
    "forward 0.5": (0.5, 0.0, 0.0),
    "backward 1.0": (-1.0, 0.0, 0.0),
    "left 1.0": (0.0, 1.0, 0.0),
    "turn 1.0": (0.0, 0.0, 1.0),
    "stand": (0.0, 0.0, 0.0),
}
EVALUATION_S = 10.0
EVALUATION_SEEDS = (1000, 1001, 1002)
EVALUATION_PUSHES = (Push(3.0, 0.0, 0.8), Push(5.0, 0.8, 0.0), Push(7.0, -0.8, 0.0))


@dataclass
class Student:
    """The network, trained on standardized observations."""

    network: torch.nn.Sequential
    mean: torch.Tensor
    std: torch.Tensor

    @staticmethod
    def new() -> Student:
        sizes = (OBSERVATION_DIM, *HIDDEN)
        layers: list[torch.nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [torch.nn.Linear(before, after), torch.nn.ELU()]
        network = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], ACTION_DIM))
        return Student(network, torch.zeros(OBSERVATION_DIM), torch.ones(OBSERVATION_DIM))

    def fit(self, observations: Float32Array, actions: Float32Array, epochs: int) -> float:
        """Learn the teacher's actions; returns the last epoch's mean squared error."""
        x, y = torch.from_numpy(observations), torch.from_numpy(actions)
        self._standardize(x)
        x = (x - self.mean) / self.std
        optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        batches = -(-len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches, eta_min=2e-5)
        loss_sum = 0.0
        for _ in range(epochs):
            loss_sum = 0.0
            for chosen in torch.randperm(len(x)).split(BATCH):
                loss = torch.nn.functional.mse_loss(self.network(x[chosen]), y[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                loss_sum += float(loss.detach()) * len(chosen)
        return loss_sum / len(x)

    def _standardize(self, x: torch.Tensor) -> None:
        """Take over the data's mean and deviation without changing what the network computes."""
        mean, std = x.mean(0), x.std(0).clamp_min(1e-2)
        first = self.network[0]
        assert isinstance(first, torch.nn.Linear)
        with torch.no_grad():
            plain = first.weight / self.std
            first.bias += plain @ (mean - self.mean)
            first.weight.copy_(plain * std)
        self.mean, self.std = mean, std

    def onnx_bytes(self) -> bytes:
        """The network as ONNX, the standardization folded into the first layer."""
        nodes, constants, name = [], [], "obs"
        linears = [layer for layer in self.network if isinstance(layer, torch.nn.Linear)]
        for index, layer in enumerate(linears):
            weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
            if index == 0:
                weight = weight / self.std
                bias = bias - weight @ self.mean.double()
            for key, value in (("weight", weight), ("bias", bias)):
                constants.append(numpy_helper.from_array(value.float().numpy(), f"layer{index}.{key}"))
            last = index == len(linears) - 1
            out = "action" if last else f"layer{index}"
            inputs = [name, f"layer{index}.weight", f"layer{index}.bias"]
            nodes.append(helper.make_node("Gemm", inputs, [out], transB=1))
            if not last:
                nodes.append(helper.make_node("Elu", [out], [f"{out}.elu"]))
            name = f"{out}.elu"
        graph = helper.make_graph(
            nodes,
            "lite3_walk",
            [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, OBSERVATION_DIM])],
            [helper.make_tensor_value_info("action", TensorProto.FLOAT, [1, ACTION_DIM])],
            constants,
        )
        model = helper.make_model(
            graph, producer_name="gaitd", opset_imports=[helper.make_opsetid("", 13)], ir_version=8
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def random_script(rng: np.random.Generator) -> CommandScript:
    """Commands that change every one to three seconds: some zero, some along one axis, some full."""
    times, commands, now = [], [], 0.0
    while now < EPISODE_S:
        kind = rng.random()
        command = rng.uniform(-1.0, 1.0, 3)
        if kind < 0.1:
            command[:] = 0.0
        elif kind < 0.5:
            command *= np.eye(3)[rng.choice(3, p=(0.6, 0.2, 0.2))]
            command = np.sign(command) * np.minimum(1.0, np.abs(command) + 0.3 * (command != 0))
        times.append(now)
        commands.append((float(command[0]), float(command[1]), float(command[2])))
        now += rng.uniform(1.0, 3.0)
    return CommandScript(tuple(times), tuple(commands))


def random_pushes(rng: np.random.Generator) -> list[Push]:
    """About one push every four seconds."""
    times = np.sort(rng.uniform(0.0, EPISODE_S, rng.poisson(EPISODE_S / 4.0)))
    return [Push(float(now), *rng.uniform(-1.0, 1.0, 2).tolist()) for now in times]


def collect(manifest: Manifest, infer: Infer, rng: np.random.Generator) -> Float32Array:
    """Observations (steps, 45) of one episode, up to a fall."""
    observations: list[Float32Array] = []
    fallen = False

    def keep(step: Step) -> None:
        nonlocal fallen
        fallen = fallen or bool(-step.observation[GRAVITY][2] < np.cos(MAX_TILT_RAD))
        if not fallen:
            observations.append(step.observation)

    run_direct(
        manifest,
        infer,
        script=random_script(rng),
        seconds=EPISODE_S,
        seed=int(rng.integers(1000)),
        pushes=random_pushes(rng),
        on_step=keep,
    )
    return np.array(observations, np.float32).reshape(-1, OBSERVATION_DIM)


def distill(manifest: Manifest, teacher: Infer, seed: int) -> tuple[Student, dict[str, Any]]:
    """Train a student; returns it and the report of its rounds."""
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    rng = np.random.default_rng(seed)
    student = Student.new()
    infer = teacher  # in the first round the teacher walks
    observations = np.empty((0, OBSERVATION_DIM), np.float32)
    actions = np.empty((0, ACTION_DIM), np.float32)
    rounds = []
    for number in range(ROUNDS):
        fresh = np.concatenate([collect(manifest, infer, rng) for _ in range(EPISODES_A_ROUND)])
        labels = np.stack([teacher(row).copy() for row in fresh])
        own = np.stack([infer(row).copy() for row in fresh])
        observations, actions = np.concatenate((observations, fresh)), np.concatenate((actions, labels))
        loss = student.fit(observations, actions, LAST_EPOCHS if number == ROUNDS - 1 else EPOCHS_A_ROUND)
        infer = backend_of(student.onnx_bytes()).infer
        rounds.append(
            {
                "samples": len(observations),
                "steps_before_falls": len(fresh),
                "error_on_own_states_mse": float(np.mean((own - labels) ** 2)),
                "training_mse": loss,
            }
        )
        print(f"round {number}: {rounds[-1]}", flush=True)
    return student, {"rounds": rounds}


def backend_of(model: bytes) -> OnnxBackend:
    """A loaded student."""
    return OnnxBackend(model, Model(), OBSERVATION_DIM, ACTION_DIM)


def evaluate(manifest: Manifest, infer: Infer) -> dict[str, Any]:
    """Walk every command over several seeds, with and without pushes."""
    table: dict[str, Any] = {}
    for pushed, pushes in (("", ()), (", pushed", EVALUATION_PUSHES)):
        for name, command in EVALUATION.items():
            runs = [
                run_direct(
                    manifest,
                    infer,
                    script=CommandScript.constant(*command),
                    seconds=EVALUATION_S,
                    seed=seed,
                    pushes=pushes,
                ).measures
                for seed in EVALUATION_SEEDS
            ]
            table[name + pushed] = {
                "distance_m": [round(run.distance_m, 3) for run in runs],
                "falls": sum(run.falls for run in runs),
                "velocity_rmse_m_per_s": round(
                    float(np.mean([run.velocity_rmse_m_per_s for run in runs])), 4
                ),
                "yaw_rate_bias_rad_per_s": round(
                    float(np.mean([run.yaw_rate_bias_rad_per_s for run in runs])), 4
                ),
                "max_tilt_deg": round(max(run.max_tilt_deg for run in runs), 2),
            }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--teacher", type=Path, required=True, help="ONNX policy, obs [1,45] to actions [1,12]"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent, help="directory for the results"
    )
    args = parser.parse_args()
    began = time.monotonic()
    source = yaml.safe_load((Path(__file__).parent / "manifest.yaml").read_text())
    manifest = msgspec.convert({**source, "files": {}}, Manifest)
    teacher_bytes = args.teacher.read_bytes()
    teacher = OnnxBackend(teacher_bytes, Model(output="actions"), OBSERVATION_DIM, ACTION_DIM)
    student, report = distill(manifest, teacher.infer, args.seed)
    model = student.onnx_bytes()
    backend = backend_of(model)
    report |= {
        "seed": args.seed,
        "seconds_taken": round(time.monotonic() - began, 1),
        "student": evaluate(manifest, backend.infer),
        "teacher": evaluate(manifest, teacher.infer),
    }
    rows = sample(manifest, backend, tour(manifest, backend, None), None, rows=GOLDEN_ROWS)
    golden = io.BytesIO()
    np.savez_compressed(golden, observation=rows["observation"], action=rows["action"])
    source["provenance"] = {
        "method": "DAgger distillation in the simulator, examples/lite3_walk/distill.py",
        "seed": str(args.seed),
        "teacher": "policy.onnx of DeepRoboticsLab/Lite3_rl_deploy, see TEACHER_LICENSE",
        "teacher_sha256": hashlib.sha256(teacher_bytes).hexdigest(),
        "gaitd": gaitd.__version__,
    }
    text = json.dumps(report, indent=1) + "\n"
    bundle = write_bundle(
        args.output / "lite3_walk.gaitd",
        source,
        {"model.onnx": model, "golden.npz": golden.getvalue(), "report.json": text.encode()},
    )
    run = run_bundle(open_bundle(bundle), script=CommandScript.constant(1.0), seconds=EVALUATION_S)
    print(f"{bundle}: {run.distance_m:.2f} m in {EVALUATION_S:g} s at command 1.0, {run.falls} falls")


if __name__ == "__main__":
    main()
