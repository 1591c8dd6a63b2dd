"""Many adapters on one frozen linear layer."""
