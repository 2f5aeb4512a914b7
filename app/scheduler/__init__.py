"""One instance: look, claim, execute, settle."""
