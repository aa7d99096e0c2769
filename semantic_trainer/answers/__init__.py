"""Answers: what a model says before and after tuning, decoded canonically and kept on disk."""

from .client import EndpointError
from .endpoint import Endpoint
from .stage import add_old_answers, answer_prompts

__all__ = ["Endpoint", "EndpointError", "add_old_answers", "answer_prompts"]
