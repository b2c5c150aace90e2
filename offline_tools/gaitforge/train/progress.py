"""What a person sees of a training, and TensorBoard's log."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from gaitforge.common import console
from gaitforge.train.worker import Iterated, Task

_EVERY = 10
"""Iterations to a line."""


class Progress:
    """A line every ten iterations, the rewards by term at each checkpoint, everything to TensorBoard."""

    def __init__(self, task: Task, output: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._task = task
        self._writer = SummaryWriter(str(output / "tensorboard"), purge_step=done + 1)
        self._first, self._start = done, time.monotonic()
        console.say(
            f"{task.config.environments} robots in {task.processes} processes; watch it with: "
            f"tensorboard --logdir {output / 'tensorboard'}"
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def show(self, message: Iterated) -> None:
        """Show an iteration that is over."""
        config, figures = self._task.config, message.figures
        steps = config.environments * config.learning.horizon
        for name, value in {**figures, "steps_per_s": steps / message.seconds}.items():
            self._writer.add_scalar(name, value, message.iteration)
        if message.iteration % _EVERY == 0 or message.iteration == config.iterations:
            passed = time.monotonic() - self._start
            mean_s = passed / (message.iteration - self._first)
            left_s = mean_s * (config.iterations - message.iteration)
            console.say(
                f"{message.iteration:5d}/{config.iterations}  {steps / mean_s:6.0f} steps/s  "
                f"{left_s / 60:4.1f} min left  reward {figures['reward']:6.2f}/s  "
                f"off by {figures['velocity_error_m_per_s']:.2f} m/s "
                f"{figures['turning_error_rad_per_s']:.2f} rad/s  "
                f"{figures['falls_per_10_s']:.2f} falls in 10 s"
            )
        if message.checkpoint is not None:
            rows = [["reward", "a second"]]
            rows += [
                [name.removeprefix("reward/"), f"{value:+.3f}"]
                for name, value in figures.items()
                if name.startswith("reward/")
            ]
            console.say(f"{console.table(rows)}\nwrote {message.checkpoint}")
