"""How examples lie in a forward pass: rows that share the prompts' head, and which positions predict."""
