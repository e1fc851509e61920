"""What the benchmarks share: interleaved timings, so that a drifting machine touches every variant alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping

import torch


def interleaved(variants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, the variants in turn, after one call each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(repeats + 1):
        for name, call in variants.items():
            started = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if i:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def spread(values: list[float], unit: float = 1e3) -> str:
    """Median and range, in milliseconds by default."""
    return f"{statistics.median(values) * unit:9.3f} [{min(values) * unit:.3f}, {max(values) * unit:.3f}]"


def ratios(slow: list[float], fast: list[float]) -> str:
    """The ratio of the medians, and the range of the ratios run by run."""
    pairs = [a / b for a, b in zip(slow, fast, strict=True)]
    return f"{statistics.median(slow) / statistics.median(fast):7.1f}x [{min(pairs):.1f}, {max(pairs):.1f}]"


def machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
