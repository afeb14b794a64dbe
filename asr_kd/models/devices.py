"""Where to compute, and in which precision."""

import torch

from asr_kd.errors import AsrKdError


def resolve_device(setting: str) -> torch.device:
    """The device for the setting `device`: "auto" takes CUDA where there is one, "cuda:1" the second.

    Raises:
        AsrKdError: there is no such device.
    """
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(setting)
    except RuntimeError as error:
        raise AsrKdError(f"device={setting} is not a device; give auto, cpu or cuda") from error
    if device.type not in {"cpu", "cuda"}:
        raise AsrKdError(f"device={setting} is not supported; give auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise AsrKdError(f"device={setting}: this machine has no CUDA device; give auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise AsrKdError(
            f"device={setting}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0"
        )
    return device


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 matrix instructions; without them bf16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def resolve_precision(value: str, device: torch.device, setting: str) -> torch.dtype:
    """The type of matrix products for the value of a `setting`: "auto", "bf16" or "fp32".

    Raises:
        AsrKdError: an unknown value.
    """
    if value == "auto":
        return torch.bfloat16 if computes_in_bf16(device) else torch.float32
    known = {"bf16": torch.bfloat16, "fp32": torch.float32}
    if value not in known:
        raise AsrKdError(f"{setting}={value} is not known; give auto, bf16 or fp32")
    return known[value]
