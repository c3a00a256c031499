"""
NVIDIA's XID errors as a table: what each means, and what resolves it.

Source: NVIDIA's Xid catalog (https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, as of
2025-10-29), its column of immediate resolutions; codes that it calls unused are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Resolution(StrEnum):
    """What NVIDIA's catalog says to do first."""

    REBOOT = "reboot"
    """RESTART_BM, RESTART_VM."""
    RESET = "reset"
    """RESET_GPU."""
    HARDWARE = "hardware"
    """A workflow of its own, or a look at the machine: WORKFLOW_XID_48, WORKFLOW_NVLINK…, CHECK_MECHANICALS."""
    APP = "app"
    """RESTART_APP."""
    NOTHING = "nothing"
    """IGNORE, or only the echo of another one, as 45 is, which ordinary jobs cause by the thousand."""

    @property
    def action(self) -> str:
        """Give it in words."""
        return _ACTIONS[self]


_ACTIONS = {
    Resolution.REBOOT: "reboot the host",
    Resolution.RESET: "reset the GPU once nothing uses it (nvidia-smi --gpu-reset), else reboot the host",
    Resolution.HARDWARE: "take work off the GPU and follow the procedure for this error; it is likely the hardware",
    Resolution.APP: "restart the program; if it comes again, its code or its libraries are at fault",
    Resolution.NOTHING: "nothing to do",
}


@dataclass(frozen=True, slots=True)
class XidMeaning:
    """One XID: NVIDIA's mnemonic, what happened in words, and what to do."""

    mnemonic: str
    words: str
    resolution: Resolution


def _engines(codes: dict[int, str], words: str) -> dict[int, XidMeaning]:
    """Give the rows of an engine that there are several of, by code and the engine's part of the mnemonic."""
    return {
        code: XidMeaning(f"ROBUST_CHANNEL_{engine}_ERROR", words.format(engine), Resolution.APP)
        for code, engine in codes.items()
    }


