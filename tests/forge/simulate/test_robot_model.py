"""The robot's model against the published numbers."""

import mujoco
import numpy as np
import pytest

from gaitforge.simulate.model import JOINTS, TORQUE_LIMITS_NM, model_xml
from support.reference import REFERENCE_POLICY

PUBLISHED = REFERENCE_POLICY.with_name("lite3_min.xml")

BODIES = {
    "trunk": "TORSO",
    **{
        f"{leg}_{ours}": f"{leg}_{ours.upper()}"
        for leg in ("FL", "FR", "HL", "HR")
        for ours in ("hip", "thigh")
    },
    **{
        f"{leg}_{ours}": f"{leg}_{ours.upper()}"
        for leg in ("FL", "FR", "HL", "HR")
        for ours in ("shank", "foot")
    },
}


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_string(model_xml())


def test_joints_are_in_the_robots_order(model):
    names = [model.joint(index).name for index in range(1, model.njnt)]
    motors = [model.actuator(index).name for index in range(model.nu)]
    assert names == motors == list(JOINTS)
    assert model.actuator_ctrlrange[:, 1].tolist() == list(TORQUE_LIMITS_NM * 4)
    assert (model.actuator_ctrlrange[:, 0] == -model.actuator_ctrlrange[:, 1]).all()


def test_only_solid_shapes_touch(model):
    touching = {model.geom(index).name for index in range(model.ngeom) if model.geom_conaffinity[index]}
    feet_and_knees = {f"{leg}_{part}" for leg in ("FL", "FR", "HL", "HR") for part in ("foot", "knee")}
    assert touching == {"floor", "trunk"} | feet_and_knees


def test_masses_lengths_and_ranges_are_the_published_ones(model):
    if not PUBLISHED.is_file():
        pytest.skip(f"the published numbers are absent: {PUBLISHED}")
    published = mujoco.MjModel.from_xml_path(str(PUBLISHED))
    for ours, theirs in BODIES.items():
        mine, other = model.body(ours), published.body(theirs)
        np.testing.assert_allclose(mine.mass, other.mass, err_msg=ours)
        np.testing.assert_allclose(mine.ipos, other.ipos, err_msg=ours)
        np.testing.assert_allclose(mine.inertia, other.inertia, err_msg=ours)
        if ours != "trunk":
            np.testing.assert_allclose(mine.pos, other.pos, err_msg=ours)
    for joint in JOINTS:
        np.testing.assert_allclose(model.joint(joint).range, published.joint(joint).range, err_msg=joint)
        np.testing.assert_allclose(model.joint(joint).axis, published.joint(joint).axis, err_msg=joint)
    np.testing.assert_allclose(model.geom("FL_foot").size[0], published.geom("FL_FOOT").size[0])
