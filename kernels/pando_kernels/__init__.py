"""Many adapters on one frozen base: packed segments, methods, fused autograd Functions.

Usable alone: nothing here knows jobs, services or transformers. Every operation is written as a
readable torch reference, which is also the CPU backend.
"""
