"""The alert lifecycle, its outbox and the sinks that render messages."""
