"""Formats of facts: which columns give one away, and how one row becomes one fact."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .cells import Row, an_object, answers, first_text, own_columns, questions, texts
from .conversations import read_messages, read_prompt_completion
from .messages import meant, readable, shown
from .schema import FACT_COLUMNS

NQ_PREFIX = "nq question: "


def read_mend_zsre(row: Row) -> dict:
    """MEND's zsRE: the target is the counterfactual `alt`; `loc` is a Natural Questions prompt."""
    own = own_columns(row)
    return {
        **own,
        **answers(row.get("alt"), row, "alt"),
        "prompt": row.get("src"),
        "ground_truth": first_text(row.get("answers"), "answers"),
        "paraphrases": own["paraphrases"] + texts(row, "rephrase"),
        "locality_prompts": own["locality_prompts"] + [p.removeprefix(NQ_PREFIX) for p in texts(row, "loc")],
    }


def read_rome_counterfact(row: Row) -> dict:
    """ROME's CounterFact: the prompt is a template with `{}` for the subject; its neighbourhood is the locality."""
    own, rewrite = own_columns(row), an_object(row.get("requested_rewrite"), "requested_rewrite")
    template, subject = rewrite.get("prompt"), rewrite.get("subject")
    new, true = (an_object(rewrite.get(name), f"requested_rewrite.{name}") for name in ("target_new", "target_true"))
    if not isinstance(template, str) or not isinstance(subject, str):
        raise ValueError(f"`requested_rewrite` must hold the texts prompt and subject, but {shown(rewrite)} was found")
    if "{}" not in template and not (subject.strip() and subject.strip() in template):
        raise ValueError(
            f"`requested_rewrite.prompt` must hold {{}} where the subject {shown(subject)} belongs, or the subject "
            f"itself, but {shown(template)} was found"
        )
    return {
        **own,
        **answers(new.get("str"), row, "requested_rewrite.target_new.str"),
        "prompt": template.replace("{}", subject),
        "subject": subject,
        "relation": rewrite.get("relation_id"),
        "ground_truth": true.get("str"),
        "paraphrases": own["paraphrases"] + texts(row, "paraphrase_prompts"),
        "locality_prompts": own["locality_prompts"] + texts(row, "neighborhood_prompts"),
    }


def read_knowedit(row: Row) -> dict:
    """KnowEdit: locality and portability are groups of prompts; every group is taken."""
    fact = read_easyedit_counterfact(row)
    asked = [prompt for question in questions(row.get("locality"), "locality") for prompt in texts(question, "prompt")]
    return {
        **fact,
        "paraphrases": fact["paraphrases"] + texts(row, "rephrase"),
        "locality_prompts": fact["locality_prompts"] + asked,
    }


def read_easyedit_counterfact(row: Row) -> dict:
    """EasyEdit's flat CounterFact, with its portability questions where a file has them."""
    own = own_columns(row)
    asked, answered = (texts(row, f"portability_{name}") for name in ("prompt", "ground_truth"))
    if len(asked) != len(answered):
        raise ValueError(f"there are {len(asked)} portability_prompt, but {len(answered)} portability_ground_truth")
    more = [{"prompt": prompt, "answer": answer} for prompt, answer in zip(asked, answered, strict=True)]
    return {
        **own,
        **answers(row.get("target_new"), row, "target_new"),
        "prompt": row.get("prompt"),
        "ground_truth": first_text(row.get("ground_truth"), "ground_truth"),
        "paraphrases": own["paraphrases"] + texts(row, "rephrase_prompt"),
        "locality_prompts": own["locality_prompts"] + texts(row, "locality_prompt"),
        "portability": own["portability"] + more,
    }


def read_facts(row: Row) -> dict:
    """Our own columns."""
    return {**own_columns(row), **answers(row.get("target"), row, "target"), "prompt": row.get("prompt")}


@dataclass(frozen=True)
class Format:
    """How one row is read, and the columns that are.

    Attributes:
        read: one row -> one fact.
        needed: columns that a set of this format must have.
        signs: further columns by which it is recognised.
        others: further columns that are read; our own optional columns always are.
    """

    read: Callable[[Row], dict]
    needed: frozenset[str]
    signs: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def describe(self, keys: Iterable[str]) -> str:
        """`(by prompt, target); ignored: case_id` for a set with these columns."""
        keys = list(keys)
        by = sorted((self.needed | self.signs) & set(keys))
        used = self.needed | self.signs | self.others | set(FACT_COLUMNS)
        ignored = [key for key in keys if key not in used]
        return f"(by {', '.join(by)})" + (f"; ignored: {readable(ignored)}" if ignored else "")


EASYEDIT_OTHERS = frozenset({"locality_prompt", "portability_prompt", "portability_ground_truth"})
# The first that fits is taken: those with the most telling columns stand before those that have them in common.
FORMATS: dict[str, Format] = {
    "mend_zsre": Format(
        read_mend_zsre, frozenset({"src", "alt"}), frozenset({"rephrase", "loc"}), frozenset({"answers"})
    ),
    "rome_counterfact": Format(
        read_rome_counterfact,
        frozenset({"requested_rewrite"}),
        frozenset({"paraphrase_prompts", "neighborhood_prompts"}),
    ),
    "knowedit": Format(
        read_knowedit,
        frozenset({"prompt", "target_new", "locality"}),
        frozenset({"portability"}),
        EASYEDIT_OTHERS | {"rephrase", "rephrase_prompt", "ground_truth"},
    ),
    "facts": Format(read_facts, frozenset({"prompt", "target"})),
    "easyedit_counterfact": Format(
        read_easyedit_counterfact,
        frozenset({"prompt", "target_new"}),
        frozenset({"ground_truth", "rephrase_prompt"}),
        EASYEDIT_OTHERS,
    ),
    "prompt_completion": Format(read_prompt_completion, frozenset({"prompt", "completion"})),
    "messages": Format(read_messages, frozenset({"messages"})),
}


def detect_format(keys: Iterable[str], mapped: bool = False) -> str:
    """Name of the first format whose needed columns are all present.

    Args:
        keys: the columns found.
        mapped: the user named fact columns, so that these come before every other format's.

    Raises:
        ValueError: no format fits; the message lists the columns found and what each format needs.
    """
    keys = list(keys)
    for name in ["facts", *FORMATS] if mapped else FORMATS:
        if FORMATS[name].needed <= set(keys):
            return name
    near = "".join(meant(name, keys) for name in ("prompt", "target") if name not in keys)
    needs = "; ".join(f"{name}: {', '.join(sorted(form.needed))}" for name, form in FORMATS.items())
    raise ValueError(
        f"no known fact format has the columns {shown(keys)}.{near} Formats and the columns they need: {needs}. "
        "Map your own columns with columns={'prompt': 'your_column', 'target': 'your_other_column'}, or on the "
        "command line with --columns prompt=your_column target=your_other_column."
    )
