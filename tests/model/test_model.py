"""The safety properties hold in every state that guardian, worker, client and channels can reach together.

The proof is a search without an end other than the last state (explore.cpp). What it is worth is shown by the
bugs planted here: each changes a line of the real code, and the search must find it. docs/model.md explains.

GAITD_MODEL=deadline,state_age,first_command sets other bounds, in control steps: 3,1,4 takes two and a half
minutes and 1 GB.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from gaitd.guardian import rules, sessions
from gaitd.worker import runner
from model.decisions import Bounds, Code, as_text, tables

HERE = Path(__file__).parent
HEADERS = HERE.parents[1] / "proto" / "cpp" / "include" / "gaitd"
REAL = Code(rules, sessions, runner)
QUICK = Bounds(deadline=2, max_age=1, first_command=2)
SMALLEST = Bounds(deadline=1, max_age=1, first_command=2)

compiler = shutil.which("g++") or shutil.which("c++")
pytestmark = pytest.mark.skipif(compiler is None, reason="needs a C++ compiler")


def build(target: Path, latch: str) -> Path:
    """The search around a latch with that source."""
    headers = target / "include" / "gaitd"
    shutil.copytree(HEADERS, headers)
    (headers / "latch.hpp").write_text(latch)
    binary = target / "explore"
    command = [compiler or "", "-std=c++17", "-O2", f"-I{headers.parent}", str(HERE / "explore.cpp")]
    subprocess.run([*command, "-o", str(binary)], check=True)
    return binary


def search(binary: Path, code: Code, bounds: Bounds, scratch: Path) -> str:
    """What the search prints; its verdict is in the words."""
    inputs = scratch / "tables.txt"
    inputs.write_text(as_text(tables(code, bounds)))
    done = subprocess.run(["nice", binary, inputs], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert (done.returncode == 1) == ("VIOLATED" in done.stdout)
    return done.stdout


@pytest.fixture(scope="module")
def real_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model"), (HEADERS / "latch.hpp").read_text())


def test_every_property_holds_in_every_reachable_state(real_binary: Path, tmp_path: Path) -> None:
    wanted = os.environ.get("GAITD_MODEL", "")
    bounds = Bounds(*map(int, wanted.split(","))) if wanted else QUICK
    said = search(real_binary, REAL, bounds, tmp_path)
    print(said)
    assert said.startswith("complete: "), said
    states, recovery = (int(re.findall(f"{name} (\\d+)", said)[0]) for name in ("states", "recovery"))
    assert states > 1_000_000
    # Grant, first states, deadline: what a recovery takes, and then some steps of asking again.
    assert recovery <= 3 * bounds.deadline + bounds.first_command + 4


@dataclass(frozen=True)
class Bug:
    """One planted bug: a module or header, what in it is replaced, and what the search must say."""

    name: str
    where: ModuleType | str
    changes: dict[str, str]
    violated: str

    def changed(self, source: str) -> str:
        for before, after in self.changes.items():
            assert source.count(before) == 1, f"the code has changed: {before!r} is not in it once"
            source = source.replace(before, after)
        return source


LATCH = "latch.hpp"
WAITING = "waiting_since_known_ = false;"
FOREIGN = "if (command.session != session_) return Refusal::ForeignSession;"
STAMP = "if (stamps_[command.seq % kRemembered] != command.state_stamp_ns) return Refusal::Unpublished;"
LATE = "if (age(command.state_stamp_ns, now_ns) > deadline_ns_) return Refusal::Late;"
LIMP = "if (limp) standDown();"
BUGS = [
    Bug(
        "the guard forgets when the session began",
        rules,
        {"since_ns=now_ns, fed_ns=now_ns)": "since_ns=now_ns)"},
        "the client walks again",
    ),
    Bug(
        "the guard feeds its timer with the clock",
        rules,
        {"fed_ns=view.last_command_ns": "fed_ns=now_ns"},
        "no command of its session came for the deadline",
    ),
    Bug(
        "the guard takes another session's commands for life",
        rules,
        {"view.last_command_session == state.session and ": ""},
        "no command of its session came for the deadline",
    ),
    Bug(
        "the guard has no deadline",
        rules,
        {"if now_ns - state.fed_ns <= _limit_ns(state, limits):": "if True:"},
        "no command of its session came for the deadline",
    ),
    Bug(
        "the guard overlooks a trip",
        rules,
        {"if view.trip_session == state.session:": "if view.trip_session == -1:"},
        "when the worker trips",
    ),
    Bug(
        "the guard shrugs at a death",
        rules,
        {"return damp(state, Reason.WORKER_DIED, detail, now_ns)": "return state"},
        "when it sees the worker's death",
    ),
    Bug(
        "anybody damps by any session's number",
        sessions,
        {"if body.session not in (0, self.state.session):": "if body.session < 0:"},
        "names another session changes nothing",
    ),
    Bug(
        "the worker skips the latch",
        runner,
        {'if guard["active_session"] != self.session:': "if not self.session:"},
        "after its session has no living guard",
    ),
    Bug(
        "the worker publishes while the guard is frozen",
        runner,
        {'return time.monotonic_ns() - guard["heartbeat_ns"] <= self._deadline_ns': "return True"},
        "after its session has no living guard",
    ),
    Bug(
        "the client ignores the latch",
        LATCH,
        {"if (output_.mode == Mode::Damping) return Refusal::Latched;": ""},
        "no ACTIVE is applied after damping latched",
    ),
    Bug("the client ignores the session", LATCH, {FOREIGN: ""}, "damping of another session"),
    Bug(
        "the client ignores session and stamp",
        LATCH,
        {
            FOREIGN: FOREIGN.replace("!= session_", "!= session_ && command.mode == Mode::Damping"),
            STAMP: "",
        },
        "no command of another session is applied",
    ),
    Bug(
        "the client has no deadline",
        LATCH,
        {"if (output_.age_ns > deadline_ns_) {": "if (false) {"},
        "older than the deadline",
    ),
    Bug("the client takes late answers", LATCH, {LATE: ""}, "answers a state older than the deadline"),
    Bug(
        "the client takes answers out of order",
        LATCH,
        {"if (command.seq <= last_applied_seq_) return Refusal::Replayed;": ""},
        "after a newer one",
    ),
    Bug(
        "the client waits for ever for the first command",
        LATCH,
        {"if (age(waiting_since_ns_, now_ns) > first_command_ns_) expire();": ""},
        "the first command does not come",
    ),
    Bug(
        "the stance has no end",
        LATCH,
        {"if (age(standing_since_ns_, now_ns) >= stance_.duration_ns) standDown();": ""},
        "the stance ends with its time",
    ),
    Bug(
        "repeated damping begins the stance anew",
        LATCH,
        {LIMP: f"{LIMP} else if (standing_ == Standing::Yes) standing_ = Standing::Due;"},
        "none begins anew",
    ),
    Bug(
        "the stance goes on when a person asks for damping",
        LATCH,
        {LIMP: ""},
        "ends the stance",
    ),
    Bug(
        "the client stands up from the floor",
        LATCH,
        {"if (before == Mode::Active && !limp": "if (!limp"},
        "no stance but after commands",
    ),
    Bug(
        "the client stands up after a standstill",
        LATCH,
        {"if (age(driven_ns_, now_ns) > deadline_ns_) return standDown();": ""},
        "no stance after the client stood still",
    ),
    Bug(
        "a new session does not end the damping",
        LATCH,
        {
            f"{WAITING}\n        output_.mode = Mode::Idle;": WAITING,
        },
        "the client walks again",
    ),
    Bug(
        "the client publishes on in a session that it has left",
        LATCH,
        {"return output_.mode == Mode::Damping ? 0 : session_;": "return session_;"},
        "the client walks again",
    ),
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug, real_binary: Path, tmp_path: Path) -> None:
    binary, code = real_binary, REAL
    if isinstance(bug.where, ModuleType):
        modules = {name: getattr(REAL, name) for name in ("rules", "sessions", "runner")}
        name = bug.where.__name__.rpartition(".")[2]
        modules[name] = with_bug(bug, bug.where)
        code = Code(**modules)
    else:
        binary = build(tmp_path, bug.changed((HEADERS / bug.where).read_text()))
    said = search(binary, code, SMALLEST, tmp_path)
    assert f"{bug.violated}" in said.partition("\n")[0], said[-2000:]


def with_bug(bug: Bug, module: ModuleType) -> ModuleType:
    path = Path(module.__file__ or "")
    planted = ModuleType(module.__name__)
    exec(compile(bug.changed(path.read_text()), str(path), "exec"), planted.__dict__)
    return planted
