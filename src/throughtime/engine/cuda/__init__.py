"""The GPU's kernels: what engine/gpu.py launches. Only device.py knows Numba's CUDA package."""
