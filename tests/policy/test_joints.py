from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitd.errors import InputError
from gaitd.policy.joints import check_same_joints, joint_array, order_from, positive_joint_array

JOINTS = ["hip", "thigh", "knee"]


def test_a_number_a_list_and_a_map() -> None:
    np.testing.assert_array_equal(joint_array(2.0, JOINTS, "key"), [2, 2, 2])
    np.testing.assert_array_equal(joint_array([1.0, 2.0, 3.0], JOINTS, "key"), [1, 2, 3])
    by_name = {"knee": 3.0, "hip": 1.0, "thigh": 2.0}
    np.testing.assert_array_equal(joint_array(by_name, JOINTS, "key"), [1, 2, 3])
    assert joint_array(2.0, JOINTS, "key").dtype == np.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], r"^key: expected 3 values, one per joint, got 2"),
        ([1.0, 2.0, 3.0, 4.0], r"^key: expected 3 values, one per joint, got 4"),
        ({"hip": 1.0, "thigh": 2.0}, r"^key: joint 'knee' is missing"),
        ({"hip": 1.0, "thigh": 2.0, "knee": 3.0, "toe": 4.0}, r"^key: joint 'toe' is unknown"),
        ([1.0, math.nan, 3.0], r"^key: joint 'thigh' is nan"),
        ({"hip": 1.0, "thigh": 2.0, "knee": math.inf}, r"^key: joint 'knee' is inf"),
        (math.nan, r"^key: joint 'hip' is nan"),
    ],
)
def test_wrong_values_are_refused_by_joint_and_key(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        joint_array(values, JOINTS, "key")


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_positive_values(value: float) -> None:
    with pytest.raises(InputError, match=r"^key: joint 'thigh' is .*expected above 0"):
        positive_joint_array([1.0, value, 1.0], JOINTS, "key")


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (["hip", "thigh", "thigh"], r"^where: joint 'thigh' is named 2 times"),
        (["hip", "knee"], r"^where: joint 'thigh' is missing; the policy has hip, thigh, knee"),
        (["hip", "thigh", "knee", "toe"], r"^where: joint 'toe' is unknown"),
        (["hip", "thigh", "Knee"], r"^where: joint 'knee' is missing, and 'Knee' is unknown; the policy has"),
        ([], r"^where: joint 'hip' is missing"),
    ],
)
def test_doubled_missing_and_unknown_joints_are_named(got: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_same_joints(JOINTS, got, "where")


@given(st.permutations([f"joint_{index}" for index in range(12)]))
def test_an_order_is_undone_by_its_opposite(there: list[str]) -> None:
    here = sorted(there)
    values = np.arange(12)
    moved = values[order_from(here, there)]
    assert [here[value] for value in moved] == there
    np.testing.assert_array_equal(moved[order_from(there, here)], values)
