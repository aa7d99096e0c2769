"""Facts: what a fact is, how it is read from a file, and how it becomes tokens."""
