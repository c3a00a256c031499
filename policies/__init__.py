"""Pure functions from facts to verdicts: what is wrong, and what a cleanup would remove."""
