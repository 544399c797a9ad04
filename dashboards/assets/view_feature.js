// One feature: what it is called, how good that name is, where it fires, what it does.

const SCORE_NOTE =
  "How well the label tells firing contexts from quiet ones, on patients that the explainer never saw. Tick: labels of " +
  "other features on the same contexts.";

function scoresTable(feature) {
  const cells = (score) => {
    if (!score.n) return ["", DASH, score.note, DASH];
    const range = interval(score.auc_low, score.auc_high);
    const glyph = intervalGlyph(score.auc, score.auc_low, score.auc_high, score.base_auc);
    return [glyph, fixed(score.auc), range, fixed(score.base_auc)];
  };
  const rows = feature.scores.map((score) => [`${words(score.negatives)}s`, ...cells(score)]);
  const columns = ["against", ["", "glyph-cell"], ["AUC", "num"], ["95 % interval", "num"], ["shuffled", "num"]];
  return [small(SCORE_NOTE), table("Scores of the label", columns, rows)];
}

function otherLabels(others) {
  const item = (other) => [other.label, " ", polarityChip(other.polarity), ` ${other.explainer}`];
  return others.length > 0 && opening("Other explainers", list(others.map(item)));
}

function labelPanelOf(index, feature) {
  if (!feature.label) {
    const why = feature.dead ? "It never fires, so nothing can be said of it." : "The explainer gave it no label.";
    return panel("Label", missingFor(index, "labels"), index.labels && muted(why));
  }
  const { firing, quiet, n_firing, n_quiet } = feature.fits;
  const fits =
    `The label fits ${percent(firing)} of the ${count(n_firing)} firing contexts and ${percent(quiet)} of the ` +
    `${count(n_quiet)} quiet ones that the explainer saw.`;
  return panel(
    "Label",
    feature.reasoning && paragraph(feature.reasoning),
    isNumber(firing) && muted(fits),
    feature.scores.length ? scoresTable(feature) : missingFor(index, "scores"),
    otherLabels(feature.others),
  );
}

function activityPanel(index, feature) {
  const group = index.page.groups ? `${feature.group + 1} of ${index.page.groups}` : feature.group + 1;
  const rows = [
    ["Fires on", `${percent(feature.rate)} of tokens (${count(feature.n_fires)})`],
    ["Studies", count(feature.studies)],
    ["Patients", count(feature.patients)],
    ["Largest", fixed(feature.max)],
    ["Mean when firing", fixed(feature.mean)],
    ["Matryoshka group", group],
  ];
  const hasRoles = Object.values(feature.roles).some((value) => value > 0);
  return panel(
    "Activity",
    facts(rows),
    feature.histogram && [h("h3", {}, "Histogram"), histogram(feature.histogram)],
    hasRoles && [h("h3", {}, "Token roles"), shares(feature.roles)],
  );
}

function meanMapPanel(index, feature) {
  if (!feature.map || !(feature.map.max > 0)) return null;
  const { picture, n } = index.page.mean_frontal;
  const options = { source: picture && `data:image/webp;base64,${picture}`, blank: " " };
  const note = `Over the studies in which it fires, frontal view; brightest patch ${fixed(feature.map.max)}.`;
  return panel(
    "Mean activation map",
    radiograph(index, null, "frontal", feature.map, feature.map.max, options),
    small(note, n > 0 && ` Behind it: the mean of ${n} frontal pictures.`),
  );
}

function tokenList(tokens, name) {
  const item = ([token, value]) => h("li", {}, token.trim() || "␣", " ", h("span", {}, fixed(value)));
  return tokens.length > 0 && [h("h3", {}, name), h("ul", { class: "tokens-list" }, tokens.map(item))];
}

function wordsPanel(feature) {
  const score = isNumber(feature.output_score) && ` Output score ${fixed(feature.output_score)}.`;
  return panel(
    "In the model’s words",
    tokenList(feature.promoted, "Raises"),
    tokenList(feature.suppressed, "Lowers"),
    small("Through the unembedding (logit lens): a hint, not a proof.", score),
  );
}

function neighboursPanel(index, feature) {
  const item = ([id, cosine]) => {
    const row = index.features.id.indexOf(id);
    const label = row >= 0 ? index.features.label[row] : null;
    return h("li", {}, link(featureHref(id), `#${id}`), ` ${label ?? ""} `, h("span", {}, fixed(cosine)));
  };
  return (
    feature.neighbours.length > 0 &&
    panel("Nearest directions", h("ul", { class: "plain" }, feature.neighbours.map(item)))
  );
}

function featureHead(index, feature, row) {
  const { id } = index.features;
  const step = (to, text) => to >= 0 && to < id.length && link(featureHref(id[to]), text);
  const concept = [words(feature.concept), words(feature.side)].filter(Boolean).join(", ");
  const seen = feature.modality === "both" ? "image and text" : feature.modality;
  const explainer = [feature.explainer, feature.model].filter(Boolean).join(", ");
  const chip = (text, kind = "") => h("span", { class: `chip ${kind}` }, text);
  return h(
    "header",
    { class: "page-head" },
    h(
      "div",
      { class: "title" },
      h("p", { class: "eyebrow" }, link("#features", "Features"), ` / #${feature.id}`),
      h("h1", {}, feature.label ?? "No label yet"),
      h(
        "div",
        { class: "chips" },
        polarityChip(feature.polarity),
        concept && chip(concept),
        seen && chip(`seen in ${seen}`),
        feature.dense && chip("dense", "uncertain"),
        feature.dead && chip("dead", "uncertain"),
        feature.label && aiChip(explainer),
      ),
    ),
    h(
      "nav",
      { class: "chips", "aria-label": "Neighbouring features" },
      step(row - 1, "← previous"),
      step(row + 1, "next →"),
    ),
  );
}

/** A feature that is listed and has no page in this file. */
function unpaged(index, id, row) {
  const command = `interp dashboard --run ${index.run.path}`;
  const why = ["The file lists this feature and has no page of it, to stay small. All pages: ", h("code", {}, command)];
  return h(
    "div",
    { class: "stack" },
    h("p", { class: "eyebrow" }, link("#features", "Features"), ` / #${id}`),
    h("h1", {}, index.features.label[row] ?? "No label yet"),
    h("div", { class: "chips" }, polarityChip(index.features.polarity[row])),
    paragraph(why),
  );
}

async function featureView(index, id) {
  const row = index.features.id.findIndex((one) => String(one) === id);
  if (row < 0) {
    const missing = missingFor(index, "features");
    const other = [`This file has no feature ${id}. `, link("#features", "See all features.")];
    return h("div", { class: "stack" }, h("h1", {}, `Feature ${id}`), missing.length ? missing : paragraph(other));
  }
  const page = index.features.page[row];
  if (page === null) return unpaged(index, id, row);
  const feature = await featureAt(index, page);
  document.title = `#${id} ${feature.label ?? ""} · interp`;
  const side = [
    activityPanel(index, feature),
    meanMapPanel(index, feature),
    wordsPanel(feature),
    neighboursPanel(index, feature),
  ];
  return h(
    "article",
    {},
    featureHead(index, feature, row),
    h(
      "div",
      { class: "columns" },
      h("div", { class: "label-column" }, labelPanelOf(index, feature)),
      h("div", { class: "stack side-column" }, side),
      h("div", { class: "stack body-column" }, contextsPanel(index, feature), steeringOfFeature(index, feature)),
    ),
  );
}
