"""gaitctl explain names what was done to a walking robot, from its recording alone."""

from __future__ import annotations

import html.parser
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.ctl.cli import main as gaitctl
from gaitd.ctl.explain.account import Account
from gaitd.ctl.explain.page import page_of
from gaitd.ctl.explain.words.account import OBSERVATIONS
from gaitd.ctl.explain.words.kinds import FAMILIES, KINDS
from gaitd.guardian import announce
from gaitd.policy.admission import AdmissionLimits
from gaitd.shared.events import Event, EventKind
from gaitd.shared.guard_memory import FailoverKind
from gaitd.system.config import Config
from gaitd.telemetry.files import FAILOVER
from gaitd.telemetry.recording import MachineSample, read_recording
from gaitd.wire.causes import Cause
from gaitd.wire.codec import encode_state
from gaitd.wire.generated import CAUSE_REASONS, CAUSE_TEXTS, CauseKind, Reason
from gaitd.worker.step import Frame, PolicyStep
from support.bundles import small_manifest, write_small_bundle
from support.tape import PERIOD_NS, Tape, walking

CAUSES = [kind for kind in CauseKind if kind is not CauseKind.NONE]


@pytest.fixture(scope="module")
def small_tilting_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """As the small one, with a limit of the body's tilt."""
    manifest = small_manifest()
    manifest["limits"]["posture"] = {"max_tilt_rad": 1.0, "max_start_error_rad": 2.0}
    return open_bundle(write_small_bundle(tmp_path_factory.mktemp("tilting") / "small.gaitd", manifest))


def account(tape: Tape, cause: str | None = None) -> Account:
    return Account.of(Path("r.mcap"), tape.recording(cause))


# ---- every cause of the contract ----


@pytest.mark.parametrize("kind", CAUSES, ids=lambda kind: kind.name.lower())
def test_every_cause_of_the_contract_is_named_with_its_numbers(small_bundle: Bundle, kind: CauseKind) -> None:
    with walking(small_bundle, 20) as tape:
        tape.damp(CAUSE_REASONS[kind], "no command for 61 ms", cause=Cause(kind, 1, 42.5, 17.25))
        found = account(tape)
    assert (found.verdict.kind, found.verdict.reason) == (kind.name.lower(), CAUSE_REASONS[kind].name.lower())
    for text in (found.what("en"), found.what("zh")):
        assert "?" not in text
        for name, shown in (("{joint}", tape.joints[1]), ("{number}", "42.5"), ("{bound}", "17.2")):
            told = name not in CAUSE_TEXTS[kind] or shown in text or shown[:2] in text
            assert told or kind is CauseKind.ORIENTATION_NORM, text


# ---- what was done to the robot ----

Deed = Callable[[Tape], None]


def hang_for_ever(tape: Tape) -> None:
    tape.next_state()
    tape.wait(0.1, busy_since_ns=tape.now_ns)


def hang_a_little(tape: Tape) -> None:
    tape.backend.takes_ns = 45_000_000
    tape.step()
    tape.damp(Reason.CLIENT_DEADLINE, "no valid command in time")


def hang_in_a_rehearsal(tape: Tape) -> None:
    """States wait meanwhile: on their own they look like those that were stuck on the way."""
    limits = AdmissionLimits.for_period(PERIOD_NS)
    rehearsal = PolicyStep(tape.bundle, tape.setup, limits, tape.model.infer, lambda: None)
    tape.backend.takes_ns = 50_000_000
    began_ns = tape.now_ns
    tape.answerer.rehearse(rehearsal, Frame(encode_state(tape.next_state(seq=1)), began_ns))
    waiting = [encode_state(tape.next_state(stamp_ns=began_ns + step * PERIOD_NS)) for step in range(4)]
    tape.memory.frames.add([(data, tape.now_ns) for data in waiting], 0, 0)
    tape.damp(Reason.CLIENT_DEADLINE, "no valid command in time")


def grow_slow(tape: Tape) -> None:
    tape.backend.takes_ns = 26_000_000
    tape.walk(8)
    tape.damp(Reason.CLIENT_DEADLINE, "no valid command in time")


def stop_worker(tape: Tape) -> None:
    tape.wait(0.1)


def stop_guardian(tape: Tape) -> None:
    tape.guard.lease = 0
    began_ns = tape.now_ns
    for _ in range(10):
        quiet(tape)
    assert tape.now_ns - began_ns > 0.1e9
    tape.memory.words["heartbeat_ns"] = tape.now_ns
    tape.tick()


