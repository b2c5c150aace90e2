"""What gaitctl explain says, in English and Chinese: for each verdict what tripped and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]


class Text(NamedTuple):
    """The same in both languages; ``{name}`` is a value."""

    en: str
    zh: str


class Kind(NamedTuple):
    """A verdict's words, and the exit code of its family."""

    family: str
    what: Text
    then: Text


FAMILIES: Mapping[str, int] = {
    "none": 0,
    "on purpose": 10,
    "policy": 11,
    "limits": 12,
    "states": 13,
    "connection": 14,
    "worker": 15,
    "gaitd": 16,
    "unknown": 19,
}
"""Exit code by family."""

CAUSE_FAMILIES: Mapping[str, str] = {
    "operator": "on purpose",
    "shutdown": "on purpose",
    "action_invalid": "policy",
    "limit": "limits",
    "state_invalid": "states",
    "contract": "states",
    "state_stale": "connection",
    "state_lost": "connection",
    "client_deadline": "connection",
    "deadline": "worker",
    "worker_died": "worker",
    "backend_error": "worker",
    "failover": "worker",
}
"""The likeliest family by what a recording was made for, where the moment itself is not in the file."""

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
    "Stamp each state with CLOCK_MONOTONIC at the moment it is sampled, and send it at once.",
    "请在采样时刻用 CLOCK_MONOTONIC 为状态打时间戳，并立即发送。",
)
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
_CONNECTION_THEN = Text(
    "Look at the controller: does its loop keep its period, is anything else on its core, is its "
    "user in the group "
    "gaitd?",
    "请检查控制器：循环是否守时，其核心上是否有其他任务，其用户是否在 gaitd 组中？",
)
_SLOW_THEN = Text(
    "gaitctl doctor: clocks, temperature and real-time settings; gaitctl bench: how long the model "
    "takes here.",
    "gaitctl doctor 检查时钟、温度与实时设置；gaitctl bench 测量模型在此处的耗时。",
)
_RUNTIME_THEN = Text(
    'gaitctl selftest[; journalctl -k for the {npu}\'s driver; try backend = "onnx" in gaitd.toml '
    "meanwhile].",
    "运行 gaitctl selftest[;用 journalctl -k 查看 {npu} 驱动日志；"
    '期间可在 gaitd.toml 中设 backend = "onnx"]。',
)

