"""Readers of the world: they observe into frozen facts, never change anything and never decide."""
