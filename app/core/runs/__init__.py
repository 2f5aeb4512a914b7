"""What becomes of a run: claims, outcomes, retries, missed runs, the state machine."""