def quiet(tape: Tape) -> None:
    """A state is answered while the guardian looks away."""
    tape.tick, kept = (lambda **_: None), tape.tick  # type: ignore[method-assign]
    tape.step()
    tape.tick = kept  # type: ignore[method-assign]


def lose_states(tape: Tape) -> None:
    for _ in range(8):
        tape.now_ns += PERIOD_NS
        tape.memory.words["heartbeat_ns"] = tape.now_ns
        tape.tick()


def delay_states(tape: Tape) -> None:
    waiting = [tape.next_state(stamp_ns=tape.now_ns + step * PERIOD_NS) for step in range(8)]
    lose_states(tape)
    tape.now_ns += 300_000_000
    tape.memory.frames.add([(encode_state(state), tape.now_ns) for state in waiting], 0, 0)


def kill_worker(how: str) -> Deed:
    def deed(tape: Tape) -> None:
        tape.damp(Reason.WORKER_DIED)
        tape.log(f'worker died how="worker {how}" error=- deaths_in_a_row=1')

    return deed


def fail_in_python(tape: Tape) -> None:
    error = Event(at_ns=tape.now_ns, kind=EventKind.ERROR, text="TypeError: no action")
    tape.memory.events.write(error)
    kill_worker("ended with exit code 1")(tape)


def refuse(**changes: object) -> Deed:
    return lambda tape: tape.walk(8, **changes)


def answer(make: Callable[[np.ndarray], np.ndarray]) -> Deed:
    def deed(tape: Tape) -> None:
        tape.backend.answer = make
        tape.walk(8)

    return deed


def fail_backend(tape: Tape) -> None:
    tape.backend.error = "rknn_run: RKNN_ERR_TIMEOUT"
    tape.walk(8)


def freeze(tape: Tape) -> None:
    frozen = tape.next_state()
    for _ in range(9):
        tape.step(**{name: getattr(frozen, name) for name in MEASURED})


MEASURED = (
    "angular_velocity",
    "orientation",
    "linear_acceleration",
    "joint_position",
    "joint_velocity",
    "joint_torque",
)


def age_states(tape: Tape) -> None:
    tape.transport_ns = 40_000_000
    tape.walk(8)


def operator(tape: Tape) -> None:
    tape.damp(Reason.OPERATOR, "gaitctl damp by alice")


def freeze_guardian(tape: Tape) -> None:
    """The controller damps by itself meanwhile, and is silent."""
    tape.now_ns += 900_000_000
    tape.memory.words["heartbeat_ns"] = tape.now_ns
    tape.tick()


def stop_loop(tape: Tape) -> None:
    tape.now_ns += 4 * PERIOD_NS
    tape.damp(Reason.CLIENT_DEADLINE, "the controller's loop stood still")


