"""gaitctl explain: from a recording to why the robot went to damping, and what to do next."""
