// The page's three tables: every fact, what was disturbed, what moved away.

const { facts, disturbed } = JSON.parse(document.getElementById("data").textContent);
const ARMS = ["plain", "weighted"];

const words = (text) => make("span", { class: "words", dir: "auto" }, text);
const mark = (right) =>
  make("span", { class: right ? "right" : "wrong", role: "img", "aria-label": right ? "right" : "wrong" }, right ? "✓" : "✗");
const tag = (text) => make("span", { class: "tag" }, text);
const said = (text) => (text === null || text === undefined ? "–" : text === "" ? make("i", {}, "no answer") : words(text));
const number = (value) => (value === null ? "–" : value.toFixed(3));

function prompt(fact) {
  const under = [fact.relation, fact.known_label].filter(Boolean).map((text) => tag(text.replaceAll("_", " ")));
  return [words(fact.prompt), " ", ...under];
}

function answer(arm) {
  return (fact) => {
    const { answer, right, away, cut } = fact[arm];
    return [mark(right), " ", said(answer), ...(away ? [" ", tag("moved away")] : []), ...(cut ? [" ", tag("cut off")] : [])];
  };
}

const text = (title, key, cell) => ({ title, key, cell: cell || ((row) => said(key(row))) });
const figure = (title, key, cell) => ({ title, key, cell: cell || ((row) => number(key(row))), number: true });
const told = (fact) => [fact.prompt, fact.target, fact.old ?? "", fact.relation ?? "", ...ARMS.map((arm) => fact[arm].answer ?? "")];
const answers = [
  text("Prompt", (fact) => fact.prompt, prompt),
  text("Target", (fact) => fact.target),
  text("Before", (fact) => fact.old, (fact) => [mark(fact.known), " ", said(fact.old)]),
  text("Plain", (fact) => fact.plain.answer, answer("plain")),
  text("Weighted", (fact) => fact.weighted.answer, answer("weighted")),
  figure("Distance before", (fact) => fact.distance),
  figure("Distance, plain", (fact) => fact.plain.distance),
  figure("Distance, weighted", (fact) => fact.weighted.distance),
];

function list(title, items) {
  return items.length ? [make("h3", {}, title), make("ul", {}, ...items.map((item) => make("li", {}, ...item)))] : [];
}

function rephrased(fact) {
  return fact.paraphrases.map((question, i) => [
    words(question),
    ...ARMS.flatMap((arm) =>
      fact[arm].rephrased[i] === undefined ? [] : [` · ${arm} `, mark(fact[arm].general[i]), " ", said(fact[arm].rephrased[i])]),
  ]);
}

function learnt(fact) {
  return ARMS.filter((arm) => fact[arm].learnt !== null).map((arm) => [
    fact[arm].learnt ? `${arm}: in epoch ${fact[arm].learnt}` : `${arm}: in no epoch`,
  ]);
}

function details(fact) {
  const near = [...new Set(ARMS.flatMap((arm) => fact[arm].disturbed))].sort((a, b) => a - b).map((i) => disturbed[i]);
  const replaced = fact.ground_truth && fact.ground_truth !== fact.target;
  const truth = replaced ? [make("p", {}, "True answer, which the target replaces: ", words(fact.ground_truth))] : [];
  const found = [
    ...truth,
    ...list("First learnt in training, every token with more than half of the odds", learnt(fact)),
    ...list("Rephrased", rephrased(fact)),
    ...list("Disturbed neighbours", near.map((row) => [
      words(row.prompt), " · base ", said(row.old), ...ARMS.flatMap((arm) => (row[arm] === null ? [] : [` · ${arm} `, said(row[arm])])),
    ])),
  ];
  return found.length ? found : [make("p", {}, "No more is known of this fact.")];
}

const farther = (arm) => (fact) => (fact[arm].away ? fact[arm].distance - fact.distance : null);
const place = (name) => document.getElementById(`${name}-table`);

new DataTable(place("facts"), facts, {
  noun: "facts",
  text: told,
  details,
  arms: ["weighted", "plain"],
  columns: [
    ...answers,
    ...(facts.some((fact) => fact.weight !== null) ? [figure("Weight", (fact) => fact.weight)] : []),
    figure("Disturbed, weighted", (fact) => fact.weighted.disturbed.length, (fact) => String(fact.weighted.disturbed.length)),
  ],
  filters: [
    { title: "Learnt", test: (fact, arm) => fact[arm].right },
    { title: "Not learnt", test: (fact, arm) => !fact[arm].right },
    { title: "Moved away", test: (fact, arm) => fact[arm].away },
    { title: "Disturbed neighbours", test: (fact, arm) => fact[arm].disturbed.length > 0 },
    { title: "Known before", test: (fact) => fact.known },
    { title: "Arms differ", test: (fact) => fact.plain.right !== fact.weighted.right },
  ],
});

new DataTable(place("disturbed"), disturbed, {
  noun: "questions",
  text: (row) => [row.prompt, row.old, ...ARMS.map((arm) => row[arm] ?? "")],
  columns: [
    text("Question", (row) => row.prompt),
    text("Base", (row) => row.old),
    text("Plain", (row) => row.plain),
    text("Weighted", (row) => row.weighted),
    figure("Neighbour of", (row) => row.facts, (row) => `${row.facts} fact${row.facts === 1 ? "" : "s"}`),
  ],
  filters: [
    { title: "By plain", test: (row) => row.plain !== null },
    { title: "By weighted", test: (row) => row.weighted !== null },
  ],
});

new DataTable(place("away"), facts.filter((fact) => ARMS.some((arm) => fact[arm].away)), {
  noun: "facts that moved away",
  text: told,
  sort: "Farther, weighted",
  columns: [...answers, figure("Farther, plain", farther("plain")), figure("Farther, weighted", farther("weighted"))],
  filters: [
    { title: "By plain", test: (fact) => fact.plain.away },
    { title: "By weighted", test: (fact) => fact.weighted.away },
  ],
});

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((element) => (element.open = true)));
