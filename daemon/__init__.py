"""The part that acts: it wires collectors and policies together, tells people, keeps the state."""
