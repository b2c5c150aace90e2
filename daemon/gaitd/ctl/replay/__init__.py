"""gaitctl replay: every recorded step computed again, by the same policy or by another one."""
