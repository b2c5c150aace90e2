"""Observations and environments: calibration sets, recordings, statistics."""
