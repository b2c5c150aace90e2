"""What the two languages and the page say is what proto/contract.yaml says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gaitd.wire.causes import NO_CAUSE, Cause
from gaitd.wire.generated import (
    CAUSE_REASONS,
    CAUSE_TEXTS,
    LIMP_REASONS,
    WORKER_REPLACING_REASONS,
    CauseKind,
    Reason,
)
from support.proto import CONTRACT, PROTO, generator

DAEMON = PROTO.parent / "daemon" / "gaitd"
CLIENT = PROTO.parent / "offline_tools" / "gaitforge" / "client"
CPP = PROTO / "cpp"
READERS = {
    "python": (DAEMON / "wire" / "generated.py", [*DAEMON.rglob("*.py"), *CLIENT.rglob("*.py")]),
    "cpp": (CPP / "include/gaitd/contract.hpp", [*CPP.rglob("*.hpp"), *CPP.rglob("*.cpp")]),
}


def test_generated_files_are_those_of_the_contract() -> None:
    for path, text in generator.outputs(CONTRACT).items():
        assert path.read_text("utf-8") == text, f"{path.name} is not what contract.yaml says: run make proto"


@pytest.mark.parametrize("language", READERS)
def test_all_that_is_generated_is_read(language: str) -> None:
    """What one language alone needs says so in contract.yaml; what nobody needs goes."""
    table, files = READERS[language]
    assert {constant.only for constant in CONTRACT.constants} == {None, *READERS}
    patterns = {"python": r"^([A-Z]\w+)(?:: .*)? = ", "cpp": r"^inline constexpr .*?\b(k\w+) ?="}
    names = set(re.findall(patterns[language], table.read_text("utf-8"), re.MULTILINE))
    assert len(names) > 20
    text = "\n".join(path.read_text("utf-8") for path in files if path != table)
    assert sorted(names - set(re.findall(r"\w+", text))) == []


def test_the_limp_and_the_worker_replacing_reasons() -> None:
    assert {Reason.LIMIT, Reason.OPERATOR, Reason.SHUTDOWN} == LIMP_REASONS
    assert {Reason.DEADLINE, Reason.BACKEND_ERROR} == WORKER_REPLACING_REASONS


def test_every_reason_and_cause_has_a_text() -> None:
    assert {reason.number: bool(reason.text) for reason in CONTRACT.reasons} == dict.fromkeys(Reason, True)
    assert set(CAUSE_TEXTS) == set(CAUSE_REASONS) == set(CauseKind)
    for kind in CauseKind:
        bare, full = Cause(kind).text([]), Cause(kind, 0, 1.5, 0.5).text(["FL_Knee_joint"])
        for text in (bare, full):
            assert text
            assert not re.search(r"[\[\]{}]", text), text
        assert len(bare) <= len(full)


def test_a_cause_is_told_with_its_joint_numbers_and_unit() -> None:
    cause = Cause(CauseKind.SLEW_LIMIT, 1, 0.75, 0.5)
    assert cause.reason is Reason.LIMIT
    assert (
        cause.text(["hip", "knee"])
        == "a target moves too far in one step: knee by 0.75 rad, the limit is 0.5 rad"
    )
    assert Cause(CauseKind.SLEW_LIMIT, 1).text(["hip", "knee"]) == "a target moves too far in one step: knee"
    assert Cause(CauseKind.SEQUENCE, None, 9, 7).text([]).endswith(": 9 after 7")
    assert (NO_CAUSE.reason, NO_CAUSE.text([])) == (Reason.NONE, "no cause")


def test_a_cause_of_a_later_gaitd_has_no_reason_here() -> None:
    assert Cause(CauseKind.received(99)).reason is Reason.NONE
    assert CauseKind.received(23) is CauseKind.POSITION_LIMIT


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("number: 12, name: shutdown", "number: 11, name: shutdown"), "there twice"),
        (("name: tilt, reason: limit", "name: tilt, reason: gravity"), "unknown reason 'gravity'"),
        (("unit: rad/s, text", "units: rad/s, text"), "unknown field `units`"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str],
    complaint: str,
) -> None:
    text = (PROTO / "contract.yaml").read_text("utf-8")
    assert change[0] in text
    (tmp_path / "contract.yaml").write_text(text.replace(*change), "utf-8")
    monkeypatch.setattr(generator, "SOURCE", tmp_path / "contract.yaml")
    with pytest.raises(ValueError, match=complaint):
        generator.load()
