"""A short video of what a checkpoint does."""

from __future__ import annotations

from pathlib import Path

from gaitd.backends.onnx import OnnxBackend
from gaitd.policy.observation import ObservationBuilder
from gaitforge.common import console
from gaitforge.simulate.body import find
from gaitforge.simulate.direct import run_direct
from gaitforge.simulate.render import save_video
from gaitforge.simulate.robot import Robot
from gaitforge.simulate.tour import tour_script
from gaitforge.train.checkpoints import Checkpoint
from gaitforge.train.finish import export_policy
from gaitforge.train.worker import Task

SECONDS = 6.0


def render(task: Task, checkpoint: Checkpoint, folder: Path) -> Path:
    """Stand, walk and run in the simulator of ``gaitforge simulate``; returns the video's path.

    Raises InputError when nothing can be drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{checkpoint.iteration:06d}.mp4"
    model = export_policy(task, checkpoint, path.with_suffix(".onnx"))
    dim, joints = ObservationBuilder(task.manifest).dim, len(task.manifest.joints)
    backend = OnnxBackend(model, task.manifest.model, dim, joints)
    seen = task.config.height_map
    body = find(task.manifest, task.mjcf, task.config.terrain, None if seen is None else seen.stream)
    robot = Robot(body=body)
    run = run_direct(task.manifest, backend, script=tour_script(task.manifest), seconds=SECONDS, robot=robot)
    save_video(run.trace, path, robot)
    console.say(f"wrote {path}: {run.distance_m:.1f} m, {run.falls} falls")
    return path
