from __future__ import annotations

from gaitd.guardian.degradation import REPEAT_NS, WINDOW_NS, Degradation


def test_late_commands_are_told_with_their_share() -> None:
    watch = Degradation()
    assert watch.look(0, 0, WINDOW_NS) == ""
    assert watch.look(50, 3, WINDOW_NS + 1) == ""  # the window is not over
    assert watch.look(83, 5, 2 * WINDOW_NS).startswith("5 of the last 83 commands")


def test_nothing_is_said_while_all_is_in_time() -> None:
    watch = Degradation()
    assert all(watch.look(83 * n, 0, n * WINDOW_NS) == "" for n in range(1, 60))


def test_what_lasts_is_repeated_seldom() -> None:
    watch = Degradation()
    said = [n for n in range(1, 41) if watch.look(83 * n, 10 * n, n * WINDOW_NS)]
    assert said == [1 + n * REPEAT_NS // WINDOW_NS for n in range(4)]
