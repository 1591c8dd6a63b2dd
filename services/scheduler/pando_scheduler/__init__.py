"""Decides which jobs train where, and carries it out."""