DEEDS: dict[str, tuple[Deed, str, str]] = {
    "the model's runtime hangs for ever": (hang_for_ever, "inference_hung", "ms"),
    "one inference takes 45 ms": (hang_a_little, "inference_hung", "45 ms"),
    "a rehearsal takes 50 ms": (hang_in_a_rehearsal, "inference_hung", "50 ms"),
    "every inference takes 26 ms": (grow_slow, "inference_slow", "26.0 ms"),
    "the worker is stopped": (stop_worker, "worker_stopped", "ms"),
    "the guardian is stopped": (stop_guardian, "guardian_stopped", "ms"),
    "the guardian is frozen for long": (freeze_guardian, "guardian_stopped", "ms"),
    "the controller ends": (lose_states, "state_lost", "ms"),
    "states are stuck on the way": (delay_states, "states_delayed", "ms late"),
    "the worker is killed": (kill_worker("killed by SIGKILL"), "worker_killed", "SIGKILL"),
    "the vendor's library crashes": (kill_worker("killed by SIGSEGV"), "worker_crashed", "SIGSEGV"),
    "the worker ends": (kill_worker("ended with exit code 7"), "worker_ended", "exit code 7"),
    "the worker's code fails": (fail_in_python, "worker_error", "TypeError: no action"),
    "the runtime reports an error": (fail_backend, "backend_error", "RKNN_ERR_TIMEOUT"),
    "the action is not a number": (answer(lambda a: np.full_like(a, np.nan)), "action_not_finite", "hip"),
    "the action is too short": (answer(lambda a: a[:2]), "action_shape", "2 values instead of 3"),
    "the sensors freeze": (freeze, "frozen", "frozen"),
    "a joint's encoder jumps": (
        refuse(joint_position=np.array([9, -0.65, 1.3], np.float32)[[1, 2, 0]]),
        "out_of_range",
        "hip was measured at 9 rad",
    ),
    "the robot lies on its side": (
        refuse(orientation=np.array([0.7071, 0.7071, 0, 0], np.float32)),
        "tilt",
        "1.57 rad",
    ),
    "the controller's clock jumps": (refuse(stamp_ns=2**61), "future", "in the future"),
    "states are malformed": (refuse(data=b"junk"), "malformed", "contract"),
    "states come late": (age_states, "old", "ms"),
    "a person presses the button": (operator, "operator", "alice"),
    "gaitd is stopped": (lambda tape: tape.damp(Reason.SHUTDOWN, "gaitd is stopping"), "shutdown", "stopped"),
    "commands are lost": (
        lambda tape: tape.damp(Reason.CLIENT_DEADLINE, "no valid command in time"),
        "commands_lost",
        "lost or late",
    ),
    "commands are lost, and the watchdog is first to say so": (
        lambda tape: tape.damp(Reason.CLIENT_DEADLINE, "the controller's loop stood still"),
        "commands_lost",
        "lost or late",
    ),
    "the controller's loop stands still": (
        stop_loop,
        "controller_stood_still",
        "loop stood still",
    ),
    "the guardian's thread stands still": (
        lambda tape: tape.damp(
            Reason.CLIENT_DEADLINE, "nothing has got through the guardian's own sockets for 62 ms"
        ),
        "gaitd_unheard",
        "62 ms",
    ),
}


@pytest.mark.parametrize("name", DEEDS)
def test_what_was_done_to_the_robot_is_named(small_tilting_bundle: Bundle, name: str) -> None:
    deed, kind, words = DEEDS[name]
    with walking(small_tilting_bundle) as tape:
        deed(tape)
        found = account(tape)
    assert found.verdict.kind == kind, found.as_text("en")
    assert words in found.what("en")
    assert found.exit_code == FAMILIES[KINDS[kind].family]


def test_every_reason_of_the_contract_is_among_them() -> None:
    reasons = {CAUSE_REASONS[kind] for kind in CAUSES}
    reasons |= {
        Reason.DEADLINE,
        Reason.WORKER_DIED,
        Reason.STATE_LOST,
        Reason.OPERATOR,
        Reason.CLIENT_DEADLINE,
    }
    assert reasons | {Reason.SHUTDOWN, Reason.NONE} == set(Reason)
    assert {kind for _, kind, _ in DEEDS.values()} | {kind.name.lower() for kind in CAUSES} | {
        "no_damping", "guardian_died", "gaitd_killed", "not_in_file", "unknown"
    } == set(KINDS)  # fmt: skip


FAILOVERS: dict[str, tuple[FailoverKind, str, Deed, str, str]] = {
    "the worker is killed": (
        FailoverKind.DIED,
        "",
        lambda tape: tape.log('worker died how="worker killed by SIGKILL" error=-'),
        "worker_killed",
        "SIGKILL",
    ),
    "the worker hangs": (
        FailoverKind.SILENT,
        "no command for 31 ms: inference has been running for 19 ms",
        lambda tape: None,
        "inference_hung",
        "19 ms",
    ),
    "the worker is stopped": (
        FailoverKind.SILENT,
        "no command for 31 ms: the worker has not moved for 30 ms",
        lambda tape: None,
        "worker_stopped",
        "30 ms",
    ),
    "the runtime reports errors": (
        FailoverKind.ERRORS,
        "no command for 20 ms: rknn_run: RKNN_ERR_TIMEOUT",
        lambda tape: None,
        "backend_error",
        "RKNN_ERR_TIMEOUT",
    ),
}


