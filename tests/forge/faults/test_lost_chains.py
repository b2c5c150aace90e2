"""A chain that does not start or does not end as it must costs its own rows, with a reason, and no others."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gaitd.errors import GaitdError, InputError
from gaitforge.cli import main
from gaitforge.faults import runner, table
from gaitforge.faults.catalog import FAULTS
from gaitforge.faults.fault import Fault, Judged, Trial, failed, summarize
from gaitforge.faults.records import Records
from gaitforge.faults.rig import Rig, Setting
from gaitforge.faults.runner import STARTS, run_faults
from gaitforge.faults.trials import load_trials, save_trials
from gaitforge.simulate.trace import Trace

ROOT = Path(__file__).parents[3]
CONTROLLER = ROOT / "build/cpp/lite3_controller"
EXAMPLE = ROOT / "examples/lite3_walk/lite3_walk.gaitd"

ENDING = "simulate did not end within 60 s and was killed: Terminated"
ONE, TWO = Setting("one"), Setting("two")
A, B, C = (
    Fault(name, lambda rig: None, setting=setting) for name, setting in (("a", ONE), ("b", ONE), ("c", TWO))
)
PLAIN_FILES = {"ticks.csv": "monotonic_ns,mode,reason,seq,age_us\n1,active,none,1,0\n"}


def write_records(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in PLAIN_FILES.items():
        (directory / name).write_text(text)
    (directory / "simulate.json").write_text(json.dumps({"start_monotonic_ns": 5}))
    Trace(**{each.name: np.zeros((1000, 3)) for each in fields(Trace)}).save(directory / "trace.npz")


def cut(directory: Path, name: str) -> None:
    path = directory / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def chain_in(directory: Path) -> Any:
    return SimpleNamespace(directory=directory, ending=lambda name: ENDING.replace("simulate", name))


@pytest.mark.parametrize(
    ("spoil", "file", "state", "program"),
    [
        (lambda at: cut(at, "trace.npz"), "trace.npz", "cut or damaged", "simulate"),
        (lambda at: (at / "trace.npz").unlink(), "trace.npz", "missing", "simulate"),
        (lambda at: (at / "trace.npz").write_bytes(b""), "trace.npz", "cut or damaged", "simulate"),
        (lambda at: cut(at, "simulate.json"), "simulate.json", "cut or damaged", "simulate"),
        (lambda at: cut(at, "ticks.csv"), "ticks.csv", "cut or damaged", "controller"),
        (lambda at: (at / "ticks.csv").unlink(), "ticks.csv", "missing", "controller"),
    ],
)
def test_a_file_that_is_cut_or_missing_names_its_program(
    tmp_path: Path, spoil: Callable[[Path], object], file: str, state: str, program: str
) -> None:
    write_records(tmp_path)
    assert Records.of(chain_in(tmp_path)).start_ns == 5
    spoil(tmp_path)
    with pytest.raises(GaitdError, match=f"{file} is {state}: {program} did not end within"):
        Records.of(chain_in(tmp_path))


@dataclass
class Machine:
    """Chains without processes: what happens to each that is started, by setting, one letter a chain."""

    fates: dict[str, str]
    """s: does not start, i: wrong input, c: its trace is cut, anything else and no letter: as it must be."""

    def rig(self, bundle: Path, controller: Path, directory: Path, setting: Setting, **_: Any) -> StubRig:
        fate = self.fates.get(setting.name, "")
        self.fates[setting.name] = fate[1:]
        return StubRig(directory, setting, fate[:1])


@dataclass
class StubRig:
    directory: Path
    setting: Setting
    fate: str

    def __enter__(self) -> None:
        if self.fate == "s":
            raise GaitdError("gaitd ended with exit code 4: no")
        if self.fate == "i":
            raise InputError("no built controller there")

    def __exit__(self, *_: object) -> None:
        write_records(self.directory)
        if self.fate == "c":
            cut(self.directory, "trace.npz")

    @property
    def chain(self) -> Any:
        return chain_in(self.directory)


def injected(rig: Any, fault: Fault) -> Trial:
    return Trial(fault, 1, 2, session=1)


def run(
    monkeypatch: pytest.MonkeyPatch,
    output: Path,
    repeats: int = 1,
    done: dict[str, int] | None = None,
    trial: Callable[[Any, Fault], Trial] = injected,
    **fates: str,
) -> list[Judged]:
    monkeypatch.setattr(runner, "Rig", Machine(fates).rig)
    monkeypatch.setattr(runner, "run_trial", trial)
    monkeypatch.setattr(
        runner,
        "judge",
        lambda trial, *_: failed(trial) if trial.error else Judged(trial, "-", 1.0, "kept walking"),
    )
    return list(run_faults((A, B, C), repeats, EXAMPLE, CONTROLLER, output, None, done or {}))


def verdicts(judged: list[Judged]) -> list[tuple[str, str]]:
    return [
        (each.trial.fault.name, "void" if each.void else "miss" if each.misses else "ok") for each in judged
    ]


def test_what_was_lost_is_void_and_injected_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = run(monkeypatch, tmp_path, one="c")
    assert verdicts(judged) == [("a", "void"), ("b", "void"), ("a", "ok"), ("b", "ok"), ("c", "ok")]
    assert "trace.npz is cut or damaged: simulate did not end" in judged[0].misses[0]


def test_what_is_lost_twice_has_failed_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = run(monkeypatch, tmp_path, one="cc")
    assert verdicts(judged)[2:] == [("a", "miss"), ("b", "miss"), ("c", "ok")]
    row = summarize(A, judged[2:3])
    assert (row["ok"], row["outcome"]) == (False, "-")
    assert "simulate did not end" in row["misses"][0]


def test_a_chain_that_does_not_start_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdicts(run(monkeypatch, tmp_path, one="s")) == [("a", "ok"), ("b", "ok"), ("c", "ok")]


def test_a_chain_that_never_starts_fails_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = run(monkeypatch, tmp_path, one="s" * STARTS)
    assert verdicts(judged) == [("a", "miss"), ("b", "miss"), ("c", "ok")]
    assert judged[0].misses == ["not injected, the chain did not start: gaitd ended with exit code 4: no"]


def test_wrong_input_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no built controller"):
        run(monkeypatch, tmp_path, one="i")


def test_a_simulator_that_dies_with_a_fault_fails_that_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(rig: Any, fault: Fault) -> Trial:
        return replace(injected(rig, fault), error="simulate ended with exit code -9" if fault is B else "")

    assert verdicts(run(monkeypatch, tmp_path, trial=dies, one="c")) == [
        ("a", "void"), ("b", "miss"), ("a", "ok"), ("c", "ok"),
    ]  # fmt: skip


def test_what_was_injected_before_is_not_injected_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = run(monkeypatch, tmp_path, repeats=2, done={"a": 2, "b": 1})
    assert verdicts(judged) == [("b", "ok"), ("c", "ok"), ("c", "ok")]


def test_saved_injections_make_the_same_rows(tmp_path: Path) -> None:
    trial = Trial(
        A, 1, 2, 1, gaitd_reason="deadline", detail='a "word"\tand\nanother', explained="inference_hung"
    )
    again = replace(trial, walks_after_s=3.25, ready_after_s=1.0)
    judged = [
        Judged(trial, "deadline", 4.92, "lay down softly"),
        Judged(again, "deadline", 5.08, "fell hard", ["x", "y z"]),
        failed(replace(trial, error="lost"), void=True),
    ]
    path = tmp_path / "trials.tsv"
    save_trials(path, judged)
    loaded = load_trials(path, {"a": A})
    assert summarize(A, loaded[:2]) == summarize(A, judged[:2])
    assert [each.void for each in loaded] == [False, False, True]
    assert load_trials(path, {"b": B}) == []


@pytest.mark.parametrize("content", [None, "fault\tsomething\na\tb\n"])
def test_a_run_that_cannot_go_on_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "trials.tsv").write_text(content.replace("\na\t", f"\n{FAULTS[0].name}\t"))
    options = ["--bundle", str(EXAMPLE), "--controller", "x", "--output", str(tmp_path), "--resume"]
    assert main(["faults", *options, "--only", FAULTS[0].name]) == 2
    assert "trials.tsv" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_and_says_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = FAULTS[0], FAULTS[1]
    trial = Trial(first, 1, 2, 1)

    def interrupted(*_: Any) -> Any:
        yield Judged(trial, "worker_died", 0.2, "lay down softly")
        raise KeyboardInterrupt

    def goes_on(*arguments: Any) -> Any:
        assert arguments[-1] == {first.name: 1}
        yield failed(replace(trial, fault=second, error="simulate ended with exit code -9: | no"))

    options = ["--bundle", str(EXAMPLE), "--controller", "x", "--output", str(tmp_path)]
    only = ["--only", first.name, "--only", second.name, "--repeats", "1"]
    monkeypatch.setattr(table, "START_FAULTS", ())
    monkeypatch.setattr(table, "FAULTS", (first, second))
    monkeypatch.setattr(table, "run_faults", interrupted)
    assert main(["faults", *options, *only]) == 130
    monkeypatch.setattr(table, "run_faults", goes_on)
    assert main(["faults", *options, *only, "--resume"]) == 3
    rows = (tmp_path / "table.md").read_text().splitlines()[-2:]
    assert first.name in rows[0]
    assert rows[0].endswith("| yes |")
    assert second.name in rows[1]
    assert rows[1].endswith("| no: simulate ended with exit code -9: \\| no |")
    assert second.name in capsys.readouterr().err


@pytest.mark.thorough
@pytest.mark.skipif(not CONTROLLER.exists(), reason=f"the example controller is not built: {CONTROLLER}")
def test_a_killed_simulator_costs_one_row(tmp_path: Path) -> None:
    good = next(fault for fault in FAULTS if fault.name == "worker: kill -9")

    def kill(rig: Rig) -> None:
        rig.signal("simulate", signal.SIGKILL)

    bad = replace(good, name="simulator: kill -9", inject=kill)
    faults = (good, bad, replace(good, name="after"))
    judged = list(run_faults(faults, 1, EXAMPLE, CONTROLLER, tmp_path))
    last = {each.trial.fault.name: each for each in judged}
    assert verdicts(judged)[:2] == [(good.name, "void"), (bad.name, "miss")]
    assert "trace.npz is missing: simulate ended with exit code -9" in judged[0].misses[0]
    assert "simulate ended with exit code -9" in last[bad.name].misses[0]
    assert [last[name].outcome for name in (good.name, "after")] == ["lay down softly"] * 2
