"""The words of verdicts about states, and about the way between controller and gaitd."""

from __future__ import annotations

from collections.abc import Mapping

from gaitd.ctl.explain.words.text import Kind, Text

_STATES_THEN = Text(
    "Look at what the controller fills in: the message, joint and number are above; docs: the wire contract.",
    "请检查控制器填写的内容：上面给出了字段、关节和数值；见通信协议文档。",
)
_SENSOR_THEN = Text(
    "Look at that joint's encoder and cable, and at how the controller reads it; then stand up and "
    "activate again.",
    "请检查该关节的编码器和线缆，以及控制器如何读取它；然后重新站立并激活。",
)
_CLOCK_THEN = Text(
    "Stamp each state (stamp_ns) with CLOCK_MONOTONIC at the moment it is sampled, and send it at once.",
    "请在采样时刻用 CLOCK_MONOTONIC 为状态打时间戳（stamp_ns），并立即发送。",
)
_AGE_THEN = Text(
    "Is stamp_ns this machine's CLOCK_MONOTONIC at the moment at which the state was sampled? If it is, "
    "states wait somewhere: does the controller's loop keep its period, is anything else on its core?",
    "stamp_ns 是本机在状态采样时刻的 CLOCK_MONOTONIC 吗？如果是，状态在某处等待：控制器的循环是否守时，"
    "其核心上是否有其他任务？",
)
_CONNECTION_THEN = Text(
    "Look at the controller: does its loop keep its period, is anything else on its core[, is its "
    "user in the group {group}]?",
    "请检查控制器：循环是否守时，其核心上是否有其他任务[，其用户是否在 {group} 组中]？",
)

STATES: Mapping[str, Kind] = {
    "malformed": Kind(
        "states",
        Text("State messages were not as the contract has them.", "状态消息不符合通信协议。"),
        _STATES_THEN,
    ),
    "foreign_session": Kind(
        "states", Text("States of another session arrived.", "收到了其他会话的状态。"), _STATES_THEN
    ),
    "missing_field": Kind(
        "states",
        Text("A state lacked a field that the policy needs.", "状态缺少策略需要的字段。"),
        _STATES_THEN,
    ),
    "sequence": Kind(
        "states",
        Text(
            "States came out of sequence[: number {number:.0f} after {bound:.0f}]; or their stamps "
            "went back.",
            "状态序号错乱[：{bound:.0f} 之后是 {number:.0f}]，或时间戳倒退。",
        ),
        _CLOCK_THEN,
    ),
    "early": Kind(
        "states",
        Text(
            "States followed each other too fast: {number:.3g} ms apart, at least {bound:.3g} ms "
            "is required.",
            "状态间隔过短：{number:.3g} ms，至少需要 {bound:.3g} ms。",
        ),
        _CLOCK_THEN,
    ),
    "future": Kind(
        "states",
        Text(
            "States were stamped {number:.3g} ms in the future ({bound:.3g} ms is allowed): the "
            "clock jumped or is "
            "another one.",
            "状态的时间戳超前 {number:.3g} ms（允许 {bound:.3g} ms）：时钟跳变或用错了时钟。",
        ),
        _CLOCK_THEN,
    ),
    "frozen": Kind(
        "states",
        Text(
            "The sensor values were bit for bit those of the state before: the sensors are frozen.",
            "传感器数值与上一状态逐位相同：传感器冻结。",
        ),
        Text(
            "Look at the bus to the motors and the IMU, and at whether the controller sends old "
            "values again.",
            "请检查到电机和 IMU 的总线，以及控制器是否重复发送旧值。",
        ),
    ),
    "not_finite": Kind(
        "states",
        Text(
            "States held a value that is not finite[ for joint {joint}].",
            "状态中有非有限数[（关节 {joint}）]。",
        ),
        _STATES_THEN,
    ),
    "out_of_range": Kind(
        "states",
        Text(
            "Joint {joint} was measured at {number:.4g} rad; the limit is {bound:.4g} rad.",
            "关节 {joint} 测得 {number:.4g} rad；限值为 {bound:.4g} rad。",
        ),
        _SENSOR_THEN,
    ),
    "velocity_out_of_range": Kind(
        "states",
        Text(
            "Joint {joint} was measured to move at {number:.4g} rad/s; the limit is {bound:.4g} rad/s.",
            "关节 {joint} 测得速度 {number:.4g} rad/s；限值为 {bound:.4g} rad/s。",
        ),
        _SENSOR_THEN,
    ),
    "orientation_norm": Kind(
        "states",
        Text(
            "The orientation was not a unit quaternion: its squared norm was {number:.3g}.",
            "姿态不是单位四元数：模的平方为 {number:.3g}。",
        ),
        _STATES_THEN,
    ),
    "stream_stale": Kind(
        "states",
        Text(
            "A stream without which the policy must not walk was stale[: its newest frame was "
            "{number:.3g} ms old][, {bound:.3g} ms is allowed].",
            "策略必需的一个流已过期[：最新一帧已有 {number:.3g} ms][，允许 {bound:.3g} ms]。",
        ),
        Text(
            "Look at the producer of the stream that the log calls stale, and at what was refused of its "
            "frames.",
            "请检查日志中所说过期的流的生产者，以及它的哪些帧被拒绝。",
        ),
    ),
    "old": Kind(
        "connection",
        Text(
            "States were {number:.3g} ms old when they could be answered; {bound:.3g} ms is allowed.",
            "状态在可以应答时已有 {number:.3g} ms；允许 {bound:.3g} ms。",
        ),
        _AGE_THEN,
    ),
    "state_lost": Kind(
        "connection",
        Text(
            "No state arrived any more: the last message came {ms:.0f} ms before. The controller "
            "ended, stands still, or "
            "its states are lost on the way.",
            "不再收到状态：最后一条消息在 {ms:.0f} ms 之前。控制器已结束、停住，或状态在途中丢失。",
        ),
        _CONNECTION_THEN,
    ),
    "states_delayed": Kind(
        "connection",
        Text(
            "States were sampled and sent, but arrived {ms:.0f} ms late: they were stuck on the "
            "way or in gaitd's thread "
            "that receives them.",
            "状态已采样并发送，但晚到 {ms:.0f} ms：卡在途中或 gaitd 的接收线程中。",
        ),
        Text(
            "gaitctl doctor: real-time settings and what else runs on gaitd's cores.",
            "gaitctl doctor：检查实时设置以及 gaitd 核心上的其他任务。",
        ),
    ),
    "commands_lost": Kind(
        "connection",
        Text(
            "The controller heard no valid command in time, though gaitd sent its last one only "
            "{ms:.0f} ms before: "
            "commands were lost or late on the way, or refused there.",
            "控制器未及时收到有效命令，而 gaitd 最后一条命令仅在 {ms:.0f} ms 前发出："
            "命令在途中丢失、迟到或被拒绝。",
        ),
        Text(
            "Look at the controller's counters of refused commands, and at what shares its core.",
            "请查看控制器拒绝命令的计数，以及与其共用核心的任务。",
        ),
    ),
    "controller_stood_still": Kind(
        "connection",
        Text("The controller's own loop stood still.", "控制器自身的循环停住了。"),
        _CONNECTION_THEN,
    ),
}
