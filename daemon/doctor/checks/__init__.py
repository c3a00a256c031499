"""What the doctor judges: pure functions from what was seen to findings."""
