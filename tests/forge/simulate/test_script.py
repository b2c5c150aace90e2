"""Command scripts and pushes."""

import numpy as np
import pytest

from gaitd.errors import InputError
from gaitforge.simulate.script import CommandScript, PushSchedule, parse_command, parse_push, read_script


def write(tmp_path, text: str):
    path = tmp_path / "script.csv"
    path.write_text(text)
    return path


def test_commands_hold_until_the_next(tmp_path):
    script = read_script(write(tmp_path, "t_s,forward,left,yaw\n1, 1,0,0  # walk\n\n# turn\n3,0.5,0,-0.7\n"))
    np.testing.assert_array_equal(script.at(0.99), (0, 0, 0))
    np.testing.assert_array_equal(script.at(1.0), (1, 0, 0))
    np.testing.assert_array_equal(script.at(2.99), (1, 0, 0))
    np.testing.assert_array_equal(script.at(100.0), np.array((0.5, 0, -0.7), np.float32))
    assert script.at(0.0).dtype == np.float32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0,1,0\n", "script.csv:1: expected t_s,forward,left,yaw, found '0,1,0'"),
        ("0,1,0,0\n1,x,0,0\n", "script.csv:2: expected"),
        ("0,nan,0,0\n", "script.csv:1: expected"),
        ("2,1,0,0\n2,0,0,0\n", "script.csv:2: time 2 s does not come after 2 s"),
        ("# nothing\n", "has no rows"),
    ],
)
def test_errors_name_the_line(tmp_path, text, said):
    with pytest.raises(InputError) as error:
        read_script(write(tmp_path, text))
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.csv: cannot read"):
        read_script(tmp_path / "gone.csv")


def test_a_constant_command():
    np.testing.assert_array_equal(
        CommandScript.constant(*parse_command("1,0,-0.5")).at(7.0), np.array((1, 0, -0.5), np.float32)
    )
    with pytest.raises(InputError, match="forward,left,yaw"):
        parse_command("1,0")


@pytest.mark.parametrize("text", ["6", "6:1", "x:1,0", "6:1,0,0", "-1:1,0", "6:inf,0"])
def test_malformed_pushes_are_refused(text):
    with pytest.raises(InputError, match="--push"):
        parse_push(text)


def test_each_push_comes_once_in_its_time():
    late, early = parse_push("6:0,0.8"), parse_push("2:1,0")
    schedule = PushSchedule((late, early))
    assert schedule.due(1.999) == []
    assert schedule.due(2.0) == [early]
    assert schedule.due(2.0) == []
    assert schedule.due(9.0) == [late]
