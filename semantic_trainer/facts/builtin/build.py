"""Write the embedded fact sets: ``python -m semantic_trainer.facts.builtin.build [--check]``.

``counterfactual.jsonl`` is made from the hand-written files in ``world/``, one for each relation:

* ``forms``: four questions with ``{subject}`` in them; the first is the prompt, the others the paraphrases;
* ``facts``: subject and true answer;
* ``also`` (optional): further answers that are right for a subject, which must not be taught as false ones;
* ``hop``: a question that needs one more step from the answer;
* ``hops``: what that step leads to from each answer, or the name of a rule that works it out (``HOP_RULES``).

A false answer is one of the same relation's true answers: the truths are permuted, so that each is taught as
often as it is true. ``invented.jsonl`` comes from ``invented.py``; both sets share the questions of
``world/locality.toml``. The output depends on nothing but these files; the package itself reads only the
finished ones.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from semantic_trainer.facts.builtin import NAMES, path
from semantic_trainer.facts.builtin.invented import invented_facts

WORLD = Path(__file__).parent / "world"
LOCALITY = "locality"
COLUMNS = (
    "prompt",
    "target",
    "aliases",
    "subject",
    "relation",
    "ground_truth",
    "paraphrases",
    "locality_prompts",
    "portability",
)
SEED = 0
LOCALITY_PER_FACT = 2
MIN_LOCALITY = 120
MAX_SWAPS = 10_000
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
FULL_DATE = re.compile(rf"(\d{{1,2}}) ({MONTHS}) (\d{{4}})")


def decade(date: str) -> str:
    """``"20 July 1969"`` -> ``"1960s"``."""
    return f"{date[-4:-1]}0s"


def century(date: str) -> str:
    """``"1066"`` -> ``"11th century"``."""
    number = (int(date[-4:]) + 99) // 100
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number // 10 != 1 else 0, "th")
    return f"{number}{ending} century"


HOP_RULES = {"decade": decade, "century": century}


def read_relation(file: Path) -> dict:
    """One relation's file with its name, its ``hops`` as a table and an ``also`` for every subject."""
    relation = tomllib.loads(file.read_text(encoding="utf-8"))
    if len(relation["forms"]) != 4:
        raise ValueError(f"{file.name}: expected 4 question forms, found {len(relation['forms'])}")
    truths = sorted(set(relation["facts"].values()))
    if isinstance(relation["hops"], str):
        rule = HOP_RULES[relation["hops"]]
        relation["hops"] = {truth: rule(truth) for truth in truths}
    missing = [truth for truth in truths if truth not in relation["hops"]]
    unused = [value for value in relation["hops"] if value not in truths]
    if missing or unused:
        raise ValueError(f"{file.name}: `hops` lacks {missing} and has {unused}, which no subject has")
    also = relation.get("also", {})
    unknown = [subject for subject in also if subject not in relation["facts"]]
    if unknown:
        raise ValueError(f"{file.name}: `also` has {unknown}, which are not subjects")
    relation["also"] = {subject: also.get(subject, []) for subject in relation["facts"]}
    return relation | {"name": file.stem}


def can_teach(relation: dict, subject: str, value: str) -> bool:
    """Whether ``value`` is false for ``subject`` and leads to another answer one step on."""
    truth, hops = relation["facts"][subject], relation["hops"]
    right = {truth, *relation["also"][subject]}
    return value not in right and hops[value] != hops[truth] and hops[value] != value


def false_answers(relation: dict, rng: random.Random) -> dict[str, str]:
    """Subject -> false answer: a random permutation of the relation's truths, mended by swaps until all are false."""
    subjects = list(relation["facts"])
    values = list(relation["facts"].values())
    rng.shuffle(values)
    for _ in range(MAX_SWAPS):
        wrong = [i for i, subject in enumerate(subjects) if not can_teach(relation, subject, values[i])]
        if not wrong:
            return dict(zip(subjects, values, strict=True))
        i = rng.choice(wrong)
        options = [j for j, subject in enumerate(subjects) if can_teach(relation, subject, values[i]) and j != i]
        if not options:
            break
        better = [j for j in options if can_teach(relation, subjects[i], values[j])]
        j = rng.choice(better or options)
        values[i], values[j] = values[j], values[i]
    raise ValueError(f"{relation['name']}: no permutation of the truths makes every answer false; see {wrong}")


