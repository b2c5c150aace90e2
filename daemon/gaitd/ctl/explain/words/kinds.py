"""Every verdict's words, and the families with their exit codes."""

from __future__ import annotations

from collections.abc import Mapping

from gaitd.ctl.explain.words.policy import POLICY
from gaitd.ctl.explain.words.processes import PROCESSES
from gaitd.ctl.explain.words.states import STATES
from gaitd.ctl.explain.words.text import Kind, Text

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
    "unknown": Kind(
        "unknown",
        Text("The recording does not say what tripped: {text}.", "记录没有说明触发原因：{text}。"),
        Text("Please report it, with this file (gaitctl report).", "请附上此文件反馈（gaitctl report）。"),
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
    **POLICY,
    **STATES,
    **PROCESSES,
}
