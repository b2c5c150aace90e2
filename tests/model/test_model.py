"""The safety properties hold in every state that guardian, worker, client and channels can reach together.

The proof is a search without an end other than the last state (explore.cpp). What it is worth is shown by the
bugs planted here: each changes a line of the real code, and the search must find it. docs/model.md explains.

GAITD_MODEL=deadline,state_age,first_command sets other bounds, in control steps. GAITD_MODEL_WORKERS=standby
adds a standby, switch that and another policy to which sessions are changed, and two lets the guardian move
the lease between two workers at any time: `make model`. Most bugs of the client are planted by
`make test-thorough`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gaitd.guardian import failover, main, rules, sessions, switching
from gaitd.shared import lease
from gaitd.worker import answer, loop, step
from model.decisions import Bounds, Code, as_text, tables

HERE = Path(__file__).parent
HEADERS = HERE.parents[1] / "proto" / "cpp" / "include" / "gaitd"
REAL = Code(rules, failover, switching, sessions, main, lease, step, answer, loop)
SMALLEST = Bounds(deadline=1, max_age=1, first_command=2)

compiler = shutil.which("g++") or shutil.which("c++")
pytestmark = pytest.mark.skipif(compiler is None, reason="no C++ compiler: sudo apt-get install g++")


def build(target: Path, latch: str) -> Path:
    """The search around a latch with that source."""
    headers = target / "include" / "gaitd"
    shutil.copytree(HEADERS, headers)
    (headers / "latch.hpp").write_text(latch)
    binary = target / "explore"
    command = [compiler or "", "-std=c++17", "-O2", f"-I{headers.parent}", str(HERE / "explore.cpp")]
    subprocess.run([*command, "-o", str(binary)], check=True)
    return binary


def search(binary: Path, code: Code, bounds: Bounds, scratch: Path, workers: str = "one") -> str:
    """What the search prints; its verdict is in the words."""
    inputs = scratch / "tables.txt"
    switch = workers == "switch"
    made = tables(code, bounds, standby=switch or workers == "standby", switch=switch)
    inputs.write_text(as_text(made))
    done = subprocess.run(["nice", binary, inputs, workers], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert (done.returncode == 1) == ("VIOLATED" in done.stdout)
    return done.stdout


@pytest.fixture(scope="module")
def real_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("model"), (HEADERS / "latch.hpp").read_text())


def test_every_property_holds_in_every_reachable_state(real_binary: Path, tmp_path: Path) -> None:
    wanted = os.environ.get("GAITD_MODEL", "")
    bounds = Bounds(*map(int, wanted.split(","))) if wanted else SMALLEST
    said = search(real_binary, REAL, bounds, tmp_path, os.environ.get("GAITD_MODEL_WORKERS", "one"))
    print(said)
    assert said.startswith("complete: "), said
    states, recovery = (int(re.findall(f"{name} (\\d+)", said)[0]) for name in ("states", "recovery"))
    assert states > 1_000_000
    # Grant, first states, deadline: what a recovery takes, and then some steps of asking again.
    assert recovery <= 3 * bounds.deadline + bounds.first_command + 4


def test_each_limit_that_damps_asks_for_it_whatever_the_joint_follows() -> None:
    assert tables(REAL, SMALLEST)["trips"] == [1], "the search has worlds in which the worker trips"


@dataclass(frozen=True)
class Bug:
    """One planted bug: a module or header, what in it is replaced, and what the search must say."""

    name: str
    where: ModuleType | str
    changes: dict[str, str]
    violated: str
    workers: str = "one"

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
        {"view.last_command_epoch == state.epoch and ": ""},
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
        {"view.trip.epoch == state.epoch else": "view.trip.epoch == -1 else"},
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
        "the guard writes the session after the lease",
        main,
        {
            "        self._guard.write_session(self._sessions.joint_order.setup)\n": "        pass\n",
            "            self._renew_lease(now_ns)\n            if (state.mode": (
                "            self._renew_lease(now_ns)\n"
                "            if state.mode is Mode.ACTIVE:\n"
                "                self._guard.write_session(self._sessions.joint_order.setup)\n"
                "            if (state.mode"
            ),
        },
        "written before the lease names it",
    ),
    Bug(
        "the guard renews the lease after damping",
        main,
        {"active = state.mode is Mode.ACTIVE": "active = state.mode is not Mode.IDLE"},
        "the lease names only a session in which the guard is active",
    ),
    Bug(
        "the worker skips the lease",
        answer,
        {"sent = lease.permits(": "sent = True or lease.permits("},
        "a worker reads the lease before it sends",
    ),
    Bug(
        "the worker ignores the lease's epoch",
        lease,
        {"return is_of(word, epoch, slot) and now_ns": "return word != NOBODY and now_ns"},
        "under a lease of its own that has not expired",
    ),
    Bug(
        "the worker publishes while the guard is frozen: it ignores the lease's expiry",
        lease,
        {" and now_ns < expiry * EXPIRY_UNIT_NS": ""},
        "under a lease of its own that has not expired",
    ),
    Bug(
        "a withheld command moves the last action",
        answer,
        {
            "            self._note_sent(command, sent_ns)\n            step.commit(outcome)\n": (
                "            self._note_sent(command, sent_ns)\n"
            ),
            "            self._memory.steps.stage()\n": (
                "            self._memory.steps.stage()\n            step.commit(outcome)\n"
            ),
        },
        "a command that is withheld changes nothing",
    ),
    Bug(
        "a record is staged after its command",
        answer,
        {
            "            self._memory.steps.stage()\n": "",
            "            self._note_sent(command, sent_ns)\n": (
                "            self._memory.steps.stage()\n            self._note_sent(command, sent_ns)\n"
            ),
        },
        "a command's record is there before it leaves",
    ),
    Bug(
        "the lease moves again and again",
        failover,
        {"        and state.slot == WORKER_SLOT\n        and not state.moved_ns\n": ""},
        "the lease moves once in a session",
        workers="standby",
    ),
    Bug(
        "a change of policies lets the lease fail over again",
        failover,
        {"        and not state.moved_ns\n": ""},
        "the lease moves once in a session",
        workers="switch",
    ),
    Bug(
        "a change of policies falls back to the first slot after a failover",
        failover,
        {"return STANDBY_SLOT if policy == 0 and has_moved else POLICY": "return POLICY"},
        "a fresh worker in the first slot gets the next session",
        workers="switch",
    ),
    Bug(
        "a limit is lost in a change of policies",
        switching,
        {"if rules.trip_in(state, holder) is not None:": "if False:"},
        "the guard damps when the worker trips, and the lease does not move",
        workers="switch",
    ),
    Bug(
        "a change of policies restarts the deadline",
        switching,
        {"return replace(rules.fed(state, holder, now_ns), ": "return replace(state, fed_ns=now_ns, "},
        "the timer goes on from the last command",
        workers="switch",
    ),
    Bug(
        "the last command before a change of policies is forgotten",
        switching,
        {"return replace(rules.fed(state, holder, now_ns), ": "return replace(state, "},
        "the timer goes on from the last command",
        workers="switch",
    ),
    Bug(
        "the policy changes although its worker is silent",
        switching,
        {"if now_ns - fed.fed_ns > recent_ns:": "if False:"},
        "the lease does not move after the deadline",
        workers="switch",
    ),
    Bug(
        "the policy changes to a worker that has nothing to say",
        switching,
        {"successor.prepared_epoch == state.epoch and fresh": "fresh"},
        "the policy changes only to a worker with an answer to a fresh state of the session",
        workers="switch",
    ),
    Bug(
        "the policy changes again before the new one has said anything",
        switching,
        {"if not fed.fed_by_command or holder.last_command_epoch != state.epoch:": "if False:"},
        "the policy changes only from a worker that answers",
        workers="switch",
    ),
    Bug(
        "a change of policies is undone after a limit",
        switching,
        {"        and rules.trip_in(state, holder) is None\n": ""},
        "the guard damps when the worker trips, and the lease does not move",
        workers="switch",
    ),
    Bug(
        "a change of policies is undone after the deadline",
        switching,
        {"        and not rules.is_overdue(state, holder, limits, now_ns)\n": ""},
        "the lease does not move after the deadline",
        workers="switch",
    ),
    Bug(
        "undoing a change of policies feeds the timer",
        switching,
        {"slot=state.changed_from, changed": "slot=state.changed_from, fed_ns=10**12, changed"},
        "nothing feeds the timer but commands",
        workers="switch",
    ),
    Bug(
        "anybody changes the policy",
        sessions,
        {"if peer != self._owner and not (owner is not None and owner.hello.switchable):": "if False:"},
        "only the session's owner",
        workers="switch",
    ),
    Bug(
        "a limit leads to the standby",
        failover,
        {"        and rules.trip_in(state, worker) is None\n": ""},
        "the guard damps when the worker trips, and the lease does not move",
        workers="standby",
    ),
    Bug(
        "the lease moves after the deadline",
        failover,
        {"        and not rules.is_overdue(state, worker, limits, now_ns)\n": ""},
        "the lease does not move after the deadline",
        workers="standby",
    ),
    Bug(
        "the change of workers restarts the deadline",
        failover,
        {"return replace(rules.fed(state, worker, now_ns), ": "return replace(state, fed_ns=now_ns, "},
        "the timer goes on from the last command",
        workers="standby",
    ),
    Bug(
        "the last command before the change is forgotten",
        failover,
        {"return replace(rules.fed(state, worker, now_ns), ": "return replace(state, "},
        "the timer goes on from the last command",
        workers="standby",
    ),
    Bug(
        "the lease moves to a standby that has nothing to say",
        failover,
        {"standby.prepared_epoch == state.epoch": "True"},
        "the lease moves only to a standby with an answer to a fresh state of the session",
        workers="standby",
    ),
    Bug(
        "the client takes an older epoch",
        LATCH,
        {"if (command.epoch < epoch_) return Refusal::OldEpoch;": ""},
        "no command of an older epoch is applied after one of a newer",
        workers="standby",
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


QUICK = (
    "the client has no deadline",
    "the client ignores the latch",
    "the lease moves again and again",
    "the change of workers restarts the deadline",
    "a change of policies restarts the deadline",
    "a change of policies falls back to the first slot after a failover",
)
"""Of the client's, the standby's and those of a change of policies, the ones of the normal run: each needs a
build or tables of its own."""


def _cases() -> list[Any]:
    slow = [(isinstance(bug.where, str) or bug.workers != "one") and bug.name not in QUICK for bug in BUGS]
    marks = [[pytest.mark.thorough] if each else [] for each in slow]
    return [pytest.param(bug, id=bug.name, marks=mark) for bug, mark in zip(BUGS, marks, strict=True)]


@pytest.mark.parametrize("bug", _cases())
def test_a_planted_bug_is_found(bug: Bug, real_binary: Path, tmp_path: Path) -> None:
    binary, code = real_binary, REAL
    if isinstance(bug.where, ModuleType):
        code = replace(REAL, **{bug.where.__name__.rpartition(".")[2]: with_bug(bug, bug.where)})
    else:
        binary = build(tmp_path, bug.changed((HEADERS / bug.where).read_text()))
    said = search(binary, code, SMALLEST, tmp_path, bug.workers)
    assert f"{bug.violated}" in said.partition("\n")[0], said[-2000:]


def with_bug(bug: Bug, module: ModuleType) -> ModuleType:
    path = Path(module.__file__ or "")
    planted = ModuleType(module.__name__)
    exec(compile(bug.changed(path.read_text()), str(path), "exec"), planted.__dict__)
    return planted
