"""Report: the summary of a run, its figures, its page and its model card."""
