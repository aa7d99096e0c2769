"""Formats of facts: which keys of a row give one away, and how one row becomes one fact."""

from collections.abc import Callable, Iterable, Mapping

from .schema import FACT_COLUMNS, as_texts, meant, show_rows

Row = Mapping[str, object]
NQ_PREFIX = "nq question: "


def _first(value: object) -> str | None:
    """The first text of a cell that may hold one or a list of them."""
    texts = as_texts(value)
    return texts[0] if texts else None


def _hops(value: object) -> list[dict[str, str]]:
    """A cell of `{prompt, answer}` questions."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(
        isinstance(hop, dict) and {"prompt", "answer"} <= set(hop) for hop in value
    ):
        raise ValueError(f"must be a list of {{prompt, answer}}, but {value!r} was found")
    return [{"prompt": hop["prompt"], "answer": hop["answer"]} for hop in value]


def read_mend_zsre(row: Row) -> dict:
    """MEND's zsRE: the target is the counterfactual `alt`; `loc` is a Natural Questions prompt."""
    return {
        "prompt": row.get("src"),
        "target": row.get("alt"),
        "subject": row.get("subject"),
        "ground_truth": _first(row.get("answers")),
        "paraphrases": as_texts(row.get("rephrase")),
        "locality_prompts": [p.removeprefix(NQ_PREFIX) for p in as_texts(row.get("loc"))],
    }


def read_knowedit(row: Row) -> dict:
    """KnowEdit: locality and portability are groups of prompts; every group is taken."""
    hops = [
        (p["prompt"], _first(p.get("ground_truth"))) for group in (row.get("portability") or {}).values() for p in group
    ]
    return {
        "prompt": row.get("prompt"),
        "target": row.get("target_new"),
        "subject": row.get("subject"),
        "ground_truth": _first(row.get("ground_truth")),
        "paraphrases": as_texts(row.get("rephrase_prompt")),
        "locality_prompts": [p["prompt"] for group in (row.get("locality") or {}).values() for p in group],
        "portability": [{"prompt": prompt, "answer": answer} for prompt, answer in hops if answer],
    }


def read_facts(row: Row) -> dict:
    """Our own columns; a text where a list belongs counts as a list of one."""
    fact = {name: row.get(name) for name in FACT_COLUMNS if name != "fact_id"}
    for name in ("aliases", "paraphrases", "locality_prompts", "portability"):
        try:
            fact[name] = _hops(fact[name]) if name == "portability" else as_texts(fact[name])
        except ValueError as error:
            raise ValueError(f"column {name!r} {error}") from error
    return fact


FORMATS: dict[str, tuple[frozenset[str], Callable[[Row], dict]]] = {
    "mend_zsre": (frozenset({"src", "alt", "rephrase", "loc"}), read_mend_zsre),
    "knowedit": (frozenset({"prompt", "target_new", "locality", "portability"}), read_knowedit),
    "facts": (frozenset({"prompt", "target"}), read_facts),
}


def detect_format(keys: Iterable[str]) -> str:
    """Name of the first format whose tell-tale keys are all present.

    Raises:
        ValueError: no format fits; the message lists the columns found and what each format needs.
    """
    keys = list(keys)
    for name, (needed, _) in FORMATS.items():
        if needed <= set(keys):
            return name
    near = "".join(meant(name, keys) for name in ("prompt", "target") if name not in keys)
    needs = "; ".join(f"{name}: {', '.join(sorted(needed))}" for name, (needed, _) in FORMATS.items())
    raise ValueError(
        f"no known fact format has the columns {keys}.{near} Formats and the columns they need: {needs}. "
        "Map your own columns with columns={'prompt': 'your_column', 'target': 'your_other_column'}."
    )


def read_row(read: Callable[[Row], dict], row: Row, number: int) -> dict:
    try:
        return {**read(row), "row": number}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__} {error}" if isinstance(error, (AttributeError, KeyError, TypeError)) else error
        raise ValueError(f"row {number} (counted from 0) is not as its format says: {what}") from error


def check_text(facts: list[dict]) -> None:
    """`prompt` and `target` are texts; a blank target is `check_facts`'s business, a blank prompt is ours."""
    for column in ("prompt", "target"):
        wrong = [i for i, fact in enumerate(facts) if not isinstance(fact[column], str)]
        if wrong:
            value = facts[wrong[0]][column]
            raise ValueError(
                f"column {column!r} must hold strings, but {show_rows(wrong)} hold(s) {type(value).__name__}, "
                f"first {value!r}. Convert it to text before loading."
            )
    for column in ("subject", "relation", "ground_truth"):
        wrong = [i for i, fact in enumerate(facts) if not isinstance(fact.get(column), (str, type(None)))]
        if wrong:
            value = facts[wrong[0]][column]
            raise ValueError(
                f"column {column!r} must hold strings or nothing, but {show_rows(wrong)} hold(s) "
                f"{type(value).__name__}, first {value!r}. Convert it to text before loading."
            )
    blank = [i for i, fact in enumerate(facts) if not fact["prompt"].strip()]
    if blank:
        raise ValueError(f"column 'prompt' is empty in {show_rows(blank)}. Fill it in or leave those rows out.")
