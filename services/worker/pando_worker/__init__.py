"""Prepares data and trains adapters."""
