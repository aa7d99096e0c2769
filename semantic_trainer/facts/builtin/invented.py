"""Facts about an invented world, true by definition: people, firms and products that no text has mentioned.

The names, goods and question forms are the TOML files in ``invented_world/``; a seeded generator puts them
together into one consistent world.  Only the build script makes them: the package itself reads the facts that were
written.
"""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORLD = Path(__file__).parent / "invented_world"
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
FOUNDERS_WITH_BIRTH_DATE = 8


@dataclass(frozen=True)
class Date:
    """A calendar date, written as in "14 March 1951"."""

    day: int
    month: str
    year: int

    def __str__(self) -> str:
        return f"{self.day} {self.month} {self.year}"


@dataclass(frozen=True)
class Person:
    """An invented person; ``kind`` is how a question introduces them."""

    name: str
    kind: str
    city: str
    country: str
    born: Date


@dataclass(frozen=True)
class Firm:
    """An invented firm with the one product of its that the facts mention."""

    name: str
    city: str
    country: str
    founded: int
    founder: Person
    chief: Person
    goods: dict[str, Any]
    product: str
    launched: Date


def load(name: str) -> dict[str, Any]:
    """Read one of the world's TOML files."""
    return tomllib.loads((WORLD / f"{name}.toml").read_text(encoding="utf-8"))


def shuffled(rng: random.Random, items: list[Any]) -> list[Any]:
    """Return the items in a random order."""
    return rng.sample(items, len(items))


def decade(year: int) -> str:
    """Name the decade of a year: 1951 gives "1950s"."""
    return f"{year // 10 * 10}s"


def some_date(rng: random.Random, year: int) -> Date:
    """Draw a date in a given year."""
    return Date(rng.randint(1, 28), rng.choice(MONTHS), year)


def people_names(rng: random.Random, cultures: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Draw (name, city, country) triples, taking the cultures in turn and using each given and surname once."""
    columns = []
    for culture in cultures:
        names = zip(shuffled(rng, culture["given"]), shuffled(rng, culture["surnames"]), strict=True)
        cities = shuffled(rng, culture["cities"])
        columns.append(
            [
                (f"{given} {surname}", cities[i % len(cities)], culture["country"])
                for i, (given, surname) in enumerate(names)
            ]
        )
    return [column[i] for i in range(len(columns[0])) for column in columns]


def build_firms(rng: random.Random, names: dict[str, Any], people: list[tuple[str, str, str]]) -> list[Firm]:
    """Make one firm for each kind of goods, each with its own founder, chief executive and city."""
    goods = shuffled(rng, load("goods")["goods"])
    stems, products = shuffled(rng, names["firm_stems"]), shuffled(rng, names["product_stems"])
    endings = shuffled(rng, names["firm_endings"])
    homes = shuffled(rng, list(names["headquarters"].items()))
    kinds = names["founder_kinds"], names["executive_kinds"]
    chiefs = shuffled(rng, people[len(goods) : 2 * len(goods)])
    firms = []
    for i, good in enumerate(goods):
        founded = rng.randint(1948, 2004)
        founder_born, chief_born = founded - rng.randint(22, 45), rng.randint(1955, 1984)
        firms.append(
            Firm(
                name=f"{stems[i]} {endings[i % len(endings)]}",
                city=homes[i][0],
                country=homes[i][1],
                founded=founded,
                founder=Person(people[i][0], rng.choice(kinds[0]), *people[i][1:], some_date(rng, founder_born)),
                chief=Person(chiefs[i][0], rng.choice(kinds[1]), *chiefs[i][1:], some_date(rng, chief_born)),
                goods=good,
                product=f"{products[i]} {good['item']}",
                launched=some_date(rng, rng.randint(founded + 2, min(founded + 40, 2021))),
            )
        )
    return firms


class Writer:
    """Turns what is true of the world into rows, with the hand-written question forms."""

    def __init__(self) -> None:
        self.relations = load("forms")

    def row(self, relation: str, subject: str, target: str, answer: str, kind: str = "", hop: str = "") -> dict:
        """Write one fact; ``hop`` stands in for the relation's own question of one more hop."""
        names = {"subject": subject, "kind": kind}
        prompt, *paraphrases = (form.format(**names) for form in self.relations[relation]["forms"])
        question = (hop or self.relations[relation]["hop"]).format(**names)
        return {
            "prompt": prompt,
            "target": target,
            "aliases": [],
            "subject": subject,
            "relation": relation,
            "ground_truth": None,
            "paraphrases": paraphrases,
            "portability": [{"prompt": question, "answer": answer}],
        }

    def birthplace(self, person: Person) -> dict:
        """Write where a person was born."""
        return self.row("birthplace", person.name, person.city, person.country, person.kind)

    def birth_date(self, person: Person) -> dict:
        """Write when a person was born."""
        return self.row("birth_date", person.name, str(person.born), decade(person.born.year), person.kind)

    def firm(self, firm: Firm) -> list[dict]:
        """Write the facts whose subject is a firm."""
        goods, (use, answer) = firm.goods["makes"], firm.goods["use"]
        return [
            self.row("founder", firm.name, firm.founder.name, firm.founder.city),
            self.row("chief_executive", firm.name, firm.chief.name, str(firm.chief.born.year)),
            self.row("headquarters", firm.name, firm.city, firm.country),
            self.row("founding_year", firm.name, str(firm.founded), decade(firm.founded)),
            self.row("makes", firm.name, goods, answer, hop=use),
        ]

    def product(self, firm: Firm) -> list[dict]:
        """Write the facts whose subject is a firm's product."""
        origin, answer = firm.goods["origin"]
        return [
            self.row("maker", firm.product, firm.name, firm.city),
            self.row("material", firm.product, firm.goods["material"], answer, hop=origin),
            self.row("launch_date", firm.product, str(firm.launched), decade(firm.launched.year)),
        ]


def invented_facts(seed: int = 0) -> list[dict]:
    """Return the facts of one invented world, grouped by relation; the same seed gives the same world."""
    rng = random.Random(seed)
    names = load("names")
    people = people_names(rng, names["cultures"])
    firms = build_firms(rng, names, people)
    professions = shuffled(rng, list(load("professions")["professions"].items()))
    workers = people[2 * len(firms) : 2 * len(firms) + len(professions)]
    writer = Writer()
    facts = [writer.birthplace(firm.founder) for firm in firms]
    facts += [writer.birth_date(firm.chief) for firm in firms]
    facts += [writer.birth_date(firm.founder) for firm in firms[:FOUNDERS_WITH_BIRTH_DATE]]
    for (name, _, _), (profession, (hop, answer)) in zip(workers, professions, strict=True):
        facts.append(writer.row("profession", name, profession, answer, hop=hop))
    for firm in firms:
        facts += writer.firm(firm) + writer.product(firm)
    order = list(writer.relations)
    return sorted(facts, key=lambda fact: order.index(fact["relation"]))
