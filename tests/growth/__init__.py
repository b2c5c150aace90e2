"""How the step's own work grows with the robot and its policy: ``make step-growth``."""
