"""Every kind of error, planted into good manifests of three robots: named, and never called equal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plants import Plant, plants
from trainers import ROBOTS, Spec, changed, write_bundle_of, write_capture

from gaitd.bundle.read import open_bundle
from gaitforge.parity.capture import Capture, read_capture
from gaitforge.parity.compare import compare
from gaitforge.parity.findings import Comparison, Kind

RIGHT = 0.95
"""The share of planted errors that must be named with kind, term and joint."""


def compared(directory: Path, plant: Plant, captures: dict[int, Capture]) -> Comparison:
    """``captures``: of trainers that were captured before, without options."""
    options: dict[str, Any] = dict(plant.capture)
    stats = options.pop("bundle_stats", None)
    packed = plant.trainer if stats is None else replace(plant.trainer, stats=stats)
    bundle = write_bundle_of(directory / "policy.gaitd", packed, plant.manifest)
    capture = captures.get(id(plant.trainer)) if not options else None
    if capture is None:
        path = write_capture(directory / "capture.npz", plant.trainer, episodes=2, **options)
        capture = read_capture(path)
    if not options:
        captures[id(plant.trainer)] = capture
    return compare(open_bundle(bundle), capture)


def is_named(plant: Plant, comparison: Comparison) -> bool:
    names = [term["term"] for term in plant.manifest["observation"]["terms"]]
    found = {
        None if finding.term is None else names[finding.term]: finding
        for finding in comparison.findings
        if finding.kind is plant.kind
    }
    if not found or not all(term in found for term in plant.terms):
        return False
    return not plant.values or all(found[term].values == plant.values for term in plant.terms)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("robot", "every"),
    [("quadruped", 4), *(pytest.param(each, 1, marks=pytest.mark.thorough) for each in ROBOTS)],
)
def test_planted_errors_are_named(robot: str, every: int, tmp_path: Path) -> None:
    planted = list(plants(ROBOTS[robot]()))
    assert len(planted) >= 60
    planted = planted[::every]
    captures: dict[int, Capture] = {}
    wrong, called_equal, not_fixed = [], [], []
    for plant in planted:
        comparison = compared(tmp_path, plant, captures)
        if not is_named(plant, comparison):
            wrong.append(plant.name)
        if comparison.equal:
            called_equal.append(plant.name)
        if plant.fixable and comparison.left_after_change != []:
            not_fixed.append(plant.name)
    assert not called_equal
    assert len(wrong) <= (1.0 - RIGHT) * len(planted), wrong
    # The proposed change was tried, and makes the terms equal.
    assert len(not_fixed) <= (1.0 - RIGHT) * len(planted), not_fixed


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_good_manifest_is_equal(robot: str, tmp_path: Path) -> None:
    spec: Spec = ROBOTS[robot]()
    bundle = open_bundle(write_bundle_of(tmp_path / "policy.gaitd", spec))
    capture = read_capture(write_capture(tmp_path / "capture.npz", spec, seed=3, episodes=2))
    comparison = compare(bundle, capture)
    assert comparison.findings == []
    assert not comparison.change


def test_what_stood_still_is_not_called_equal(tmp_path: Path) -> None:
    spec = ROBOTS["quadruped"]()
    bundle = open_bundle(write_bundle_of(tmp_path / "policy.gaitd", spec))
    capture = write_capture(tmp_path / "capture.npz", spec, episodes=2, moving_command=False)
    (finding,) = compare(bundle, read_capture(capture)).findings
    assert (finding.kind.value, finding.values) == ("not judged", ("[1]", "[2]"))


def cut(path: Path, first: int) -> Path:
    """The capture without its first steps: it begins in the middle of an episode."""
    arrays = dict(np.load(path))
    whole = {name: arrays.pop(name) for name in ("meta",)}
    np.savez(path, **whole, **{name: array[first:] for name, array in arrays.items()})
    return path


def test_a_capture_from_the_middle_of_an_episode_is_judged_as_far_as_it_is_known(tmp_path: Path) -> None:
    spec = ROBOTS["humanoid"]()
    capture = read_capture(cut(write_capture(tmp_path / "capture.npz", spec), 30))
    bundle = open_bundle(write_bundle_of(tmp_path / "policy.gaitd", spec))
    (finding,) = compare(bundle, capture).findings
    assert (finding.kind.value, finding.text) == ("not judged", "the capture has no reset at its first step")
    wrong = changed(spec, lambda manifest: manifest["observation"]["terms"][4].update(scale=1.0))
    bundle = open_bundle(write_bundle_of(tmp_path / "wrong.gaitd", spec, wrong))
    assert {(f.term, f.kind.value) for f in compare(bundle, capture).findings} == {
        (4, "factor"),
        (6, "not judged"),
    }


def test_a_hidden_state_from_before_the_capture_is_not_judged(tmp_path: Path) -> None:
    spec = ROBOTS["biped"]()
    capture = read_capture(cut(write_capture(tmp_path / "capture.npz", spec), 30))
    bundle = open_bundle(write_bundle_of(tmp_path / "policy.gaitd", spec))
    (finding,) = compare(bundle, capture).findings
    assert (finding.part, finding.kind.value) == ("model", "not judged")


def test_several_errors_at_once_are_named_and_the_change_fixes_them_all(tmp_path: Path) -> None:
    spec = ROBOTS["quadruped"]()

    def edit(manifest: dict[str, Any]) -> None:
        terms = manifest["observation"]["terms"]
        terms[1]["scale"], terms[5]["delay_steps"], terms[4]["term"] = 0.25, 1, "joint_position"
        terms[2], terms[3] = terms[3], terms[2]
        joints = manifest["joints"]
        joints[0], joints[1] = joints[1], joints[0]

    bundle = open_bundle(write_bundle_of(tmp_path / "policy.gaitd", spec, changed(spec, edit)))
    comparison = compare(bundle, read_capture(write_capture(tmp_path / "capture.npz", spec, episodes=2)))
    kinds = {finding.kind for finding in comparison.findings}
    assert {Kind.FACTOR, Kind.LATE, Kind.PERMUTATION, Kind.DEFAULT_POSE_MISSING} <= kinds
    assert comparison.left_after_change == []


def test_another_control_period_is_named(tmp_path: Path) -> None:
    spec = ROBOTS["quadruped"]()
    faster = {**spec.manifest, "control_period_s": 0.01}
    bundle = open_bundle(write_bundle_of(tmp_path / "policy.gaitd", spec, faster))
    capture = read_capture(write_capture(tmp_path / "capture.npz", spec))
    (finding,) = compare(bundle, capture).findings
    assert (finding.part, finding.kind) == ("capture", Kind.PERIOD)