@pytest.mark.parametrize("name", FAILOVERS)
def test_what_made_the_standby_go_on_is_named(small_bundle: Bundle, name: str) -> None:
    kind, why, deed, expected, words = FAILOVERS[name]
    with walking(small_bundle, 20) as tape:
        operator(tape)  # of a session before: not what is asked
        tape.activate()
        tape.walk(40)
        if kind is FailoverKind.ERRORS:
            tape.backend.error = "rknn_run: RKNN_ERR_TIMEOUT"
            tape.walk(2)
            tape.backend.error = ""
        moved = replace(tape.state, epoch=tape.epoch + 1, slot=1, moved_ns=tape.now_ns, moved_why=why)
        tape.guard.events.write(announce.failover_event(moved, kind, tape.setup))
        deed(tape)
        tape.become(moved)
        tape.now_ns += 200_000_000
        found = account(tape, FAILOVER)
    assert found.verdict.kind == expected, found.as_text("en")
    assert words in found.what("en")
    assert found.exit_code == FAMILIES["worker"]
    assert f"session {tape.session}" in found.when("en")
    assert "and the standby went on with the session" in found.as_text("en")
    assert found.what("en").endswith("The standby went on, and so did the robot.")


def test_a_guardian_that_died_and_a_recording_on_request(small_bundle: Bundle) -> None:
    with walking(small_bundle, 20) as tape:
        asked = account(tape, "request")
        operator(tape)  # what was before is not what is asked
        tape.activate()
        tape.walk(20)
        died = account(tape, "guardian_died")
    assert died.verdict.kind == "guardian_died"
    assert f"session {tape.session}, 0.2 s after activate" in died.when("en")
    assert (asked.verdict.kind, asked.exit_code) == ("no_damping", 0)


# ---- what led to it ----


def led(tape: Tape) -> dict[str, str]:
    found = account(tape)
    texts = found.led("en")
    return {each.kind: text for each, text in zip(found.observations, texts, strict=True)}


def test_an_ordinary_end_has_no_history(small_bundle: Bundle) -> None:
    with walking(small_bundle) as tape:
        operator(tape)
        tape.walk(30)
        assert led(tape) == {}
        assert "Nothing unusual" in account(tape).as_text("en")


def test_late_steps_and_what_grew_are_told(small_bundle: Bundle) -> None:
    with walking(small_bundle, 300) as tape:
        tape.backend.takes_ns = 5_000_000
        tape.transport_ns = 8_000_000
        tape.walk(100)
        operator(tape)
        told = led(tape)
    assert "5.0" in told["inference_grew"]
    assert "8.0" in told["transport_grew"]
    assert told["late_steps"].startswith("100 of the last ")


def test_a_joint_that_stopped_following_is_named(small_bundle: Bundle) -> None:
    with walking(small_bundle, 300) as tape:
        back = np.argsort(tape.order)
        stuck = (tape.default + np.array([0, 0, 0.9], np.float32))[back]
        noise = np.random.default_rng(1)
        for _ in range(60):
            tape.step(joint_position=(stuck + noise.normal(size=3) * 0.01).astype(np.float32))
        operator(tape)
        told = led(tape)
    assert "Joint knee stopped following: 0." in told["joint_not_following"]


def test_limits_that_hold_back_more_and_more_are_told(small_bundle: Bundle) -> None:
    with walking(small_bundle, 300) as tape:
        tape.backend.answer = lambda action: action + np.array([0, 40, 0], np.float32)
        tape.walk(60)
        operator(tape)
        told = led(tape)
    assert "joint thigh" in told["clamps_grew"]


def test_the_machine_is_told_of(small_bundle: Bundle) -> None:
    with walking(small_bundle, 300) as tape:
        for second in range(10):
            late = second > 7
            values = {
                "npu_frequency_hertz": 3e8 if late else 1e9,
                "temperature_npu": 93.0 if late else 60.0,
                "preemptions": 10.0 + second + (400 if late else 0) * (second - 7),
            }
            tape.machine.append(MachineSample(tape.now_ns - (9 - second) * 10**9, values))
        tape.damp(Reason.DEADLINE)
        told = led(tape)
    assert "300 MHz from 1000 MHz" in told["npu_clock_fell"]
    assert "npu had 93 degrees" in told["hot"]
    assert told["preempted"] == "The worker lost its core 401 times a second in the last 2 s, 1 times before."


@pytest.mark.parametrize(
    ("before", "near", "reason", "told"),
    [
        (150, 150, Reason.DEADLINE, False),
        (150, 600, Reason.DEADLINE, True),
        (150, 600, Reason.STATE_INVALID, False),
        (0, 20, Reason.DEADLINE, False),
        (0, 40, Reason.STATE_LOST, True),
    ],
)
def test_a_lost_core_is_told_of_where_it_is_unusual_and_time_ran_out(
    small_bundle: Bundle, before: int, near: int, reason: Reason, told: bool
) -> None:
    with walking(small_bundle, 20) as tape:
        count = 0.0
        for second in range(10):
            tape.machine.append(MachineSample(tape.now_ns - (9 - second) * 10**9, {"preemptions": count}))
            count += before if second < 7 else near
        tape.damp(reason)
        assert ("preempted" in led(tape)) == told


