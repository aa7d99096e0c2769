"""Print 30 built-in facts, drawn by seed, into docs/builtin_facts.md."""

import random
from pathlib import Path

from semantic_trainer import load_facts

COUNT, SEED = 30, 0
HEAD = """# Thirty built-in facts

Drawn at random (seed {seed}) by `make docs-sample`. Targets of `counterfactual` are false on purpose; `invented` is
true by definition, about people, firms and products that do not exist.

"""


def main() -> None:
    """Draw over both sets and write the page."""
    rows = [(name, fact) for name in ("counterfactual", "invented") for fact in load_facts(f"builtin:{name}")]
    lines = [HEAD.format(seed=SEED)]
    for name, fact in random.Random(SEED).sample(rows, COUNT):
        truth = f" (truth: {fact['ground_truth']})" if fact["ground_truth"] else ""
        hop = fact["portability"][0]
        lines.append(f"**{fact['prompt']}** {fact['target']}{truth} · `{name}`, `{fact['relation']}`\n\n")
        lines += [f"- {paraphrase}\n" for paraphrase in fact["paraphrases"]]
        lines.append(f"- one hop further: {hop['prompt']} {hop['answer']}\n")
        lines.append(f"- unrelated: {' '.join(fact['locality_prompts'])}\n\n")
    Path(__file__).with_name("builtin_facts.md").write_text("".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