KINDS: Mapping[str, Kind] = {
    "no_damping": Kind(
        "none",
        Text("Nothing tripped: there is no damping in this recording.", "没有触发保护：该记录中没有阻尼。"),
        Text("Nothing.", "无。"),
    ),
    "not_in_file": Kind(
        "unknown",
        Text(
            "This recording was made for {reason}; the moment itself is missing in the file.",
            "该记录因 {reason} 而生成；文件中缺少那一刻的内容。",
        ),
        Text(
            "Copy the file from the robot once more and compare the sizes; journalctl -u gaitd has a line of "
            "the damping as well.",
            "请重新从机器人复制该文件并比较大小；journalctl -u gaitd 中也有关于该阻尼的记录。",
        ),
    ),
    "operator": Kind(
        "on purpose",
        Text("A person asked for damping: {text}.", "有人要求进入阻尼：{text}。"),
        Text("Stand the robot up and activate again.", "让机器人重新站立并激活。"),
    ),
    "shutdown": Kind(
        "on purpose",
        Text("gaitd was stopped while the session ran.", "会话运行时 gaitd 被停止。"),
        Text(
            "journalctl -u gaitd says who stopped it; before stopping it, gaitctl safe-to-stop.",
            "journalctl -u gaitd 会显示是谁停止的；停止前请用 gaitctl safe-to-stop。",
        ),
    ),
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
    "old": Kind(
        "connection",
        Text(
            "States were {number:.3g} ms old when they could be answered; {bound:.3g} ms is allowed.",
            "状态在可以应答时已有 {number:.3g} ms；允许 {bound:.3g} ms。",
        ),
        _CONNECTION_THEN,
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
    "backend_error": Kind(
        "worker",
        Text("The inference runtime reported an error: {text}.", "推理的运行库报告错误：{text}。"),
        _RUNTIME_THEN,
    ),
    "inference_hung": Kind(
        "worker",
        Text(
            "One inference took {ms:.0f} ms or more: the model's runtime hung.",
            "一次推理耗时 {ms:.0f} ms 以上：模型的运行库卡住。",
        ),
        _RUNTIME_THEN,
    ),
    "inference_slow": Kind(
        "worker",
        Text(
            "Inference became slow: {ms:.1f} ms[, {usual_ms:.2f} ms before].",
            "推理变慢：{ms:.1f} ms[，之前为 {usual_ms:.2f} ms]。",
        ),
        _SLOW_THEN,
    ),
    "worker_stopped": Kind(
        "worker",
        Text(
            "The worker process had not moved for {ms:.0f} ms: it was stopped, or something else "
            "had its core.",
            "worker {ms:.0f} ms 没有动作：它被停止，或核心被其他任务占用。",
        ),
        _SLOW_THEN,
    ),
    "worker_crashed": Kind(
        "worker",
        Text("The worker process crashed: {text}.", "worker 崩溃：{text}。"),
        _RUNTIME_THEN,
    ),
    "worker_killed": Kind(
        "worker",
        Text("The worker process was killed: {text}.", "worker 被杀死：{text}。"),
        Text(
            "journalctl -k: did the kernel run out of memory? Else somebody killed it.",
            "journalctl -k：内核是否内存不足？否则是有人杀死了它。",
        ),
    ),
    "worker_error": Kind(
        "worker",
        Text("The worker process ended with an error: {text}.", "worker 因错误结束：{text}。"),
        _RUNTIME_THEN,
    ),
    "worker_ended": Kind(
        "worker",
        Text("The worker process ended: {text}.", "worker 结束：{text}。"),
        _RUNTIME_THEN,
    ),
    "guardian_stopped": Kind(
        "gaitd",
        Text(
            "gaitd's main process stood still for {ms:.0f} ms, so its permission to move the joints ran out.",
            "gaitd 主进程停住 {ms:.0f} ms，因此驱动关节的许可到期。",
        ),
        _SLOW_THEN,
    ),
    "gaitd_unheard": Kind(
        "gaitd",
        Text(
            "Nothing got through the main process's own sockets for {ms:.0f} ms.",
            "主进程自身的套接字 {ms:.0f} ms 没有任何消息通过。",
        ),
        Text(
            "Is /run/gaitd as gaitd made it? Does something stop a thread of gaitd?",
            "/run/gaitd 是否保持原样？是否有东西停住了 gaitd 的线程？",
        ),
    ),
    "guardian_died": Kind(
        "gaitd",
        Text(
            "gaitd's main process died while the robot walked; the controller damped by its own timer.",
            "机器人行走时 gaitd 主进程死亡；控制器按自己的定时器进入阻尼。",
        ),
        Text(
            "journalctl -u gaitd and journalctl -k: killed, out of memory, or a crash.",
            "journalctl -u gaitd 和 journalctl -k：被杀死、内存不足或崩溃。",
        ),
    ),
    "gaitd_killed": Kind(
        "gaitd",
        Text(
            "All of gaitd died at once, or the power went: {text}.",
            "gaitd 全部进程同时死亡，或断电：{text}。",
        ),
        Text(
            "journalctl -b -1 for power cuts, journalctl -k for memory; recorder.continuous keeps "
            "more next time.",
            "journalctl -b -1 查看断电，journalctl -k 查看内存；recorder.continuous 下次可保留更多。",
        ),
    ),
    "unknown": Kind(
        "unknown",
        Text("The recording does not say what tripped: {text}.", "记录没有说明触发原因：{text}。"),
        Text("Please report it, with this file (gaitctl report).", "请附上此文件反馈（gaitctl report）。"),
    ),
}

OBSERVATIONS: Mapping[str, Text] = {
    "file_cut": Text(
        "The file was cut: its end is missing, and what follows is about what comes before.",
        "文件被截断：结尾缺失，以下只涉及此前的内容。",
    ),
    "file_damaged": Text(
        "{count} parts of the file are damaged and left out.", "文件有 {count} 处损坏，已略过。"
    ),
    "failover": Text(
        "{s:+.1f} s, the worker failed ({why}[: {text}]) and the standby went on with the session.",
        "{s:+.1f} s，worker 失效（{why}[：{text}]），备用 worker 接管了会话。",
    ),
    "refused": Text(
        "In the last second, refused {count} times: {text}.", "最后一秒内被拒绝 {count} 次：{text}。"
    ),
    "states_paused": Text(
        "{s:+.2f} s, no state had arrived for {ms:.0f} ms; the control period is {period_ms:.3g} ms.",
        "{s:+.2f} s，此前 {ms:.0f} ms 没有收到状态；控制周期为 {period_ms:.3g} ms。",
    ),
    "late_steps": Text(
        "{count} of the last {of} commands were later than a period of {period_ms:.3g} ms; the "
        "worst had {worst_ms:.1f} "
        "ms.",
        "最近 {of} 条命令中有 {count} 条晚于一个周期（{period_ms:.3g} ms）；最差 {worst_ms:.1f} ms。",
    ),
    "inference_grew": Text(
        "Inference took {ms:.2f} ms in the last second, {usual_ms:.2f} ms before.",
        "最后一秒推理耗时 {ms:.2f} ms，之前为 {usual_ms:.2f} ms。",
    ),
    "transport_grew": Text(
        "States took {ms:.2f} ms to arrive in the last second, {usual_ms:.2f} ms before.",
        "最后一秒状态到达耗时 {ms:.2f} ms，之前为 {usual_ms:.2f} ms。",
    ),
    "waiting_grew": Text(
        "States waited {ms:.2f} ms for the worker in the last second, {usual_ms:.2f} ms before: "
        "its core was busy.",
        "最后一秒状态等待 worker {ms:.2f} ms，之前为 {usual_ms:.2f} ms：其核心繁忙。",
    ),
    "unanswered": Text(
        "{count} of the last {of} states have no step: lost, refused, or overtaken by a newer one.",
        "最近 {of} 个状态中有 {count} 个没有对应的步：丢失、被拒绝或被更新的取代。",
    ),
    "clamps_grew": Text(
        "Limits held back {percent:.0f} % of the steps of the last second ({usual_percent:.1f} % "
        "before), most often joint "
        "{joint}.",
        "最后一秒 {percent:.0f} % 的步被限值约束（之前 {usual_percent:.1f} %），最常见的是关节 {joint}。",
    ),
    "joint_not_following": Text(
        "Joint {joint} stopped following: {rad:.2f} rad from its target, {usual_rad:.2f} rad before.",
        "关节 {joint} 不再跟随：偏离目标 {rad:.2f} rad，之前为 {usual_rad:.2f} rad。",
    ),
    "npu_clock_fell": Text(
        "The NPU's clock fell to {mhz:.0f} MHz from {usual_mhz:.0f} MHz.",
        "NPU 时钟从 {usual_mhz:.0f} MHz 降到 {mhz:.0f} MHz。",
    ),
    "hot": Text("{zone} had {celsius:.0f} degrees Celsius.", "{zone} 温度为 {celsius:.0f} 摄氏度。"),
    "preempted": Text(
        "The worker lost its core {count} times in the last seconds.", "最后几秒 worker 被抢占 {count} 次。"
    ),
    "page_faults": Text(
        "The worker waited for the disk {count} times in the last seconds (page faults).",
        "最后几秒 worker 等待磁盘 {count} 次（缺页）。",
    ),
    "short_session": Text(
        "The session was only {s:.2f} s old and had {steps} commands.",
        "会话仅持续 {s:.2f} s，共 {steps} 条命令。",
    ),
    "states_returned": Text(
        "States were heard again {s:.1f} s after the damping.", "阻尼后 {s:.1f} s 再次收到状态。"
    ),
    "states_ended": Text(
        "Nothing was heard of the controller in the {s:.0f} s after the damping.",
        "阻尼后 {s:.0f} s 内没有收到控制器的任何消息。",
    ),
    "log": Text("{s:+.1f} s, the log: {text}", "{s:+.1f} s，日志：{text}"),
}

HEADINGS: Mapping[str, Text] = {
    "what": Text("What tripped", "触发原因"),
    "led": Text("What led to it", "前因"),
    "then": Text("What to do next", "下一步"),
    "when": Text("{moment}", "{moment}"),
    "when_ended": Text("what is recorded ends at {moment}", "记录结束于 {moment}"),
    "when_found": Text(
        "found by the next start of gaitd, at {moment}", "由下次启动的 gaitd 于 {moment} 发现"
    ),
    "when_empty": Text("nothing is recorded", "没有任何记录"),
    "session": Text(
        "[, session {session}][, {s:.1f} s after activate], policy {policy}[ on {backend}]",
        "[，会话 {session}][，激活后 {s:.1f} s]，策略 {policy}[，运行于 {backend}]",
    ),
    "walked_on": Text("The standby went on, and so did the robot.", "备用 worker 接管，机器人继续行走。"),
    "look": Text(
        "Look at what is listed above; gaitctl doctor says what of it the machine's settings can cure.",
        "请查看上面列出的内容；gaitctl doctor 会指出哪些可以通过机器设置解决。",
    ),
    "nothing": Text("Nothing unusual in what was recorded before.", "此前的记录中没有异常。"),
    "nothing_recorded": Text("No step was recorded before.", "此前没有记录任何步。"),
}
