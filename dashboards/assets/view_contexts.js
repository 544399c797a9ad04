// The contexts of a feature: pictures with patch maps, texts with token maps.

const KINDS = {
  top: ["Strongest", "Where the feature fires most."],
  quantile: ["Across its range", "Spread over the feature’s own range of activation, down to weak firing."],
  hard_negative: ["Hard negatives", "Look or read alike, yet the feature is quiet."],
  random_negative: ["Random negatives", "Drawn at random where the feature is quiet."],
};
const SPLIT_NOTE = " Half of the patients serve to explain, the other half to score.";

/** Findings `name=status` as chips with a sign for the status. */
function findingChips(findings) {
  const chip = (finding) => {
    const [name, status] = finding.split("=");
    const kind = Object.hasOwn(POLARITY_SIGNS, status) ? status : "none";
    const sign = h("b", { "aria-hidden": "true" }, POLARITY_SIGNS[kind]);
    return h("span", { class: `chip ${kind}` }, sign, words(name), h("span", { class: "visually-hidden" }, status));
  };
  return findings.length > 0 && h("div", { class: "chips" }, findings.map(chip));
}

function contextMeta(index, context) {
  const id = index.studies.id[context.study];
  const patch = `${words(context.image)}, patch ${context.row + 1} · ${context.col + 1}`;
  return h(
    "div",
    { class: "meta" },
    h("span", { class: "act", title: "activation at the peak" }, fixed(context.act)),
    h("span", {}, context.modality === "image" ? patch : words(context.role)),
    link(studyHref(id), id),
  );
}

/** A text of a study (its report or a section of the prompt) with one sentence marked, and who wrote it. */
function reportOf(study, role, sentence) {
  const text = study.texts[role];
  if (!text) return [muted(`This study has no ${words(role)}.`)];
  return [role === "report" ? small(study.report_by) : "", markedReport(text, sentence)];
}

/** What stands beside an enlarged picture: whose it is, and the report. */
function contextSide(index, context) {
  const place = h("div", {}, h("h3", {}, "Report"));
  const fill = (study) => append(place, [reportOf(study, "report", null), findingChips(context.findings)]);
  studyAt(index, context.study).then(fill).catch(report);
  return [contextMeta(index, context), place];
}

function imageContext(index, context, scale) {
  const { study, image, map } = context;
  const open = () => enlarge(index, study, image, map, scale, contextSide(index, context));
  const findings = findingChips(context.findings);
  return h(
    "article",
    { class: "context" },
    radiograph(index, study, image, map, scale, { enlarge: open }),
    h("div", { class: "body" }, contextMeta(index, context), findings && opening("findings", findings)),
  );
}

function textContext(index, context, scale) {
  const whole = opening(`Whole ${words(context.role)}`);
  const fill = (study) => append(whole, reportOf(study, context.role, context.sentence));
  whole.addEventListener("toggle", () => studyAt(index, context.study).then(fill).catch(report), { once: true });
  return h(
    "article",
    { class: "context" },
    h(
      "div",
      { class: "body" },
      contextMeta(index, context),
      tokenMap(context.tokens, context.acts, scale),
      findingChips(context.findings),
      whole,
    ),
  );
}

/** The contexts of one kind, pictures before texts. */
function contextsOfKind(index, contexts, scale) {
  const pictures = contexts.filter((context) => context.modality === "image");
  const texts = contexts.filter((context) => context.modality === "text");
  return [
    pictures.length > 0 &&
      h(
        "div",
        { class: "contexts" },
        pictures.map((one) => imageContext(index, one, scale)),
      ),
    texts.length > 0 &&
      h(
        "div",
        { class: "contexts text" },
        texts.map((one) => textContext(index, one, scale)),
      ),
  ];
}

function contextsPanel(index, feature) {
  const kinds = Object.keys(KINDS).filter((kind) => feature.contexts[kind]?.length);
  const withheld = withheldNote(feature.withheld);
  if (!kinds.length) {
    const why = feature.dead ? "It never fires on the indexed tokens." : "This file holds no contexts of this feature.";
    return panel("Contexts", muted(why), withheld, missingFor(index, "contexts"));
  }
  const place = h("div", { class: "stack" });
  const show = (kind) => {
    for (const tab of tabs) tab.setAttribute("aria-pressed", tab.dataset.kind === kind);
    const content = contextsOfKind(index, feature.contexts[kind], feature.max);
    place.replaceChildren();
    append(place, [small(KINDS[kind][1], SPLIT_NOTE), content]);
  };
  const tab = (kind) => {
    const text = `${KINDS[kind][0]} (${feature.contexts[kind].length})`;
    return h("button", { type: "button", "data-kind": kind, onclick: () => show(kind) }, text);
  };
  const tabs = kinds.map(tab);
  const pictured = kinds.some((kind) => feature.contexts[kind].some((context) => context.modality === "image"));
  const section = panel("Contexts", h("div", { class: "tabs" }, tabs));
  const key = pictured
    ? [opacitySlider(section), mapLegend(feature.max)]
    : "Shade: activation; the strongest token is underlined.";
  append(section, [h("div", { class: "legend" }, key), place, withheld]);
  show(kinds[0]);
  return section;
}

function withheldNote(n) {
  return n > 0 && small(`${count(n)} more left out: this file was written without credentialed data.`);
}
