"""A whole training: its processes watched, its progress shown, gone on with after an interruption."""

from __future__ import annotations

import json
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec

from gaitd.errors import GaitdError, InputError, ResourceError
from gaitforge.common import console, files
from gaitforge.common.manifest import dump_yaml, load_manifest
from gaitforge.train import checkpoints
from gaitforge.train.checkpoints import Checkpoint
from gaitforge.train.config import read_config, read_robot
from gaitforge.train.progress import Progress
from gaitforge.train.worker import LOST_ANOTHER, Iterated, Task, work

SETTINGS = "settings.yaml"
LOG = "log.jsonl"

_LAST_WORDS_S = 10.0
"""When one process has failed, the others have this long to say why."""


def read_task(config_path: Path, output: Path, processes: int, seed: int | None = None) -> Task:
    """Read everything that a training needs; ``seed`` replaces the settings'. Raises InputError."""
    config = read_config(config_path)
    if seed is not None:
        config = msgspec.structs.replace(config, seed=seed)
    beside = config_path.parent
    if config.environments % processes:
        raise InputError(
            f"{config_path}: environments: {config.environments} robots are not a whole number for each of "
            f"{processes} processes"
        )
    return Task(
        config=config,
        parameters=read_robot(beside / config.robot),
        manifest=load_manifest(beside / config.manifest),
        mjcf=beside / config.mjcf if config.mjcf is not None else None,
        checkpoints=output / "checkpoints",
        processes=processes,
    )


def train(
    task: Task, output: Path, on_checkpoint: Callable[[Checkpoint], object] | None = None
) -> Checkpoint:
    """Train, or go on with the training in ``output``, to its end; returns the last checkpoint.

    ``on_checkpoint`` sees each checkpoint while the training goes on. Raises InputError when ``output`` holds
    another training, GateError when the training diverges, ResourceError when the machine does not give what
    it needs.
    """
    output.mkdir(parents=True, exist_ok=True)
    _same_settings(task, output)
    begun = checkpoints.newest(task.checkpoints)
    done = begun.iteration if begun else 0
    _keep_log(output / LOG, done)
    if begun is not None and done < task.config.iterations:
        console.note(f"going on after iteration {done} of {task.config.iterations}")
    if done < task.config.iterations:
        with _processes(task) as running, Progress(task, output, done) as progress:
            for message in _messages(running):
                _log(output / LOG, message)
                progress.show(message)
                if message.checkpoint is not None and on_checkpoint is not None:
                    on_checkpoint(Checkpoint(message.iteration, message.checkpoint.parent))
    last = checkpoints.newest(task.checkpoints)
    assert last is not None
    return last


def _same_settings(task: Task, output: Path) -> None:
    # As text: what differs in it leads to another result.
    present = {
        "processes": task.processes,
        "settings": msgspec.to_builtins(task.config),
        "robot": msgspec.to_builtins(task.parameters),
        "manifest": msgspec.to_builtins(task.manifest),
    }
    text, path = dump_yaml(present).decode(), output / SETTINGS
    if not path.exists():
        files.write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise InputError(
            f"{output} holds a training with other settings, robot, manifest or number of processes (see "
            f"{path}): give another --output"
        )


def _keep_log(path: Path, iterations: int) -> None:
    """Drop what was logged after the checkpoint that the training goes on from."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:iterations]
        files.write_text(path, "".join(lines))


def _log(path: Path, message: Iterated) -> None:
    row = {"iteration": message.iteration, "seconds": round(message.seconds, 3)} | message.figures
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")


Running = dict[connection.Connection, BaseProcess]


@contextmanager
def _processes(task: Task) -> Iterator[Running]:
    spawn = multiprocessing.get_context("spawn")
    running: Running = {}
    with tempfile.TemporaryDirectory(prefix="gaitforge-train-") as folder:
        try:
            for rank in range(task.processes):
                receive, send = spawn.Pipe(duplex=False)
                process: BaseProcess = spawn.Process(
                    target=work, args=(task, rank, Path(folder) / "meeting", send), daemon=True
                )
                process.start()
                send.close()
                running[receive] = process
            yield running
        finally:
            for process in running.values():
                process.kill()
                process.join()


def _messages(running: Running) -> Iterator[Iterated]:
    """What the first process reports, until all have ended well; raises what ended one of them otherwise."""
    waiting = dict(running)
    failed: list[int] = []
    while waiting:
        ready = connection.wait(list(waiting), timeout=_LAST_WORDS_S if failed else None)
        if not ready:
            break
        for pipe in ready:
            assert isinstance(pipe, connection.Connection)
            try:
                message: Any = pipe.recv()
            except EOFError:
                process = waiting.pop(pipe)
                process.join()
                if process.exitcode:
                    failed.append(process.exitcode)
                continue
            if isinstance(message, GaitdError):
                raise message
            yield message
    again = "the same command goes on from the last checkpoint"
    if -signal.SIGKILL in failed:
        raise ResourceError(
            "a process of the training was killed, as the system does when memory runs out: lower "
            f"environments in the settings; {again}"
        )
    if failed:
        code = min(failed, key=lambda code: code == LOST_ANOTHER)
        raise ResourceError(
            f"a process of the training ended with exit code {code}; what it wrote stands above; {again}"
        )
