"""MEFT (Hao et al., ACL 2024): a large key-value memory beside each network, read sparsely."""
