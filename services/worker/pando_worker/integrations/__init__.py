"""Writes jobs' curves to other tools, from their events; training knows nothing of it."""
