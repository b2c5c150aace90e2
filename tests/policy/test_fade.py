"""From one policy's commands to another's: targets and gains, step by step, within the new one's limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gaitd.policy.fade import Fade, Gains
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.wire.generated import CauseKind
from support.bundles import contract, small_manifest
from support.controller import standing_state

DEFAULT = np.array([0.0, -0.65, 1.3], np.float32)
OURS = np.array([30.0, 31.0, 32.0], np.float32)
OTHER = Gains(np.full(3, 60.0, np.float32), np.full(3, 4.0, np.float32))
STEPS = 4


def pipeline(**limits: Any) -> PolicyPipeline:
    plain = small_manifest()
    plain["limits"] |= limits
    made = PolicyPipeline(contract(plain), None)
    made.observe(standing_state(DEFAULT))
    return made


def after_another(made: PolicyPipeline, target: np.ndarray) -> PolicyPipeline:
    """The other policy's last command had that target; now this one is to go on."""
    made.watch(OTHER, STEPS)
    made.follow(made.mapper.action(target), target)
    made.watch(None, STEPS)
    return made


def test_the_last_step_is_the_new_policys_alone() -> None:
    fade: Fade | None = Fade(np.zeros(1, np.float32), OTHER, STEPS, 100)
    shares = []
    while fade is not None:
        shares.append(float(fade.blend(fade.target, np.ones(1, np.float32))[0]))
        fade = fade.after_one(held=len(shares) < STEPS)
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_targets_and_gains_go_over_in_equal_steps() -> None:
    before = DEFAULT + 0.2
    made = after_another(pipeline(), before)
    action = np.array([0.1, 0.2, 0.3], np.float32)
    own = made.mapper.target(action)
    for number in range(1, STEPS + 1):
        share = np.float32(number / STEPS)
        decision, gains = made.decide(action), made.fade_gains
        assert gains is not None
        np.testing.assert_allclose(decision.target, before + share * (own - before), atol=1e-6)
        np.testing.assert_allclose(gains.stiffness, 60.0 + share * (OURS - 60.0), rtol=1e-6)
        np.testing.assert_allclose(made.mapper.target(decision.action), decision.target, atol=1e-6)
        made.observe(standing_state(DEFAULT, number))
        made.commit(decision)
        action = action + 1e-4
        own = made.mapper.target(action)
    assert made.fade_gains is None
    np.testing.assert_array_equal(made.decide(action).action, action)


def test_the_other_ones_target_is_the_last_action_in_our_own_terms() -> None:
    made = pipeline()
    made.watch(OTHER, STEPS)
    made.follow(made.mapper.action(DEFAULT + 0.1), DEFAULT + 0.1)
    np.testing.assert_allclose(made.last_action, np.full(3, 0.4), atol=1e-5)


@pytest.mark.parametrize("response", ["clamp", "damp"])
def test_slew_holds_the_blend_back_and_never_damps(response: str) -> None:
    slew = {"max_rad_per_step": 0.01, "response": response}
    made = after_another(pipeline(slew=slew), DEFAULT + 0.2)
    last = DEFAULT + 0.2
    for number in range(20):  # of 0.01 rad each: longer than the fade
        assert made.fade_gains is not None
        decision = made.decide(np.full(3, 1e-6 * number, np.float32))
        assert decision.accepted
        assert number == 19 or decision.clamped == {"slew": 3}
        assert np.abs(decision.target - last).max() <= 0.01 + 1e-6
        made.commit(decision)
        last = decision.target
    # Then it is the policy's own, and what it asks for is judged as ever.
    assert made.fade_gains is None
    assert made.decide(np.ones(3, np.float32)).accepted == (response == "clamp")


def test_a_policy_that_never_arrives_is_not_excused_for_ever() -> None:
    made = after_another(pipeline(slew={"max_rad_per_step": 0.1, "response": "damp"}), DEFAULT)
    most = STEPS + round((3.5 + 0.4) / 0.1)
    for number in range(most):
        decision = made.decide(np.full(3, (-1) ** number * 2.0, np.float32))
        assert decision.accepted
        made.commit(decision)
    assert made.fade_gains is None
    assert not made.decide(np.full(3, 2.0, np.float32)).accepted


def test_the_torque_limit_is_that_of_the_gains_in_between() -> None:
    made = after_another(pipeline(torque={"max_nm": 3.0}), DEFAULT)
    state = standing_state(DEFAULT)
    for number in range(STEPS):
        decision = made.decide(np.full(3, 4.0 + 0.01 * number, np.float32))
        gains = made.fade_gains
        assert gains is not None
        torque = gains.stiffness * (decision.target - state.joint_position)
        torque -= gains.damping * state.joint_velocity
        assert np.abs(torque).max() <= 3.0 + 1e-4
        made.commit(decision)


def test_from_outside_its_range_a_policy_does_not_go_on() -> None:
    """While it follows it says so; the range is hip 0.6 rad."""
    made = pipeline()
    made.watch(OTHER, STEPS)
    made.follow(np.zeros(3, np.float32), DEFAULT)
    assert made.decide(np.zeros(3, np.float32)).accepted
    for sign in (1, -1):
        target = DEFAULT + np.array([sign * 0.7, 0, 0], np.float32)
        made.follow(made.mapper.action(target), target)
        cause = made.decide(np.zeros(3, np.float32)).cause
        assert cause is not None
        assert (cause.kind, cause.joint) == (CauseKind.POSITION_LIMIT, 0)
        assert (cause.number, cause.bound) == (pytest.approx(sign * 0.7), pytest.approx(sign * 0.6))


def test_a_session_of_its_own_has_no_fade() -> None:
    made = after_another(pipeline(), DEFAULT + 0.2)
    made.reset()
    assert made.fade_gains is None
    np.testing.assert_array_equal(made.decide(np.zeros(3, np.float32)).target, DEFAULT)
