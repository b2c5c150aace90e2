"""Closed loops in physics behind the safety case: what faults do to a walking robot, what the limits stop."""
