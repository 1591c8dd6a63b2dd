"""One module for each family of commands. A command reads its options, acts, and prints."""
