"""The error of the lab: what failed, where, with the cure."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot give what was asked for; the text is for the person at the terminal."""
