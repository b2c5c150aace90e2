"""The words around a verdict: what was observed before it, and the headings."""

from __future__ import annotations

from collections.abc import Mapping

from gaitd.ctl.explain.words.text import Text

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
        "{s:+.2f} s, no state had arrived for {ms:.0f} ms; the control period is {period_ms:.3g} ms[; the "
        "next one is stamped only {stamps_ms:.0f} ms after the one before: it waited on its way, or the "
        "controller's stamps went back].",
        "{s:+.2f} s，此前 {ms:.0f} ms 没有收到状态；控制周期为 {period_ms:.3g} ms[；之后那个状态的时间戳只比"
        "前一个晚 {stamps_ms:.0f} ms：它在途中等待过，或控制器的时间戳倒退了]。",
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
        "The worker lost its core {rate:.0f} times a second in the last {s:.0f} s[, {usual_rate:.0f} times "
        "before].",
        "最后 {s:.0f} s worker 每秒被抢占 {rate:.0f} 次[，之前为 {usual_rate:.0f} 次]。",
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
