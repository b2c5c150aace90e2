"""What follows the last iteration: the model, how it walks, and a verified bundle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from gaitd.bundle.read import open_bundle
from gaitd.errors import GateError
from gaitd.policy.observation import ObservationBuilder
from gaitforge.chain.pipeline import Options, make_bundle
from gaitforge.checkpoint.choices import Choices
from gaitforge.common import console, files
from gaitforge.model.export import export
from gaitforge.train.checkpoints import Checkpoint
from gaitforge.train.evaluate import EPISODES, FULL_M_PER_S, Evaluation, Policy, Result, as_rows, onnx_policy
from gaitforge.train.picture import save_gait
from gaitforge.train.worker import Task

ACTIVATION = "elu"
"""Of the networks that are trained here."""

_SHOWN_S = 3.0
"""The last of an episode, in gait.png."""


def export_policy(task: Task, checkpoint: Checkpoint, path: Path) -> bytes:
    """Write a checkpoint's actor as ONNX; returns it."""
    export(checkpoint.model, path, choices=_choices(task), separate_normalizer=True)
    return path.read_bytes()


def evaluate(
    task: Task, checkpoint: Checkpoint, output: Path, against: Path | None, episodes: int = EPISODES
) -> Result:
    """Let the policy, and the bundle ``against`` if given, walk the same episodes.

    Writes evaluation.json, and gait.png of the policy.
    """
    policy = onnx_policy(export_policy(task, checkpoint, output / "policy.onnx"))
    judge = Evaluation(task.config, task.parameters, task.mjcf, task.processes)
    with console.step(f"Walking {episodes} episodes"):
        results = {task.manifest.name: judge.judge(policy, task.manifest, episodes)}
        _draw(task, judge, policy, output / "gait.png")
    if against is not None:
        bundle = open_bundle(against)
        with console.step(f"The same with {against}"):
            other = onnx_policy(bundle.read_bytes("model.onnx"))
            results[bundle.manifest.name] = judge.judge(other, bundle.manifest, episodes)
    console.say(console.table(as_rows(results)))
    text = json.dumps({name: asdict(result) for name, result in results.items()}, indent=1) + "\n"
    files.write_text(output / "evaluation.json", text)
    return results[task.manifest.name]


def _draw(task: Task, judge: Evaluation, policy: Policy, path: Path) -> None:
    period_s = task.manifest.control_period_s
    shown = round(_SHOWN_S / period_s)
    commands = {
        f"asked for {FULL_M_PER_S} m/s": (FULL_M_PER_S, 0.0, 0.0),
        "asked to stand": (0.0, 0.0, 0.0),
    }
    contacts = {
        title: judge.feet(policy, task.manifest, command)[-shown:] for title, command in commands.items()
    }
    save_gait(contacts, task.parameters.feet, period_s, path)


def check_walks(result: Result) -> None:
    """Raise GateError for a policy that falls more often than once in ten episodes."""
    if result.falls * 10 > result.episodes:
        raise GateError(
            f"the policy fell in {result.falls} of {result.episodes} episodes: no bundle is made of it; "
            "train longer, or see docs/training.md on what to change"
        )


def bundle(task: Task, checkpoint: Checkpoint, manifest: Path, output: Path) -> Path:
    """Make a verified bundle by the chain; returns its path."""
    options = Options(
        checkpoint=checkpoint.model,
        manifest=manifest,
        choices=_choices(task),
        mjcf=task.mjcf,
        terrain=task.config.terrain,
        height_map=None if task.config.height_map is None else task.config.height_map.stream,
    )
    return make_bundle(options, output / "bundle").bundle


def _choices(task: Task) -> Choices:
    return Choices(
        activation=ACTIVATION,
        obs_dim=ObservationBuilder(task.manifest).dim,
        act_dim=len(task.manifest.joints),
    )
