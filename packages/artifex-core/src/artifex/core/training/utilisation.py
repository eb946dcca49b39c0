"""Model FLOPs utilisation: the share of a device's peak that training reaches.

    MFU = FLOPs of a compiled step on one device · steps a second / peak FLOPs a second                          (1)
where the peak is known: dense bfloat16, from the makers' data sheets. Elsewhere, on CPUs above all, there is none.
"""

from __future__ import annotations

PEAKS = {
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100": 312e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
}


def peak_flops(device_kind: str) -> float | None:
    """FLOPs a second of a kind of device, by the name that jax gives it; None where it is not known."""
    return next((peak for name, peak in PEAKS.items() if device_kind.startswith(name)), None)


def utilisation(flops: float, steps_per_s: float, device_kind: str) -> float | None:
    """MFU (eq. 1), or None."""
    peak = peak_flops(device_kind)
    return None if peak is None else flops * steps_per_s / peak
