"""Calls to NVML, and what each way of failing costs: one figure, one GPU, or the whole library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pynvml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIBRARY_FAULTS = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
"""Nothing can be asked any more in this process: the library stays loaded for good, and only a new one helps."""
GPU_FAULTS: Mapping[int, str] = {
    pynvml.NVML_ERROR_GPU_IS_LOST: "lost",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "lost",
    pynvml.NVML_ERROR_RESET_REQUIRED: "reset_required",
    pynvml.NVML_ERROR_UNKNOWN: "unknown",
}
"""By what a call answers: the value of `GpuFault` that its GPU has."""


class LibraryLostError(Exception):
    """The library answers nothing more; the text says why in NVML's words."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class GpuFailedError(Exception):
    """A GPU cannot be read; `fault` is a value of `GpuFault`."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


def ask(function: Callable[..., Any], *arguments: object) -> Any:
    """
    Give what one function of NVML answers, None where this GPU or this driver does not know it.

    Raises `GpuFailedError` and `LibraryLostError` for what is worse. What stands for no handle is never to be
    passed on: the library does not check it, and the process would be gone.
    """
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        judge(error)
        return None


def judge(error: Any) -> None:
    """Raise if an error costs more than the answer to one call."""
    if error.value in LIBRARY_FAULTS:
        raise LibraryLostError(error.value, str(error)) from error
    if fault := GPU_FAULTS.get(error.value):
        raise GpuFailedError(fault) from error
