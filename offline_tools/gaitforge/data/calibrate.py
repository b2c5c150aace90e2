"""gaitforge calibrate: representative observations, for quantization and for checks."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitd.policy.contract import JOINT_TERMS, Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.bundle import golden
from gaitforge.common import console, files
from gaitforge.data import acting, arrays
from gaitforge.data.environment import Environment, load_environment
from gaitforge.data.recorded import from_recording
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy

if TYPE_CHECKING:
    from gaitforge.cli import Subparsers

SAMPLES = 1024
SATURATED = 0.2
"""A value that stands at its smallest or largest in this share of the samples is saturated."""

THIN_SAMPLES = 512
"""Fewer samples than this are a thin base for ranges."""

LATE_GROWTH = 0.05
"""Ranges that grow by more than this in the last quarter of the samples have not settled."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="collect representative observations",
        description="Collect model inputs from an environment, from the simulated robot or from a recording.",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--env", metavar="MODULE:FACTORY", help="environment with reset and step")
    source.add_argument("--simulate", action="store_true", help="the simulated robot (needs --manifest)")
    source.add_argument(
        "--recording",
        type=Path,
        metavar="FILE",
        help="a robot's recording (needs --bundle or --manifest)",
    )
    parser.add_argument(
        "--policy",
        help="what acts: an ONNX file or module:Class; 'random' for noise (default with --env)",
    )
    contract = parser.add_mutually_exclusive_group()
    contract.add_argument(
        "--manifest", type=Path, help="the policy's contract, for --simulate and --recording"
    )
    contract.add_argument("--bundle", type=Path, help="the policy's bundle, for --recording")
    parser.add_argument(
        "--obs-stats", type=Path, help=".npz with mean and std that observations are normalized with"
    )
    parser.add_argument("--samples", type=int, default=SAMPLES, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("calib_obs.npy"), help="default: %(default)s")
    parser.add_argument("--raw-output", type=Path, help="also write them as they were before normalization")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Collect, write and judge."""
    if args.samples < 1:
        raise InputError(f"--samples {args.samples}: at least one is needed")
    stats = arrays.read_obs_stats(args.obs_stats) if args.obs_stats is not None else None
    manifest = None
    if args.simulate:
        if args.manifest is None or args.policy is None:
            raise InputError("--simulate needs --manifest and --policy")
        manifest = _manifest(args.manifest)
        stats = arrays.contract_stats(manifest, args.obs_stats, str(args.manifest))
        raw = simulate(manifest, Path(args.policy), stats, args.samples, args.seed)
        inputs = normalized(manifest, raw, stats)
    elif args.recording is not None:
        manifest, stats = _contract(args.manifest, args.bundle, args.obs_stats)
        raw = arrays.thin(from_recording(args.recording, manifest), args.samples)
        inputs = normalized(manifest, raw, stats)
    else:
        raw = from_environment(load_environment(args.env), args.policy, stats, args.samples, args.seed)
        inputs = arrays.normalize(raw, stats)
    for path, rows in ((args.output, inputs), (args.raw_output, raw)):
        if path is not None:
            save(path, rows)
            console.say(f"wrote {path}: {len(rows)} observations of {rows.shape[1]} values")
    report(inputs, manifest)


def save(path: Path, rows: Float32Array) -> None:
    """Write observations to a .npy file, or as ``obs`` in an .npz file."""
    with files.replacing(path) as beside, beside.open("wb") as stream:
        if path.suffix == ".npz":
            np.savez(stream, obs=rows)
        else:
            np.save(stream, rows)


def from_environment(
    environment: Environment,
    policy: str | None,
    stats: tuple[Float32Array, Float32Array] | None,
    samples: int,
    seed: int = 0,
) -> Float32Array:
    """Observations (samples, dim), before normalization. Raises InputError."""
    act, start_episode = _actor(environment, policy, seed)

    def of_raw(observation: Float32Array) -> Float32Array:
        if stats is not None and len(stats[0]) != len(observation):
            raise InputError(
                f"the statistics are for {len(stats[0])} values, but the environment gives {len(observation)}"
            )
        return act(arrays.normalize(observation[None], stats)[0])

    return roll_out(environment, (of_raw, start_episode), samples)


Acting = tuple[acting.Act, Callable[[], None]]
"""How to act on an observation, and how to start an episode."""


def roll_out(environment: Environment, actor: Acting, samples: int) -> Float32Array:
    """Observations (samples, dim), before normalization, of as many episodes as it takes."""
    act, start_episode = actor
    observation = environment.reset()
    rows = np.empty((samples, len(observation)), np.float32)
    start_episode()
    for index in _progress(samples):
        rows[index] = observation
        result = environment.step(act(observation))
        observation = result.observation
        if result.done:
            observation = environment.reset()
            start_episode()
    return rows


def pipeline_actor(
    manifest: Manifest, policy: PolicyOnnx, stats: tuple[Float32Array, Float32Array] | None
) -> Acting:
    """Act with a model behind its contract's normalization."""
    return acting.of_model(policy, PolicyPipeline(manifest, stats).normalize)


