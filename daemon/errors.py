"""The errors that end a command, each with its exit code."""

from __future__ import annotations


class ShipkeeperError(Exception):
    """Something that stops the command: the text is for people and names the cure."""

    exit_code = 1


class ConfigError(ShipkeeperError):
    """The configuration cannot be used."""

    exit_code = 78


class StoreTooNewError(ShipkeeperError):
    """The state was written by a newer version."""

    exit_code = 78


class StoreInUseError(ShipkeeperError):
    """Another daemon holds the state."""
