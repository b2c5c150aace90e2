"""The drawings of the pages, in English and Chinese: python tools/pictures.py

One narrow column each, so that a phone shows them at the size of its text; light or dark as the reader's
system is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from html import escape
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "docs/images"
WIDTH = 420
LINE_PX = 17
Say = Callable[[str, str], str]
"""Takes the English and the Chinese text, gives one of them."""

STYLE = """\
svg{font:13px system-ui,"Noto Sans CJK SC",sans-serif}
.paper{fill:#fff}.frame{fill:#f3f5f8;stroke:#8b96a5;stroke-dasharray:5 4}
text{fill:#1f2733;text-anchor:middle}.left{text-anchor:start}.right{text-anchor:end}.small{font-size:12px;fill:#56606e}
.bold{font-weight:600}.line{stroke:#56606e;stroke-width:1.6;fill:none}.tip{fill:#56606e}
.box{stroke-width:1.4}.plain{fill:#fff;stroke:#8b96a5}.good{fill:#e3f4ea;stroke:#2f8a57}
.warn{fill:#fdf1d8;stroke:#b57a00}.bad{fill:#fbe3e1;stroke:#bd3a32}
@media(prefers-color-scheme:dark){.paper{fill:#12161c}.frame{fill:#1a2029;stroke:#5b6675}
text{fill:#e4e9f0}.small{fill:#a3adba}.line{stroke:#a3adba}.tip{fill:#a3adba}.plain{fill:#20262f;stroke:#6b7685}
.good{fill:#123524;stroke:#46b27a}.warn{fill:#3a2c0b;stroke:#d29a22}.bad{fill:#42191a;stroke:#e0655d}}
"""


class Drawing:
    """SVG elements, written from top to bottom."""

    def __init__(self, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title><style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>',
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="8"/>',
        ]

    def add(self, element: str) -> None:
        """An element as it is."""
        self._parts.append(element)

    def box(self, x: int, y: int, width: int, height: int, *lines: str, kind: str = "plain") -> None:
        """A box with its lines in the middle, the first one bold."""
        self.add(f'<rect class="box {kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="7"/>')
        top = y + height / 2 - LINE_PX * (len(lines) - 1) / 2 + 4.5
        for number, line in enumerate(lines):
            look = "small" if number else "bold"
            self.text(x + width / 2, top + LINE_PX * number, line, look)

    def text(self, x: float, y: float, line: str, look: str = "") -> None:
        """A line of text; ``look`` is its class."""
        self.add(f'<text class="{look}" x="{x:g}" y="{y:g}">{escape(line)}</text>')

    def arrow(self, path: str, *, both: bool = False) -> None:
        """Along an SVG path, with a tip at its end."""
        start = ' marker-start="url(#tip)"' if both else ""
        self.add(f'<path class="line" d="{path}" marker-end="url(#tip)"{start}/>')

    def line(self, path: str) -> None:
        """Along an SVG path."""
        self.add(f'<path class="line" d="{path}"/>')

    def svg(self) -> str:
        """The whole file."""
        return "\n".join([*self._parts, "</svg>\n"])


def house(say: Say) -> str:
    """Who talks to whom."""
    d = Drawing(452, say("The processes", "进程"))
    d.add('<rect class="frame" x="10" y="138" width="400" height="226" rx="9"/>')
    d.box(
        20,
        16,
        380,
        66,
        say("your controller", "你的控制器"),
        say("C++ client, 1 kHz", "C++ 客户端，1 kHz"),
        say("its own timer: 5 periods without a command: damping", "自带计时器：5 个周期没有指令即阻尼"),
    )
    d.arrow("M80 82V150")
    d.text(88, 112, say("state", "状态"), "left small")
    d.arrow("M170 150V82")
    d.text(178, 112, say("command", "指令"), "left small")
    d.arrow("M330 82V150", both=True)
    d.text(322, 104, say("session,", "会话、"), "right small")
    d.text(322, 120, say("damping", "阻尼"), "right small")
    d.box(
        24,
        152,
        190,
        66,
        "worker",
        say("observation, model, limits", "观测、模型、限制"),
        "NPU / CPU",
        kind="good",
    )
    d.box(
        240,
        152,
        156,
        66,
        "guardian",
        say("who moves the joints", "谁可以动关节"),
        say("lease, modes", "租约、模式"),
        kind="warn",
    )
    d.arrow("M240 186H216")
    d.box(
        24,
        246,
        190,
        48,
        say("standby (if you like)", "备用 worker（可选）"),
        say("follows, takes over once", "跟随，接管一次"),
    )
    d.arrow("M318 218V270H216")
    d.box(
        24,
        310,
        372,
        42,
        "telemetry",
        say("reads only: metrics, recordings, explain", "只读：指标、记录、解释"),
    )
    d.arrow("M110 352V392")
    d.arrow("M310 352V392")
    d.box(24, 394, 172, 44, "Prometheus, Grafana", "gaitctl top")
    d.box(224, 394, 172, 44, say("recordings (MCAP)", "记录 (MCAP)"), "gaitctl explain")
    return d.svg()


def state_path(say: Say) -> str:
    """One state's way to the motors."""
    stops = (
        (
            say("robot", "机器人"),
            say("sampled, stamped with CLOCK_MONOTONIC", "采样，打上 CLOCK_MONOTONIC 时间戳"),
            "plain",
        ),
        (
            "publish(state)",
            say("your loop; never waits, never allocates", "你的循环；不等待、不分配内存"),
            "plain",
        ),
        (
            say("inbox", "收件"),
            say("sequence, age, range: refused with a cause", "序号、时效、范围：不合格则给出原因并拒绝"),
            "good",
        ),
        (
            say("observation", "观测"),
            say("terms, scales, history, by the manifest", "按 manifest：观测项、缩放、历史"),
            "good",
        ),
        (say("model", "模型"), say("NPU or CPU", "NPU 或 CPU"), "good"),
        (
            say("action to targets", "动作到目标"),
            say("order, scale, gains, by name", "按名称：顺序、缩放、增益"),
            "good",
        ),
        (
            say("limits", "限制"),
            say("position, slew, torque: held, or damping", "位置、速率、力矩：限住，或进入阻尼"),
            "good",
        ),
        (say("lease", "租约"), say("no longer held: nothing is sent", "不再持有：什么都不发"), "warn"),
        (
            "command()",
            say("epoch, sequence and age again, in your loop", "在你的循环里再查 epoch、序号和时效"),
            "plain",
        ),
        (say("motors", "电机"), say("position, velocity, gains, torque", "位置、速度、增益、力矩"), "plain"),
    )
    d = Drawing(24 + 58 * len(stops), say("One state's way", "一个状态的路径"))
    for number, (name, what, kind) in enumerate(stops):
        y = 16 + 58 * number
        d.box(40, y, 340, 42, name, what, kind=kind)
        if number:
            d.arrow(f"M210 {y - 16}V{y - 1}")
    return d.svg()


def modes(say: Say) -> str:
    """What leads from which mode to which."""
    d = Drawing(330, say("The modes", "模式"))
    d.box(110, 20, 200, 50, "IDLE", say("moves nothing", "什么都不动"))
    d.box(110, 140, 200, 50, "ACTIVE", say("the policy has the joints", "策略掌握关节"), kind="good")
    d.box(110, 260, 200, 50, "DAMPING", say("soft joints, latched", "关节柔软，锁存"), kind="bad")
    d.arrow("M180 70V138")
    d.text(172, 108, "activate", "right small")
    d.arrow("M250 140V72")
    d.text(258, 108, "release", "left small")
    d.arrow("M180 190V258")
    d.text(172, 222, say("any fault,", "任何故障，"), "right small")
    d.text(172, 238, say("or a person", "或有人要求"), "right small")
    d.arrow("M310 285H392V45H312")
    d.text(384, 222, say("release, understood", "release，已弄清"), "right small")
    d.arrow("M110 275H28V165H108")
    d.text(36, 222, say("stand up,", "站起，"), "left small")
    d.text(36, 238, "activate", "left small")
    return d.svg()


def fault_timeline(say: Say) -> str:
    """What happens when, after the worker's death."""
    d = Drawing(356, say("A fault's timeline", "一次故障的时间线"))
    d.line("M60 24V332")
    stops = (
        (say("the worker dies", "worker 死亡"), say("in mid-stride", "迈步途中"), "bad"),
        (
            say("the guardian knows: less than 1 ms", "guardian 察觉：不到 1 ms"),
            say("a lock that the dead let go", "进程死亡时释放的锁"),
            "warn",
        ),
        (
            say("the controller damps: within 1 period", "控制器进入阻尼：1 个周期内"),
            say("or the standby's command, and it walks on", "或由备用 worker 接手，继续行走"),
            "warn",
        ),
        (
            say("5 periods: the client's own timer", "5 个周期：客户端自己的计时器"),
            say("if all of gaitd were gone", "即使整个 gaitd 都已消失"),
            "warn",
        ),
        (
            say("2 s: a recording is written", "2 s：写好记录"),
            say("gaitctl explain says why", "gaitctl explain 说明原因"),
            "plain",
        ),
        (
            say("a person stands it up, activates", "有人让它站起，再 activate"),
            say("never by itself", "绝不会自行恢复"),
            "good",
        ),
    )
    for number, (what, more, kind) in enumerate(stops):
        y = 14 + 56 * number
        d.box(84, y, 320, 44, what, more, kind=kind)
        d.add(f'<circle class="box {kind}" cx="60" cy="{y + 22}" r="8"/>')
    d.text(20, 40, "0", "left small")
    return d.svg()


DRAWINGS = {
    "house": house,
    "state-path": state_path,
    "modes": modes,
    "fault-timeline": fault_timeline,
}


def outputs() -> dict[Path, str]:
    """Each drawing's file, in both languages."""
    languages: dict[str, Say] = {".svg": lambda en, _zh: en, ".zh-CN.svg": lambda _en, zh: zh}
    return {
        IMAGES / f"{name}{suffix}": draw(say)
        for name, draw in DRAWINGS.items()
        for suffix, say in languages.items()
    }


def main() -> None:
    """Entry point."""
    argparse.ArgumentParser(description="Write the drawings of the pages.").parse_args()
    for path, text in outputs().items():
        path.write_text(text, "utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