def test_a_pause_of_the_controller_before_the_damping_is_told(small_bundle: Bundle) -> None:
    with walking(small_bundle, 100) as tape:
        tape.now_ns += 34_000_000
        tape.step()
        operator(tape)
        told = led(tape)["states_paused"]
    assert "no state had arrived for 46 ms" in told
    assert "stamp" not in told


def test_a_pause_that_the_stamps_do_not_know_of_is_told_with_them(small_bundle: Bundle) -> None:
    """As where the controller's clock goes back, and it waits until its stamps are past the last one."""
    with walking(small_bundle, 100) as tape:
        tape.now_ns += 46_000_000
        tape.step(stamp_ns=tape.now_ns - 44_000_000)
        tape.damp(Reason.STATE_STALE, cause=Cause(CauseKind.OLD, None, 44.3, 24.0))
        found = account(tape)
    assert "stamped only 14 ms after the one before" in found.as_text("en")
    assert "Is stamp_ns this machine's CLOCK_MONOTONIC" in found.then("en")
    assert "stamp_ns" in found.then("zh")


def test_only_a_controller_that_never_walked_is_asked_for_its_group(small_bundle: Bundle) -> None:
    with walking(small_bundle, 20) as tape:
        lose_states(tape)
        walked = account(tape).then("en")
        tape.activate()
        tape.now_ns += 600_000_000
        tape.memory.words["heartbeat_ns"] = tape.now_ns
        tape.tick()
        waited = account(tape)
    assert walked.endswith("is anything else on its core?")
    assert waited.verdict.kind == "state_lost"
    assert waited.then("en").endswith("is anything else on its core, is its user in the group gaitd?")


def test_states_that_never_had_a_step_and_the_log_are_told(small_bundle: Bundle) -> None:
    with walking(small_bundle, 50) as tape:
        tape.seq += 6
        tape.walk(3)
        tape.log("LATE COMMANDS detail=many")
        tape.log("worker ready pid=3", 20)
        operator(tape)
        told = led(tape)
    assert told["unanswered"].startswith("6 of the last 59 states")
    assert "LATE COMMANDS" in told["log"]
    assert "short_session" in told


def test_the_log_of_an_earlier_session_is_not_told(small_bundle: Bundle) -> None:
    with walking(small_bundle, 20) as tape:
        tape.log("LATE COMMANDS detail=many")
        operator(tape)
        tape.now_ns += 10_000_000
        tape.activate()
        tape.walk(20)
        operator(tape)
        assert "log" not in led(tape)


def test_a_change_of_workers_and_then_the_standbys_end_are_told(small_bundle: Bundle) -> None:
    with walking(small_bundle) as tape:
        moved = replace(
            tape.state, epoch=tape.epoch + 1, slot=1, moved_ns=tape.now_ns, moved_why="no command for 31 ms"
        )
        tape.guard.events.write(announce.failover_event(moved, FailoverKind.SILENT, tape.setup))
        tape.log("THE STANDBY HAS TAKEN OVER because=silent")
        tape.become(moved)
        tape.now_ns += 200_000_000
        tape.log('worker died how="worker killed by SIGKILL"')
        tape.damp(Reason.WORKER_DIED)
        tape.log('standby died how="standby killed by SIGSEGV"')
        found, told = account(tape), led(tape)
    assert told["failover"].startswith("-0.2 s, the worker failed (silent: no command for 31 ms)")
    assert "THE STANDBY" not in str(told)
    assert (found.verdict.kind, found.verdict.values["text"]) == (
        "worker_crashed",
        "standby killed by SIGSEGV",
    )