def simulate(
    manifest: Manifest,
    policy: Path,
    stats: tuple[Float32Array, Float32Array] | None,
    samples: int,
    seed: int = 0,
) -> Float32Array:
    """Observations (samples, dim), before normalization, of simulated walks. Raises InputError."""
    if not golden.can_simulate(manifest):
        raise InputError(f"robot {manifest.robot!r} cannot be simulated here: give an environment with --env")
    backend = read_policy(policy).backend()
    parts: list[Float32Array] = []
    # Whole tours: each shows every command; a thinned set of several keeps the variety.
    per_tour = int(golden.TOUR_S / manifest.control_period_s)
    tours = -(-samples // per_tour)
    for number in range(tours):
        with console.step(f"Walk {number + 1} of {tours}"):
            parts.append(golden.tour(manifest, backend, stats, seed=seed + number))
    return arrays.thin(np.concatenate(parts), samples)


def normalized(
    manifest: Manifest, raw: Float32Array, stats: tuple[Float32Array, Float32Array] | None
) -> Float32Array:
    """Model inputs (samples, dim) from observations before normalization."""
    pipeline = PolicyPipeline(manifest, stats)
    return np.stack([pipeline.normalize(row).copy() for row in raw])


def report(rows: Float32Array, manifest: Manifest | None = None) -> list[str]:
    """Print the range of every term and what is suspicious; returns the suspicions."""
    blocks = _terms(manifest, rows.shape[1])
    lines = [["values", "min", "mean", "max", "std"]]
    for name, part in blocks:
        chosen = rows[:, part]
        figures = (chosen.min(), chosen.mean(), chosen.max(), chosen.std())
        lines.append([name, *(f"{float(figure):.3f}" for figure in figures)])
    console.say(console.table(lines))
    suspicions = _suspicions(rows, blocks)
    for suspicion in suspicions:
        console.note(suspicion)
    return suspicions


def _suspicions(rows: Float32Array, blocks: list[tuple[str, list[int]]]) -> list[str]:
    found = []
    low, high = rows.min(axis=0), rows.max(axis=0)
    constant = high == low
    at_edge = np.maximum((rows == low).mean(axis=0), (rows == high).mean(axis=0))
    saturated = (at_edge > SATURATED) & ~constant & (len(rows) >= 10)
    for what, mask in (("never change", constant), ("stand at their limit often", saturated)):
        for name, part in blocks:
            count = int(mask[part].sum())
            if count:
                found.append(f"{name}: {count} of {len(part)} values {what}")
    if len(rows) < THIN_SAMPLES:
        found.append(f"coverage is thin: {len(rows)} samples, better {THIN_SAMPLES} and more")
    elif _late_growth(rows) > LATE_GROWTH:
        found.append(
            f"coverage is thin: ranges still grew by {100 * _late_growth(rows):.0f} % in the last quarter"
        )
    return found


def _late_growth(rows: Float32Array) -> float:
    """By how much the ranges' mean width grew in the last quarter of the samples, as a fraction."""
    early, full = np.ptp(rows[: len(rows) * 3 // 4], axis=0), np.ptp(rows, axis=0)
    moving = full > 0
    return float(1.0 - (early[moving] / full[moving]).mean()) if moving.any() else 0.0


def _terms(manifest: Manifest | None, dim: int) -> list[tuple[str, list[int]]]:
    """Name parts of the observation: the manifest's terms, or all values as one."""
    if manifest is None:
        return [("all", list(range(dim)))]
    history = manifest.observation.history
    sizes = [
        (
            term.term,
            len(manifest.joints) if term.term in JOINT_TERMS else 2 if term.term == "clock_phase" else 3,
            history.length if term.history_length is None else term.history_length,
        )
        for term in manifest.observation.terms
    ]
    if history.layout == "term_major":
        starts = np.cumsum([0, *(size * length for _, size, length in sizes)])
        return [(name, list(range(starts[i], starts[i + 1]))) for i, (name, _, _) in enumerate(sizes)]
    starts = np.cumsum([0, *(size for _, size, _ in sizes)])
    frames = [frame * int(starts[-1]) for frame in range(history.length)]
    return [
        (name, [frame + value for frame in frames for value in range(starts[i], starts[i + 1])])
        for i, (name, _, _) in enumerate(sizes)
    ]


def _actor(environment: Environment, policy: str | None, seed: int) -> Acting:
    if policy not in (None, "random"):
        return acting.load_actor(str(policy))
    if policy is None:
        console.note(
            "acting at random, as no --policy is given: a model quantized with observations that it does not "
            "meet is several times less accurate"
        )
    dim = environment.action_dim()
    if dim is None:
        raise InputError("the environment does not tell the length of its action: give --policy")
    return acting.random_actions(dim, seed), lambda: None


def _manifest(path: Path) -> Manifest:
    from gaitforge.bundle.pack import checked_manifest, read_manifest

    return checked_manifest(read_manifest(path), str(path))


def _contract(
    manifest: Path | None, bundle: Path | None, stats: Path | None
) -> tuple[Manifest, tuple[Float32Array, Float32Array] | None]:
    """The contract that a recording is read with, and the statistics; a bundle has its own."""
    if manifest is not None:
        contract = _manifest(manifest)
        return contract, arrays.contract_stats(contract, stats, str(manifest))
    if bundle is None:
        raise InputError("--recording needs --bundle or --manifest")
    if stats is not None:
        raise InputError("--obs-stats: a bundle has its own statistics; give --manifest instead of --bundle")
    opened = open_bundle(bundle)
    return opened.manifest, opened.obs_stats()


def _progress(count: int) -> Iterator[int]:
    from tqdm import tqdm

    yield from tqdm(range(count), desc="Collecting", unit="obs", leave=False)
