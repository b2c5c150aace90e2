"""Helpers of the tests: a controller in Python, processes, bundles, fakes."""
