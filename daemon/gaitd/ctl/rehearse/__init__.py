"""gaitctl rehearse: the faults that matter, in a robot on its stand, timed at its controller."""