@pytest.mark.parametrize(
    ("there_and_back", "who"), [((1, 0), "standby"), ((1,), "policy-1"), ((), "standby")]
)
def test_who_answered_after_a_failover_and_changes_of_policy(
    small_bundle: Bundle, there_and_back: tuple[int, ...], who: str
) -> None:
    """The first policy is the standby's by then."""
    title = {"id": "b" * 16, "name": "trot", "version": "1.0.0"}
    with walking(small_bundle) as tape:
        moved = replace(tape.state, epoch=tape.epoch + 1, slot=1, moved_ns=tape.now_ns)
        tape.guard.events.write(announce.failover_event(moved, FailoverKind.DIED, tape.setup))
        for policy in there_and_back:
            moved = replace(moved, epoch=moved.epoch + 1, slot=2 if policy else 1)
            tape.guard.events.write(announce.switch_event(moved, tape.setup, title, 10, tape.now_ns))
        tape.become(moved)
        tape.damp(Reason.WORKER_DIED)
        assert account(tape).facts.holder == who


@pytest.mark.parametrize(("backend", "advised"), [("rknn", True), ("onnx", False)])
def test_the_npu_is_looked_at_where_it_inferred(small_bundle: Bundle, backend: str, advised: bool) -> None:
    with walking(small_bundle) as tape:
        kill_worker("killed by SIGSEGV")(tape)
        recording = tape.recording()
    made = replace(recording, info=structs.replace(recording.info, backend=backend))
    then = Account.of(Path("r.mcap"), made).then("en")
    assert then.startswith("gaitctl selftest")
    assert ("NPU" in then and "backend" in then) == advised


def test_of_another_policys_worker_its_own_end_is_told(small_bundle: Bundle) -> None:
    title = {"id": "b" * 16, "name": "trot", "version": "1.0.0"}
    with walking(small_bundle) as tape:
        moved = replace(tape.state, epoch=tape.epoch + 1, slot=2)
        tape.guard.events.write(announce.switch_event(moved, tape.setup, title, 10, tape.now_ns))
        tape.become(moved)
        tape.now_ns += 200_000_000
        tape.log('worker died how="worker killed by SIGKILL"')
        tape.damp(Reason.WORKER_DIED)
        tape.log('policy-1 died how="policy-1 killed by SIGSEGV"')
        found = account(tape)
    assert (found.verdict.kind, found.verdict.values["text"]) == (
        "worker_crashed",
        "policy-1 killed by SIGSEGV",
    )


# ---- the command ----


def test_the_command_prints_words_json_and_a_page(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with walking(small_bundle) as tape:
        fail_backend(tape)
        path = tape.save(tmp_path / "r.mcap")
    page = tmp_path / "page.html"
    assert gaitctl(["explain", str(path), "--html", str(page)]) == 15
    text = capsys.readouterr().out
    assert text.startswith(
        "What tripped: The inference runtime reported an error: rknn_run: RKNN_ERR_TIMEOUT."
    )
    assert "What to do next: gaitctl selftest." in text
    assert gaitctl(["explain", str(path), "--language", "zh"]) == 15
    assert capsys.readouterr().out.startswith("触发原因")
    assert gaitctl(["explain", str(path), "--json"]) == 15
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["reason"], found["whole"]) == ("backend_error", "backend_error", True)
    assert found["led_to_it"][0]["kind"] == "refused"
    content = page.read_text(encoding="utf-8")
    html.parser.HTMLParser().feed(content)
    assert content.count("<svg") == 4
    assert "RKNN_ERR_TIMEOUT" in content
    assert "推理的运行库报告错误" in content
    for outside in ("http://", "https://", "src=", "url(", "@import"):
        assert outside not in content.replace("http://www.w3.org/2000/svg", "")


def test_a_drawing_says_what_its_lines_are(small_bundle: Bundle) -> None:
    with walking(small_bundle, 300) as tape:
        lose_states(tape)
        page = page_of(account(tape))
    assert "The last minute" not in page, "it is no minute"
    assert "All that was recorded, 4 s" in page
    assert ">deadline 60<" in page
    assert ">期限 60<" in page
    assert page.count(">DAMPING<") == 4, "also where its bar is narrow"
    for drawing in page.split("<svg ")[1:]:
        height = float(drawing.split('"')[1].split()[-1])
        zero_line = drawing.rpartition('y1="10" y2="')[2]
        assert float(zero_line.partition('"')[0]) < height - 36, "it strikes no number"


