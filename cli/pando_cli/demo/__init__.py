"""`pando demo`: four jobs of three methods train together on one frozen base."""
