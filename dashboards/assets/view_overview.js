// The first page: what this run is, how far it is, and what was found in it.

function stageList(stages) {
  const item = (stage) => [
    h("strong", {}, stage.title),
    h("span", { class: "state" }, stage.note),
    stage.command && h("code", {}, stage.command),
  ];
  return h(
    "ol",
    { class: "stages" },
    stages.map((stage) => h("li", { class: `state-${stage.state}` }, item(stage))),
  );
}

function bigFigures(rows) {
  const shown = { share: percent, count, number: (value) => fixed(value, 1) };
  const item = ({ name, value, kind }) => [
    h("span", { class: "value" }, shown[kind](value)),
    h("span", { class: "name" }, name),
  ];
  return h(
    "ul",
    { class: "figures" },
    rows.map((row) => h("li", { title: row.note }, item(row))),
  );
}

function qualityPanel(index) {
  const { quality, figures } = index;
  const curves = figures.training.map((one) => figure(one.figure, `Training curve: ${one.name}`));
  return panel(
    "Sparse autoencoder",
    missingFor(index, "quality"),
    quality.length > 0 && bigFigures(quality),
    curves.length > 0 && h("div", { class: "plots" }, curves),
    missingFor(index, "training"),
  );
}

function meansTable(means) {
  const columns = [
    "mean AUROC on",
    ["best feature", "num"],
    ["linear probe", "num"],
    ["random-weight SAE", "num"],
    ["findings", "num"],
  ];
  const rows = means.map((row) => [
    words(row.tokens),
    fixed(row.best, 3),
    fixed(row.probe, 3),
    fixed(row.random, 3),
    row.n,
  ]);
  return table("Mean AUROC by set of tokens", columns, rows);
}

function truthPanel(index) {
  const { truth, figures } = index;
  const title = "Are the features real?";
  if (!truth) return panel(title, missingFor(index, "truth"));
  const columns = [
    "finding",
    "tokens",
    ["feature", "num"],
    ["best feature", "num"],
    ["95 % interval", "num"],
    ["linear probe", "num"],
    ["random-weight SAE", "num"],
  ];
  const rows = truth.rows.map((row) => [
    words(row.finding),
    words(row.tokens),
    isNumber(row.feature) ? link(featureHref(row.feature), `#${row.feature}`) : DASH,
    fixed(row.best, 3),
    isNumber(row.best) ? interval(row.best_low, row.best_high, 3) : row.note,
    fixed(row.probe, 3),
    fixed(row.random, 3),
  ]);
  return panel(
    title,
    muted(truth.text),
    figure(figures.truth, "AUROC by finding: best feature, linear probe, random-weight control"),
    meansTable(truth.means),
    opening("Every finding on every set of tokens", table("AUROC by finding", columns, rows)),
  );
}

const EFFECT =
  "Effect: of the log-odds that lie between a study with the finding and one without, the share that moves along when " +
  "the residual stream is swapped there. What can be decoded somewhere need not be read from there.";

function causalPanel(index) {
  const maps = index.figures.causal;
  const title = "Where the report reads the image";
  if (!maps.length) return panel(title, missingFor(index, "causal"));
  const place = h("div", {});
  const show = (at) => place.replaceChildren(figure(maps[at].figure, `Causal map: ${maps[at].name}`));
  show(0);
  const option = (map, i) => h("option", { value: i }, words(map.name));
  const groups = [...new Set(maps.map((map) => map.group))].map((group) =>
    h(
      "optgroup",
      { label: group },
      maps.map((map, i) => map.group === group && option(map, i)),
    ),
  );
  const select = h("select", { onchange: () => show(Number(select.value)) }, groups);
  return panel(title, muted(EFFECT), h("label", { class: "field" }, "Map", select), place);
}

function labelPanel(index) {
  const { labels } = index;
  const title = "What the labels say";
  if (!labels) return panel(title, missingFor(index, "labels"));
  const counts = heatTable("Features by concept and polarity", labels.polarities, labels.concepts, labels.counts);
  return panel(title, muted(labels.text), counts);
}

/** Lower and upper end, or the upper one alone. */
function rangeText({ low, high }) {
  if (isNumber(low)) return `${percent(low)} to ${percent(high)}`;
  return isNumber(high) ? `at most ${percent(high)}` : "";
}

function steeringPanel(index) {
  const title = "Does steering do what the labels say?";
  if (!index.steering.length) return panel(title, missingFor(index, "steering"));
  const numbers = ["strength", "on-target", "95 % or range", "off-target", "unreadable", "n", "p"];
  const columns = ["experiment", "goal", "condition", ...numbers.map((name) => [name, "num"]), "verdict"];
  const rows = index.steering.map((row) => [
    words(row.experiment),
    words(row.target),
    row.control ? h("span", { class: "muted" }, armName(row.control)) : words(row.condition),
    fixed(row.strength, 1),
    percent(row.on),
    rangeText(row),
    percent(row.off),
    percent(row.unreadable),
    count(row.n),
    isNumber(row.p) ? (row.p < 0.0005 ? "< 0.001" : fixed(row.p, 3)) : DASH,
    row.verdict,
  ]);
  return panel(
    title,
    muted(index.steering_note),
    table("Steering beside its controls", columns, rows),
    missingFor(index, "steering"),
  );
}

function overviewView(index) {
  document.title = `${index.run.name} · interp`;
  const wide = (content) => h("div", { class: "wide" }, content);
  return h(
    "div",
    { class: "stack" },
    h("div", {}, muted("Run"), h("h1", {}, index.run.name), paragraph(index.run.description)),
    missingFor(index, "overview"),
    h(
      "div",
      { class: "grid" },
      panel("Pipeline", stageList(index.run.stages)),
      panel("What went in", facts(index.run.facts), missingFor(index, "studies")),
      wide(qualityPanel(index)),
      wide(truthPanel(index)),
      causalPanel(index),
      labelPanel(index),
      wide(steeringPanel(index)),
    ),
    panel("About this file", list(index.page.notes)),
  );
}
