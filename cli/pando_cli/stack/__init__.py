"""A whole Pando on this machine: Redis, API, scheduler and workers as supervised processes."""
