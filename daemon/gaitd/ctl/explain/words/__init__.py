"""What gaitctl explain says, in English and Chinese."""