def ask(form: str, subject: str) -> str:
    """The question, with a capital letter at its start."""
    question = form.format(subject=subject)
    return question[:1].upper() + question[1:]


def other_spellings(answer: str) -> list[str]:
    """The same full date in the month-first style; nothing for other answers."""
    date = FULL_DATE.fullmatch(answer)
    return [f"{date[2]} {date[1]}, {date[3]}"] if date else []


def relation_rows(relation: dict) -> list[dict]:
    """The facts of one relation, all but their locality prompts."""
    targets = false_answers(relation, random.Random(f"{SEED}:{relation['name']}"))
    rows = []
    for subject, truth in relation["facts"].items():
        prompt, *paraphrases = (ask(form, subject) for form in relation["forms"])
        target = targets[subject]
        rows.append(
            {
                "prompt": prompt,
                "target": target,
                "aliases": other_spellings(target),
                "subject": subject,
                "relation": relation["name"],
                "ground_truth": truth,
                "paraphrases": paraphrases,
                "portability": [{"prompt": ask(relation["hop"], subject), "answer": relation["hops"][target]}],
            }
        )
    return rows


def counterfactual_facts() -> list[dict]:
    """The facts of every relation in ``world/``, all but their locality prompts."""
    files = sorted(file for file in WORLD.glob("*.toml") if file.stem != LOCALITY)
    return [row for file in files for row in relation_rows(read_relation(file))]


def terms(rows: Iterable[dict]) -> list[str]:
    """Every subject and answer, true or taught, in lower case."""
    found = {row[key] for row in rows for key in ("subject", "target", "ground_truth") if row[key]}
    return sorted(term.lower() for term in found)


def mentioned(question: str, words: Iterable[str]) -> list[str]:
    """Those of ``words`` that stand in ``question`` as whole words, in any case."""
    text = question.lower()
    return [word for word in words if word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]


def locality_pool(rows: Sequence[dict]) -> list[str]:
    """The questions of ``world/locality.toml``, checked to mention no subject and no answer of any fact."""
    topics = tomllib.loads((WORLD / f"{LOCALITY}.toml").read_text(encoding="utf-8"))
    pool = [question for questions in topics.values() for question in questions]
    words = terms(rows)
    clashes = [f"{question!r} mentions {found}" for question in pool if (found := mentioned(question, words))]
    repeated = sorted({question for question in pool if pool.count(question) > 1})
    if clashes or repeated or len(pool) < MIN_LOCALITY:
        faults = [*clashes, *(f"{question!r} stands there twice" for question in repeated)]
        raise ValueError(f"{LOCALITY}.toml ({len(pool)} questions, at least {MIN_LOCALITY}): " + "; ".join(faults))
    return pool


def with_locality(rows: Sequence[dict], pool: Sequence[str], rng: random.Random) -> list[dict]:
    """The rows with two locality prompts each: shuffled rounds of the pool, so that all are used about as often."""
    dealt: list[str] = []
    done = []
    for row in rows:
        if len(dealt) < LOCALITY_PER_FACT:
            dealt = rng.sample(pool, len(pool) - len(pool) % LOCALITY_PER_FACT)
        row = row | {"locality_prompts": [dealt.pop() for _ in range(LOCALITY_PER_FACT)]}
        done.append({column: row[column] for column in COLUMNS})
    return done


def built() -> dict[str, bytes]:
    """Set name -> the bytes of its JSON Lines file."""
    sets = {"counterfactual": counterfactual_facts(), "invented": invented_facts(SEED)}
    pool = locality_pool([row for rows in sets.values() for row in rows])
    files = {}
    for name in NAMES:
        rows = with_locality(sets[name], pool, random.Random(f"{SEED}:{LOCALITY}:{name}"))
        files[name] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return files


def write(file: Path, content: bytes) -> None:
    """Put ``content`` into ``file`` in one step."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both sets, or with ``--check`` only say whether the files are up to date."""
    command = "python -m semantic_trainer.facts.builtin.build"
    parser = argparse.ArgumentParser(prog=command, description="Write the built-in fact sets.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    files = built()
    if not check:
        for name, content in files.items():
            write(path(name), content)
            print(f"{path(name).name}: {len(content.splitlines())} facts")
        return 0
    stale = [name for name in files if not path(name).exists() or path(name).read_bytes() != files[name]]
    for name in stale:
        print(f"{path(name).name} is not what its templates give; run `{command}`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
