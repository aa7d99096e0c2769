"""Repeated runs, and the paper's analyses of them: protocol, runner, tables."""
