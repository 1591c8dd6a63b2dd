"""The pando command."""