_REBOOT = {
    79: ("ROBUST_CHANNEL_GPU_HAS_FALLEN_OFF_THE_BUS", "the GPU has fallen off the bus"),
    151: ("ROBUST_CHANNEL_KEY_ROTATION_ERROR", "the rotation of keys failed"),
}
_RESET = {
    46: ("ROBUST_CHANNEL_GPU_TIMEOUT_ERROR", "the GPU stopped processing"),
    62: ("PMU_HALT_ERROR", "an internal microcontroller halted"),
    64: ("INFOROM_DRAM_RETIREMENT_FAILURE", "bad memory could not be remapped"),
    95: ("ROBUST_CHANNEL_UNCONTAINED_ERROR", "an uncontained memory error"),
    109: ("ROBUST_CHANNEL_CTXSW_TIMEOUT_ERROR", "a context switch timed out"),
    110: ("SEC_FAULT_ERROR", "a security fault"),
    119: ("GSP_RPC_TIMEOUT", "the GPU's system processor does not answer"),
    120: ("GSP_ERROR", "the GPU's system processor failed"),
    136: ("ALI_TRAINING_FAIL", "the training of a link failed"),
    140: ("UNRECOVERABLE_ECC_ERROR_ESCAPE", "an ECC error that could not be recovered"),
    143: ("GPU_INIT_ERROR", "the GPU could not be initialised"),
    155: ("NVLINK_SW_DEFINED_ERROR", "an NVLink error"),
    156: ("RESOURCE_RETIREMENT_EVENT", "a part of the GPU was retired"),
    158: ("GPU_FATAL_TIMEOUT", "a fatal timeout"),
}
_HARDWARE = {
    48: ("ROBUST_CHANNEL_GPU_ECC_DBE", "a double-bit ECC error"),
    54: ("SILENT_RUNNING_PWR_REDUCED_CLOCKING", "auxiliary power is not connected to the board"),
    74: ("NVLINK_ERROR", "an NVLink error"),
    144: ("NVLINK_SAW_ERROR", "an NVLink error (SAW)"),
    145: ("NVLINK_RLW_ERROR", "an NVLink error (RLW)"),
    146: ("NVLINK_TLW_ERROR", "an NVLink error (TLW)"),
    147: ("NVLINK_TREX_ERROR", "an NVLink error (TREX)"),
    148: ("NVLINK_NVLPW_CTRL_ERROR", "an NVLink error (NVLPW_CTRL)"),
    149: ("NVLINK_NETIR_ERROR", "an NVLink error (NETIR)"),
    150: ("NVLINK_MSE_ERROR", "an NVLink error (MSE)"),
}
_APP = {
    8: ("ROBUST_CHANNEL_FIFO_ERROR_IDLE_TIMEOUT", "the GPU stopped processing for a program"),
    11: ("ROBUST_CHANNEL_GR_ERROR_MISSING_HW", "an invalid or corrupted command stream"),
    13: ("ROBUST_CHANNEL_GR_EXCEPTION", "an exception in the graphics engine"),
    25: ("ROBUST_CHANNEL_GR_ILLEGAL_NOTIFY", "an invalid or illegal command stream"),
    31: ("ROBUST_CHANNEL_FIFO_ERROR_MMU_ERR_FLT", "a page fault in the GPU's memory"),
    32: ("ROBUST_CHANNEL_PBDMA_ERROR", "an invalid or corrupted command stream"),
    60: ("ROBUST_CHANNEL_SEC2_ERROR", "an exception in the video processor"),
    69: ("ROBUST_CHANNEL_GR_CLASS_ERROR", "a class error in the graphics engine"),
    80: ("PBDMA_PUSHBUFFER_CRC_MISMATCH", "corrupted data was sent to the GPU"),
    94: ("ROBUST_CHANNEL_CONTAINED_ERROR", "a memory error that hit one program only"),
}
_NOTHING = {
    14: ("ROBUST_CHANNEL_FAKE_ERROR", "a test"),
    37: ("ROBUST_CHANNEL_FECS_ERR_UNIMP_FIRMWARE_METHOD", "an error in the driver's firmware"),
    38: ("ROBUST_CHANNEL_FECS_ERR_WATCHDOG_TIMEOUT", "an error in the driver's firmware"),
    43: ("ROBUST_CHANNEL_RESETCHANNEL_VERIF_ERROR", "a program failed, the GPU is well"),
    44: ("ROBUST_CHANNEL_GR_FAULT_DURING_CTXSW", "a fault during a context switch"),
    45: ("ROBUST_CHANNEL_PREEMPTIVE_REMOVAL", "a program's work was removed after another error, or at its end"),
    63: ("INFOROM_DRAM_RETIREMENT_EVENT", "bad memory was remapped"),
    66: ("ROBUST_CHANNEL_FECS_ERR_REG_ACCESS_VIOLATION", "an illegal access by the driver"),
    67: ("ROBUST_CHANNEL_FECS_ERR_VERIF_VIOLATION", "an illegal access by the driver"),
    92: ("EXCESSIVE_SBE_INTERRUPTS", "many corrected ECC errors"),
    93: ("INFOROM_ERASE_LIMIT_EXCEEDED", "the InfoROM was written often"),
    106: ("SMBPBI_TEST_MESSAGE", "a test"),
    107: ("SMBPBI_TEST_MESSAGE_SILENT", "a test"),
    108: ("NVLINK_REMOTE_TRANSLATION_ERROR", "a remote NVLink translation failed"),
    121: ("C2C_ERROR", "a corrected error on the link between the chips"),
    137: ("NVLINK_PRIV_ERR", "an NVLink privilege error, mostly a program's"),
    141: ("ROBUST_CHANNEL_FAST_PATH_ERROR", "an error on CUDA's fast path"),
    152: ("ROBUST_CHANNEL_DLA_SMMU_ERROR", "an error of the deep learning accelerator"),
    153: ("ROBUST_CHANNEL_DLA_TIMEOUT", "a timeout of the deep learning accelerator"),
    154: ("GPU_RECOVERY_ACTION_CHANGED", "what the driver asks for has changed"),
    157: ("RESOURCE_RETIREMENT_FAILURE", "a part of the GPU could not be retired"),
    160: ("CHANNEL_RETIREMENT_EVENT", "a memory channel was retired"),
    161: ("CHANNEL_RETIREMENT_FAILURE", "a memory channel could not be retired"),
}
_COPY = {39: "CE0", 40: "CE1", 41: "CE2", 70: "CE3", 71: "CE4", 72: "CE5", 75: "CE6", 76: "CE7", 77: "CE8", 85: "CE9"}
_MORE_COPY = {code: f"CE{code - 116}" for code in range(126, 136)}
_DECODERS = {68: "NVDEC0", 83: "NVDEC1", 84: "NVDEC2", 88: "NVDEC3", 89: "NVDEC4", 96: "NVDEC5", 97: "NVDEC6"}
_MORE_DECODERS = {98: "NVDEC7", 82: "NVJPG0"} | {code: f"NVJPG{code - 98}" for code in range(99, 106)}
_FLOW = {86: "OFA0", 139: "OFA1"}


def _rows(rows: dict[int, tuple[str, str]], resolution: Resolution) -> dict[int, XidMeaning]:
    return {code: XidMeaning(mnemonic, words, resolution) for code, (mnemonic, words) in rows.items()}


XIDS: dict[int, XidMeaning] = {
    **_rows(_REBOOT, Resolution.REBOOT),
    **_rows(_RESET, Resolution.RESET),
    **_rows(_HARDWARE, Resolution.HARDWARE),
    **_rows(_APP, Resolution.APP),
    **_engines(_COPY | _MORE_COPY, "an exception in the copy engine {}"),
    **_engines(_DECODERS | _MORE_DECODERS, "an exception in the media engine {}"),
    **_engines(_FLOW, "an exception in the optical flow engine {}"),
    **_rows(_NOTHING, Resolution.NOTHING),
}
"""By code; of one that is not listed nothing is known, and no alert speaks of it."""
XID_WORDS: dict[int, str] = {code: meaning.words for code, meaning in XIDS.items()}
"""What each means, in words."""
