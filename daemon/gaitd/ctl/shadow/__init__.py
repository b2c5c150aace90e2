"""gaitctl shadow: a candidate beside the policy that walks, compared and never applied."""
