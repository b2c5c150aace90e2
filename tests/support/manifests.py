"""Manifests as hypothesis draws them: of three joints, of any observation, action and limits."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from gaitd.policy.manifest import TermName
from gaitd.policy.sources import MOTION_STEP, NAMED
from support.bundles import small_manifest

JOINTS = ["hip", "thigh", "knee"]


@st.composite
def observations(draw: st.DrawFn) -> dict[str, Any]:
    """The observation section of a manifest: any terms, any number of times, any history."""
    layout = draw(st.sampled_from(["frame_major", "term_major"]))
    terms = []
    period_s = draw(st.floats(0.1, 2))
    declared = {*NAMED, MOTION_STEP}  # those of format 2 have tests of their own
    names = st.sampled_from([name for name in get_args(TermName) if name not in declared])
    for name in draw(st.lists(names, min_size=1, max_size=5)):
        dim = 2 if name == "clock_phase" else 3
        term: dict[str, Any] = {"term": name}
        scale = draw(st.none() | st.floats(-4, 4) | st.lists(st.floats(-4, 4), min_size=dim, max_size=dim))
        if scale is not None:
            term["scale"] = scale
        if draw(st.booleans()):
            low = draw(st.floats(-2, 1))
            term["clip"] = [low, low + draw(st.floats(0.1, 2))]
        term["delay_steps"] = draw(st.integers(0, 3))
        if name == "clock_phase":
            term["period_s"] = period_s
        if layout == "term_major" and draw(st.booleans()):
            term["history_length"] = draw(st.integers(1, 4))
        terms.append(term)
    history = {
        "length": draw(st.integers(1, 4)),
        "layout": layout,
        "order": draw(st.sampled_from(["oldest_first", "newest_first"])),
        "fill": draw(st.sampled_from(["first_frame", "zeros"])),
    }
    return {"terms": terms, "history": history, **draw(st.sampled_from([{}, {"clip": 1.5}]))}


@st.composite
def position_policies(draw: st.DrawFn) -> dict[str, Any]:
    """A manifest whose joints all follow positions: with one model, any action and any limits."""
    observation = draw(observations())
    if draw(st.booleans()):
        observation["terms"].append({"term": "joint_velocity", "joints": draw(st.permutations(JOINTS))})
    held = draw(st.sampled_from([[], ["thigh"]]))
    moved = [name for name in JOINTS if name not in held]
    action = draw(_actions(len(moved)))
    changes: dict[str, Any] = {}
    if held:
        changes["held_joints"] = {
            "joints": held, "stiffness_nm_per_rad": 20.0, "damping_nms_per_rad": 1.0,
        }  # fmt: skip
    if draw(st.booleans()):
        action = [{"joints": moved, "target": "position", **action}]
        if draw(st.booleans()):
            action[0]["low_pass"] = {"share": draw(st.floats(0.1, 1.0))}
    dim = {term["term"]: 2 if term["term"] == "clock_phase" else 3 for term in observation["terms"]}
    for term in observation["terms"]:  # what a term shows without `joints` are the joints that move
        if held and isinstance(term.get("scale"), list) and dim[term["term"]] == 3:
            term.pop("scale")
    return small_manifest(
        format=2, observation=observation, action=action, limits=draw(_limits(len(moved))), **changes
    )


@st.composite
def _actions(draw: st.DrawFn, joints: int) -> dict[str, Any]:
    scale = st.floats(-0.5, 0.5, width=32, allow_subnormal=False)
    action: dict[str, Any] = {
        "scale": draw(st.lists(scale, min_size=joints, max_size=joints)),
        "stiffness_nm_per_rad": draw(st.lists(st.floats(5, 60), min_size=joints, max_size=joints)),
        "damping_nms_per_rad": draw(st.lists(st.floats(0.1, 3), min_size=joints, max_size=joints)),
    }
    if draw(st.booleans()):
        action["offset"] = draw(st.lists(st.floats(-0.3, 0.3), min_size=joints, max_size=joints))
    if draw(st.booleans()):
        action["clip"] = [-draw(st.floats(0.5, 3)), draw(st.floats(0.5, 3))]
    if draw(st.booleans()):
        action["target_clip"] = {"min_rad": -draw(st.floats(0.1, 2)), "max_rad": draw(st.floats(0.1, 2))}
    return action


@st.composite
def _limits(draw: st.DrawFn, joints: int) -> dict[str, Any]:
    response = st.sampled_from(["clamp", "damp"])
    position = {"min_rad": [-0.6, -3.5, 0.3], "max_rad": [0.6, 0.4, 2.8]}
    limits: dict[str, Any] = {"position": {**position, "response": draw(response)}}
    if draw(st.booleans()):
        limits["slew"] = {"max_rad_per_step": draw(st.floats(0.05, 1)), "response": draw(response)}
    if draw(st.booleans()):
        most = draw(st.lists(st.floats(5, 60), min_size=joints, max_size=joints))
        limits["torque"] = {"max_nm": most, "response": draw(response)}
    if draw(st.booleans()):
        limits["state"] = {"max_velocity_rad_per_s": draw(st.floats(5, 50)), "position_margin_rad": 0.5}
    if draw(st.booleans()):
        limits["posture"] = {
            "max_tilt_rad": draw(st.floats(0.5, 3.1)), "max_start_error_rad": draw(st.floats(0.1, 2)),
        }  # fmt: skip
    if draw(st.booleans()):
        limits["repetition"] = {"max_joint_motion_rad": draw(st.floats(0.05, 1))}
    return limits
