"""The scheduler on simulated clusters: real traces, noise, failures, and other policies."""
