"""Answers: what a model says before and after tuning, decoded canonically and kept on disk."""

from .stage import add_old_answers, answer_prompts

__all__ = ["add_old_answers", "answer_prompts"]
