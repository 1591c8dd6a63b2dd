"""What `pando doctor` looks at: one kind of check a file, each giving findings."""
