"""Checkpoints of a training: a folder each, whole or not there."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed

from gaitd.errors import InputError

if TYPE_CHECKING:
    from gaitforge.train.learner import Learner


@dataclass(frozen=True)
class Checkpoint:
    """A written checkpoint."""

    iteration: int
    """Iterations that it has behind it."""
    folder: Path

    @property
    def model(self) -> Path:
        """The networks and the optimizer, in rsl_rl's layout."""
        return self.folder / f"model_{self.iteration}.pt"

    def share(self, rank: int) -> Path:
        """What else one process needs to go on."""
        return self.folder / f"process_{rank}.pt"


def newest(directory: Path) -> Checkpoint | None:
    """Return the last whole checkpoint of a training, if any."""
    found = [folder for folder in directory.glob("*") if re.fullmatch(r"\d{6}", folder.name)]
    return _at(directory, max(int(folder.name) for folder in found)) if found else None


def save(directory: Path, iteration: int, learner: Learner, rank: int, world: int) -> Checkpoint:
    """Write a checkpoint together with the other processes; it counts once all have written their part."""
    whole = _at(directory, iteration)
    part = Checkpoint(iteration, directory / f".{iteration:06d}.part")
    if rank == 0:
        shutil.rmtree(part.folder, ignore_errors=True)
        part.folder.mkdir(parents=True)
    _wait(world)
    torch.save(learner.state(), part.share(rank))
    if rank == 0:
        torch.save({**learner.ppo.save(), "iter": iteration, "infos": None}, part.model)
    _wait(world)
    if rank == 0:
        part.folder.rename(whole.folder)
    return whole


def load(checkpoint: Checkpoint, learner: Learner, rank: int) -> None:
    """Go on from a checkpoint. Raises InputError when a process has no part in it."""
    if not checkpoint.share(rank).is_file():
        raise InputError(
            f"{checkpoint.folder} has nothing for process {rank}: give another --output, or delete it"
        )
    learner.ppo.load(_read(checkpoint.model), None, strict=True)
    learner.restore(_read(checkpoint.share(rank)))


def _at(directory: Path, iteration: int) -> Checkpoint:
    return Checkpoint(iteration, directory / f"{iteration:06d}")


def _wait(world: int) -> None:
    if world > 1:
        torch.distributed.barrier()


def _read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded
