"""Takes secrets out of a container's inspect, its environment first, before it is stored or shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.redact import Redactor

SHOWN_VARIABLES = frozenset({"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_VISIBLE_DEVICES"})
"""Which GPUs a container asked for is no secret; of every other variable only the name is kept."""
_HIDDEN = "***"
_DEEPEST = 30


def redacted_inspect(inspect: Mapping[str, Any], redact: Redactor) -> dict[str, Any]:
    """Give a copy with every value of the environment hidden, and what looks like a secret anywhere else."""
    return {key: _field(key, value, redact, 0) for key, value in inspect.items()}


def _field(key: str, value: Any, redact: Redactor, depth: int) -> Any:
    if key == "Env" and isinstance(value, list):
        return [_variable(str(each)) for each in value]
    if isinstance(value, str):
        # With its name before it: "password" beside a value tells that it is one.
        shown = redact.text(f"{key}={value}")
        return shown[len(key) + 1 :] if shown.startswith(f"{key}=") else _HIDDEN
    return _value(value, redact, depth)


def _value(value: Any, redact: Redactor, depth: int) -> Any:
    if depth > _DEEPEST:
        return _HIDDEN
    match value:
        case str():
            return redact.text(value)
        case dict():
            return {key: _field(key, each, redact, depth + 1) for key, each in value.items()}
        case list() if value and all(isinstance(each, str) for each in value):
            return _command(value, redact)
        case list():
            return [_value(each, redact, depth + 1) for each in value]
        case _:
            return value


def _command(parts: Sequence[str], redact: Redactor) -> list[str]:
    """Read the parts of a command line as one text: the secret after `--password` is a part of its own."""
    return redact.text("\n".join(parts)).split("\n")


def _variable(text: str) -> str:
    name, _, _value = text.partition("=")
    return text if name in SHOWN_VARIABLES else f"{name}={_HIDDEN}"
