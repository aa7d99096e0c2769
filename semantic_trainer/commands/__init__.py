"""The commands of `semantic-trainer`, one module each: parse, call the rooms in order, print."""

COMMANDS = {
    "run": "teach facts: measure, train plain and weighted, evaluate, report",
    "facts": "validate and describe files of facts",
    "distances": "the report before training: which facts are near, far or known",
    "budget": "the learning rate, rank and batch size that make the most facts stick, and what they buy",
    "filter": "replace facts by facts of a pool, so that their distances are smaller and wider spread",
    "study": "repeated, paired runs from a recipe, and the paper's tables and figures of them",
    "ask": "ask the base and the tuned models of a finished run, side by side",
    "push": "publish a finished run on the Hub: adapter, card, figures, summary",
    "evaluate": "score a published adapter again on its base model: does its table hold?",
    "compare": "two finished runs, or the two arms of one, fact by fact: differences, intervals, p-values",
}
