"""Kernels in Triton, one a file, each with the function that launches it.

They run compiled on an NVIDIA GPU (sm_80 and newer) and, with TRITON_INTERPRET=1, in Triton's
interpreter on CPU tensors.
"""
