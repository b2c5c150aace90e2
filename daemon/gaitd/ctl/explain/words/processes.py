"""The words of verdicts about the worker and the rest of gaitd."""

from __future__ import annotations

from collections.abc import Mapping

from gaitd.ctl.explain.words.text import Kind, Text

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

PROCESSES: Mapping[str, Kind] = {
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
}
