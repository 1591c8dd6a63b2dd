"""Pando's domain: what jobs, adapters and workers are, and where they are kept."""
