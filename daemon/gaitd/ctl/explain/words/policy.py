"""The words of verdicts about what the policy asked for, and about its limits."""

from __future__ import annotations

from collections.abc import Mapping

from gaitd.ctl.explain.words.text import Kind, Text

_POLICY_THEN = Text(
    "gaitctl replay says whether the model answers so again; gaitctl selftest proves it on its "
    "golden vectors; "
    "if it fails, gaitctl rollback.",
    "用 gaitctl replay 查看模型是否再次给出同样的结果；用 gaitctl selftest 校验；若失败则 gaitctl rollback。",
)
_LIMIT_THEN = Text(
    "Look at what the policy asked for before (gaitctl replay); if the limit is too narrow for "
    "this gait, change it "
    "in the policy's manifest.",
    "查看策略之前要求了什么（gaitctl replay）；如果限值对该步态过窄，请在策略清单中修改。",
)

POLICY: Mapping[str, Kind] = {
    "action_not_finite": Kind(
        "policy",
        Text(
            "The policy's action was not finite[ for joint {joint}].",
            "策略输出不是有限数[（关节 {joint}）]。",
        ),
        _POLICY_THEN,
    ),
    "action_shape": Kind(
        "policy",
        Text(
            "The policy's action had {number:g} values instead of {bound:g}.",
            "策略输出有 {number:g} 个值，应为 {bound:g} 个。",
        ),
        _POLICY_THEN,
    ),
    "action_repeated": Kind(
        "policy",
        Text(
            "The policy gave the same answer although joint {joint} had moved by {number:.3g} rad "
            "({bound:.3g} rad is "
            "allowed): the model is stuck.",
            "关节 {joint} 已移动 {number:.3g} rad（允许 {bound:.3g} rad），"
            "策略却给出同样的输出：模型卡住了。",
        ),
        _POLICY_THEN,
    ),
    "position_limit": Kind(
        "limits",
        Text(
            "The policy asked joint {joint} for {number:.3g} rad; its limit is {bound:.3g} rad.",
            "策略要求关节 {joint} 到 {number:.3g} rad；限值为 {bound:.3g} rad。",
        ),
        _LIMIT_THEN,
    ),
    "slew_limit": Kind(
        "limits",
        Text(
            "The policy moved the target of joint {joint} by {number:.3g} rad in one step; the "
            "limit is {bound:.3g} rad.",
            "策略在一步内把关节 {joint} 的目标移动了 {number:.3g} rad；限值为 {bound:.3g} rad。",
        ),
        _LIMIT_THEN,
    ),
    "torque_limit": Kind(
        "limits",
        Text(
            "The target of joint {joint} would have asked for {number:.3g} Nm; the limit is {bound:.3g} Nm.",
            "关节 {joint} 的目标将需要 {number:.3g} Nm；限值为 {bound:.3g} Nm。",
        ),
        _LIMIT_THEN,
    ),
    "velocity_limit": Kind(
        "limits",
        Text(
            "The policy asked joint {joint} for {number:.3g} rad/s; its limit is {bound:.3g} rad/s.",
            "策略要求关节 {joint} 达到 {number:.3g} rad/s；限值为 {bound:.3g} rad/s。",
        ),
        _LIMIT_THEN,
    ),
    "acceleration_limit": Kind(
        "limits",
        Text(
            "The policy changed the velocity target of joint {joint} by {number:.3g} rad/s²; the limit is "
            "{bound:.3g} rad/s².",
            "策略使关节 {joint} 的速度目标变化 {number:.3g} rad/s²；限值为 {bound:.3g} rad/s²。",
        ),
        _LIMIT_THEN,
    ),
    "torque_rate_limit": Kind(
        "limits",
        Text(
            "The policy changed the torque target of joint {joint} by {number:.3g} Nm/s; the limit is "
            "{bound:.3g} Nm/s.",
            "策略使关节 {joint} 的力矩目标变化 {number:.3g} Nm/s；限值为 {bound:.3g} Nm/s。",
        ),
        _LIMIT_THEN,
    ),
    "tilt": Kind(
        "limits",
        Text(
            "The body was tilted by {number:.3g} rad; the limit is {bound:.3g} rad: the robot fell "
            "or was lying.",
            "机身倾斜 {number:.3g} rad；限值为 {bound:.3g} rad：机器人摔倒或躺着。",
        ),
        Text(
            "Stand it up first. If it stood, look at the orientation that the controller sends.",
            "先让它站起来。如果它原本站着，请检查控制器发送的姿态。",
        ),
    ),
    "start_posture": Kind(
        "limits",
        Text(
            "At the start of the session joint {joint} was {number:.3g} rad from its default "
            "position; {bound:.3g} rad is "
            "allowed.",
            "会话开始时关节 {joint} 偏离默认位置 {number:.3g} rad；允许 {bound:.3g} rad。",
        ),
        Text("Stand in the policy's default pose, then activate.", "先站到策略的默认姿态，再激活。"),
    ),
}
