"""Evaluation: what was learnt, what was disturbed, what moved away from its target."""
