"""The training engine: a plain library, no services needed."""