def test_the_newest_recording_is_the_default(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gaitd.toml"
    config.write_text(f'[recorder]\ndirectory = "{tmp_path}"\n')
    command = ["explain", "--config", str(config)]
    assert gaitctl(command) == 2
    assert "no recording in" in capsys.readouterr().err
    with walking(small_bundle, 20) as tape:
        operator(tape)
        tape.save(tmp_path / "gaitd-000002-operator.mcap")
        tape.save(tmp_path / "gaitd-000001-limit.mcap")
        tape.save(tmp_path / "gaitd-000003-shift.mcap")
    assert gaitctl(command) == 10
    assert "gaitd-000002-operator.mcap" in capsys.readouterr().out
    config.write_text("")
    assert gaitctl(command) == 2
    assert "the flight recorder is off" in capsys.readouterr().err


def test_without_a_gaitd_that_answers_it_asks_for_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitd.ctl.robot.load_config", lambda _: Config())
    assert gaitctl(["--runtime-dir", str(tmp_path), "explain"]) == 2
    said = capsys.readouterr().err
    assert f"no gaitd answers at {tmp_path}" in said
    assert "gaitctl explain recordings/" in said
    assert "off" not in said


def test_a_file_that_was_cut_still_says_what_it_was_made_for(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with walking(small_bundle, 900) as tape:
        fail_backend(tape)
        path = tape.save(tmp_path / "r.mcap")
    data = path.read_bytes()
    for size in (len(data) // 2, 20_000):
        path.write_bytes(data[:size])
        assert gaitctl(["explain", str(path), "--html", str(tmp_path / "page.html")]) == 15
        text = capsys.readouterr().out
        assert "made for backend_error; the moment itself is missing" in text
        assert "its end is missing" in text
        assert "1970" not in text


def test_a_damaged_part_of_a_file_hides_no_other(small_bundle: Bundle, tmp_path: Path) -> None:
    with walking(small_bundle, 900) as tape:
        fail_backend(tape)
        path = tape.save(tmp_path / "r.mcap")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = Account.of(path, read_recording(path))
    assert found.verdict.kind == "backend_error"
    assert "1 parts of the file are damaged and left out" in found.as_text("en")
    assert "have no step" not in found.as_text("en"), "what is left out is nobody's fault"


def test_a_recording_without_a_change_of_mode_has_a_page_too(small_bundle: Bundle) -> None:
    with walking(small_bundle, 20) as tape:
        recording = replace(tape.recording("shift"), events=[])
    page = page_of(Account.of(Path("r.mcap"), recording))
    assert page.count("<svg") == 4


def test_of_a_gaitd_that_was_lost_it_says_when_it_was_found(small_bundle: Bundle) -> None:
    lost = Event(at_ns=5, kind=EventKind.ERROR, session=7, text="the last gaitd died in session 7")
    with walking(small_bundle, 0) as tape:
        recording = tape.recording("lost")
    found = Account.of(Path("r.mcap"), replace(recording, events=[lost]))
    assert "found by the next start of gaitd, at " in found.as_text("en")
    assert "No step was recorded before" in found.as_text("en")
    assert "由下次启动的 gaitd" in found.as_text("zh")


def test_a_recording_on_request_with_late_commands_is_worth_a_look(small_bundle: Bundle) -> None:
    with walking(small_bundle, 100) as tape:
        assert account(tape, "request").then("en") == "Nothing."
        tape.backend.takes_ns = 15_000_000
        tape.walk(20)
        found = account(tape, "request")
    assert found.exit_code == 0
    assert found.then("en").startswith("Look at what is listed above")


def test_twelve_seconds_are_explained_in_a_fifth_of_a_minutes_two_seconds(
    small_bundle: Bundle, tmp_path: Path
) -> None:
    with walking(small_bundle, 1000) as tape:
        fail_backend(tape)
        path = tape.save(tmp_path / "r.mcap")
    began_s = time.process_time()
    assert gaitctl(["explain", str(path), "--html", str(tmp_path / "page.html")]) == 15
    assert time.process_time() - began_s < 0.4


def test_the_words_are_there_in_both_languages() -> None:
    for kind in KINDS.values():
        assert kind.family in FAMILIES
        assert all((*kind.what, *kind.then))
    assert all(text for pair in OBSERVATIONS.values() for text in pair)


def test_what_a_hostile_recording_says_is_text(small_bundle: Bundle, tmp_path: Path) -> None:
    with walking(small_bundle, 20) as tape:
        tape.damp(Reason.OPERATOR, "<script>alert(1)</script>\x1b[31m {joint} [x]")
        recording = tape.recording()
    named = replace(recording, info=msgspec.structs.replace(recording.info, policy="<b>&</b>"))
    found = Account.of(Path("<i>.mcap"), named)
    page = page_of(found)
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "{joint} [x]" in found.what("en")
