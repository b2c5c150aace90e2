"""A process of the training."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from gaitd.errors import GaitdError, ResourceError
from gaitd.policy.manifest import Manifest
from gaitd.system.with_parent import end_with
from gaitforge.train.config import Config, RobotParameters

LOST_ANOTHER = 3
"""Exit code of a process whose partner ended, which says why."""


@dataclass(frozen=True)
class Task:
    """What is trained, and where its checkpoints go."""

    config: Config
    parameters: RobotParameters
    manifest: Manifest
    mjcf: Path | None
    checkpoints: Path
    processes: int
    begin_with: Path | None = None
    """A checkpoint of another training, whose networks this one begins with."""


@dataclass(frozen=True)
class Iterated:
    """An iteration is over."""

    iteration: int
    """Counted from 1."""
    figures: dict[str, float]
    seconds: float
    checkpoint: Path | None
    """The networks, if they were written."""


def work(task: Task, rank: int, meeting: Path, report: Connection) -> None:
    """Train as process ``rank``; the first reports each iteration, every one the error that ends it.

    The processes meet through the file ``meeting``, which is not there before.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    end_with(parent.pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process of all ends this one
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        _train(task, rank, meeting, report)
    except GaitdError as error:
        report.send(error)
    except MemoryError:
        report.send(_too_large(task))
    except (RuntimeError, ValueError) as error:  # the latter is MuJoCo's
        if "allocate memory" in str(error) or "bad_alloc" in str(error):
            report.send(_too_large(task))
        elif "gloo" in str(error):
            sys.exit(LOST_ANOTHER)
        else:
            raise


def _too_large(task: Task) -> GaitdError:
    return ResourceError(
        f"not enough memory for {task.config.environments} robots: lower environments in the settings"
    )


def _train(task: Task, rank: int, meeting: Path, report: Connection) -> None:
    import torch
    import torch.distributed

    from gaitforge.train import checkpoints
    from gaitforge.train.environment import Environment
    from gaitforge.train.learner import Learner
    from gaitforge.train.warm import begin_with

    torch.set_num_threads(1)
    config, world = task.config, task.processes
    if world > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world
        )
    environment = Environment(
        config,
        task.parameters,
        task.manifest,
        task.mjcf,
        count=config.environments // world,
        seed=(config.seed, rank),
    )
    learner = Learner(config, environment, rank, world)
    begun = checkpoints.newest(task.checkpoints)
    if begun is not None:
        checkpoints.load(begun, learner, rank)
    elif task.begin_with is not None:
        begin_with(task.begin_with, learner)
    for iteration in range(begun.iteration if begun else 0, config.iterations):
        start = time.monotonic()
        figures = learner.iterate(iteration)
        done, saved = iteration + 1, None
        if done % config.checkpoint_every == 0 or done == config.iterations:
            saved = checkpoints.save(task.checkpoints, done, learner, rank, world).model
        if rank == 0:
            report.send(Iterated(done, figures, time.monotonic() - start, saved))
