"""The HTTP API: OpenAI's fine-tuning protocol."""
