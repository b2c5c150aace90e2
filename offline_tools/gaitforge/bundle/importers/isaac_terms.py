"""Names of observations in Isaac Lab and its kin."""

TERMS = {
    "base_ang_vel": "base_angular_velocity",
    "base_lin_vel": "base_linear_velocity",
    "generated_commands": "velocity_command",
    "joint_pos": "joint_position",
    "joint_pos_rel": "joint_position_relative",
    "joint_vel": "joint_velocity",
    "joint_vel_rel": "joint_velocity",
    "last_action": "last_action",
    "projected_gravity": "projected_gravity",
    "velocity_commands": "velocity_command",
}
"""Names of Isaac Lab's functions. Its default joint velocity is zero, so that relative is absolute."""


def no_such_term(name: str) -> str:
    """What to say of an observation that a manifest cannot express: without it, all behind it would shift."""
    return f"the observation {name!r}: a manifest has no such term"
