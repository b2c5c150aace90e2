"""Collects representative observations, for quantization and for checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitd.policy.manifest import Float32Array, Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitforge.common import arrays, console, files
from gaitforge.common.arrays import Stats
from gaitforge.common.manifest import load_manifest
from gaitforge.data import acting
from gaitforge.data.environment import Environment, load_environment
from gaitforge.data.recorded import from_recording
from gaitforge.model.onnx_policy import PolicyOnnx, read_policy
from gaitforge.parity.capture import read_capture
from gaitforge.parity.normalizers import denormalize
from gaitforge.simulate import body
from gaitforge.simulate.body import Body
from gaitforge.simulate.terrain import Kind
from gaitforge.simulate.tour import TOUR_S, tour

SAMPLES = 1024


@dataclass(frozen=True)
class Collected:
    """Observations, one a row."""

    raw: Float32Array
    """(samples, dim) before normalization."""
    inputs: Float32Array
    """(samples, dim) as the model gets them."""
    manifest: Manifest | None = None
    """The contract that they are of, where it is known."""


def collect_environment(
    env: str, policy: str | None, stats: Stats | None, samples: int, seed: int = 0
) -> Collected:
    """Collect from the environment ``env`` (MODULE:FACTORY). Raises InputError."""
    raw = from_environment(load_environment(env), policy, stats, samples, seed)
    return Collected(raw, arrays.normalize(raw, stats))


def collect_simulated(
    manifest: Path,
    policy: Path,
    stats: Stats | None,
    samples: int,
    seed: int = 0,
    mjcf: Path | None = None,
    terrain: Kind = "flat",
    height_map: str | None = None,
) -> Collected:
    """Collect from walks of the simulated robot with an ONNX model. Raises InputError."""
    contract = load_manifest(manifest)
    arrays.check_stats(contract, stats, str(manifest))
    robot = body.find(contract, mjcf, terrain, height_map)
    rows = simulate(contract, policy, stats, samples, robot, seed)
    return _of_contract(contract, rows, stats)


def collect_recorded(recording: Path, manifest: Path, stats: Stats | None, samples: int) -> Collected:
    """Collect from a robot's recording, evenly, by a contract. Raises InputError."""
    contract = load_manifest(manifest)
    arrays.check_stats(contract, stats, str(manifest))
    return _of_contract(contract, arrays.thin(from_recording(recording, contract), samples), stats)


def collect_recorded_of_bundle(recording: Path, bundle: Path, samples: int) -> Collected:
    """Collect from a robot's recording, evenly, by a bundle's contract and statistics. Raises InputError."""
    opened = open_bundle(bundle)
    contract = opened.manifest
    return _of_contract(
        contract, arrays.thin(from_recording(recording, contract), samples), opened.obs_stats()
    )


def collect_captured(
    capture: Path, manifest: Path | None, bundle: Path | None, stats: Stats | None, samples: int
) -> Collected:
    """Collect the observations that a trainer's policy saw, evenly. Raises InputError."""
    captured = read_capture(capture)
    raw = arrays.thin(captured.observation, samples)
    if manifest is None and bundle is None:
        if captured.meta.observation == "normalized":
            return Collected(raw, raw, None)
        return Collected(raw, arrays.normalize(raw, stats), None)
    if bundle is not None:
        opened = open_bundle(bundle)
        contract, stats = opened.manifest, opened.obs_stats()
    elif manifest is not None:
        contract = load_manifest(manifest)
        arrays.check_stats(contract, stats, str(manifest))
    dim = PolicyPipeline(contract, None).builder.dim
    if raw.shape[1] != dim:
        raise InputError(f"{capture}: {raw.shape[1]} observation values, but the policy observes {dim}")
    if captured.meta.observation == "normalized" and contract.normalization is not None and stats is not None:
        return Collected(denormalize(raw, contract.normalization, stats), raw, contract)
    return _of_contract(contract, raw, stats)


def _of_contract(manifest: Manifest, raw: Float32Array, stats: Stats | None) -> Collected:
    return Collected(raw, normalized(manifest, raw, stats), manifest)


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
    stats: Stats | None,
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


def pipeline_actor(manifest: Manifest, policy: PolicyOnnx, stats: Stats | None) -> Acting:
    """Act with a model behind its contract's normalization."""
    return acting.of_model(policy, PolicyPipeline(manifest, stats).normalize)


def simulate(
    manifest: Manifest,
    policy: Path,
    stats: Stats | None,
    samples: int,
    robot: Body | None,
    seed: int = 0,
) -> Float32Array:
    """Observations (samples, dim), before normalization, of simulated walks. Raises InputError."""
    if robot is None:
        raise InputError(not_simulated(manifest))
    backend = read_policy(policy).backend()
    parts: list[Float32Array] = []
    # Whole tours: each shows every command; a thinned set of several keeps the variety.
    per_tour = int(TOUR_S / manifest.control_period_s)
    tours = -(-samples // per_tour)
    for number in range(tours):
        with console.step(f"Walk {number + 1} of {tours}"):
            parts.append(tour(manifest, backend, stats, seed=seed + number, body=robot))
    return arrays.thin(np.concatenate(parts), samples)


def not_simulated(manifest: Manifest) -> str:
    """Say what to do for a robot that is not simulated."""
    return (
        f"robot {manifest.robot!r} cannot be simulated here: give its model with --mjcf, or an environment "
        "with --env"
    )


def normalized(manifest: Manifest, raw: Float32Array, stats: Stats | None) -> Float32Array:
    """Model inputs (samples, dim) from observations before normalization."""
    pipeline = PolicyPipeline(manifest, stats)
    return np.stack([pipeline.normalize(row).copy() for row in raw])


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


def _progress(count: int) -> Iterator[int]:
    from tqdm import tqdm

    yield from tqdm(range(count), desc="Collecting", unit="obs", leave=False)
