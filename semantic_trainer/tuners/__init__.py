"""Tuning methods. Importing this package registers the Houlsby tuner with PEFT, before or after PEFT's own import.

Whoever loads a saved Houlsby adapter needs this one line first:

    >>> import semantic_trainer.tuners
"""

from .houlsby import HoulsbyConfig, HoulsbyModel, register

register()

__all__ = ["HoulsbyConfig", "HoulsbyModel"]
