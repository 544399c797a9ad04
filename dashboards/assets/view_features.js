// All features: search, filters, sorting.

const COLUMNS = [
  { key: "id", name: "#" },
  { key: "label", name: "Label" },
  { key: "polarity", name: "Polarity" },
  { key: "concept", name: "Concept" },
  { key: "modality", name: "Seen in" },
  { key: "group", name: "Group", right: true },
  { key: "rate", name: "Fires on", right: true },
  { key: "score", name: "Score, hard neg." },
];
const DESCENDING_FIRST = new Set(["rate", "score"]);
const EQUAL_FILTERS = ["concept", "polarity", "modality", "group"];
const SCORE_STEPS = ["0.6", "0.7", "0.8", "0.9", "0.95"];
const RATE_BANDS = {
  dead: ["never fires", (rate) => rate === 0],
  rare: ["under 0.1 %", (rate) => rate > 0 && rate < 0.001],
  usual: ["0.1 % to 10 %", (rate) => rate >= 0.001 && rate <= 0.1],
  dense: ["over 10 %", (rate) => rate > 0.1],
};

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

function distinct(values) {
  return [...new Set(values.filter((value) => value !== null && value !== ""))].sort(compare);
}

/** Writes the filters of a list into the address, so that it can be kept and shared. */
function keepInAddress(view, state) {
  const kept = Object.entries(state).filter(([, value]) => value);
  history.replaceState(history.state, "", `#${view}${kept.length ? `?${new URLSearchParams(kept)}` : ""}`);
}

/** Row numbers that pass the filters of `state`, in the wanted order; rows without a value come last. */
function selectFeatures(features, state) {
  const wanted = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (i) =>
    EQUAL_FILTERS.every((key) => !state[key] || String(features[key][i]) === state[key]) &&
    (!state.rate || RATE_BANDS[state.rate]?.[1](features.rate[i])) &&
    (!state.score || (features.score[i] ?? -1) >= Number(state.score)) &&
    wanted.every((word) => features.search[i].includes(word) || `#${features.id[i]}` === word);
  const column = features[COLUMNS.some(({ key }) => key === state.sort) ? state.sort : "id"];
  const direction = state.order === "down" ? -1 : 1;
  const absent = (i) => column[i] === null || column[i] === "";
  const order = (i, j) => absent(i) - absent(j) || (absent(i) ? 0 : compare(column[i], column[j]) * direction) || i - j;
  return features.id
    .map((_, i) => i)
    .filter(fits)
    .sort(order);
}

function featureRow(features, i, top) {
  const at = (key) => features[key][i];
  const cell = (kind, ...children) => h("span", { class: `cell ${kind}` }, children);
  const glyph = intervalGlyph(at("score"), at("score_low"), at("score_high"), at("shuffled"));
  const narrow = [`#${at("id")}`, words(at("concept")), at("modality"), percent(at("rate"))];
  return h(
    "a",
    { class: "list-row", href: featureHref(at("id")), style: { top: `${top}px` }, "data-row": i },
    cell("id", `#${at("id")}`),
    cell(at("label") ? "title" : "title unlabelled", at("label") ?? "no label yet"),
    cell("polarity", polarityChip(at("polarity"))),
    cell("concept", words(at("concept"))),
    cell("modality", at("modality")),
    cell("group right num", at("group")),
    cell("rate right num", percent(at("rate"))),
    cell("score num", glyph, h("span", { title: interval(at("score_low"), at("score_high")) }, fixed(at("score")))),
    cell("narrow", narrow.filter(Boolean).join(" · ")),
  );
}

function listHead(state, sortBy) {
  const button = ({ key, name, right }) => {
    const sorted = (state.sort || "id") === key;
    const sign = sorted ? (state.order === "down" ? " ↓" : " ↑") : "";
    const properties = { type: "button", "data-sorted": sorted, title: `Sort by ${name}`, onclick: () => sortBy(key) };
    return h("span", { class: right ? "right" : null }, h("button", properties, name, sign));
  };
  return h("div", { class: "list-head" }, COLUMNS.map(button));
}

function filterForm(features, state, change, sortBy) {
  const pick = (name, key, options) => choice(name, state[key] ?? "", [["", "any"], ...options], change(key));
  const pickValue = (name, key) => {
    const values = distinct(features[key]);
    return (
      values.length > 1 &&
      pick(
        name,
        key,
        values.map((value) => [value, words(String(value))]),
      )
    );
  };
  const placeholder = "effusion, tube, a promoted token, #412";
  const search = h("input", {
    type: "search",
    value: state.q ?? "",
    placeholder,
    oninput: () => change("q")(search.value),
  });
  return h(
    "form",
    { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
    h("label", { class: "field" }, "Search", search),
    pickValue("Concept", "concept"),
    pickValue("Polarity", "polarity"),
    pickValue("Seen in", "modality"),
    pickValue("Group", "group"),
    pick(
      "Fires on",
      "rate",
      Object.entries(RATE_BANDS).map(([key, [text]]) => [key, text]),
    ),
    pick(
      "Score at least",
      "score",
      SCORE_STEPS.map((step) => [step, step]),
    ),
    h("button", { type: "button", class: "only-narrow", onclick: () => sortBy("score") }, "Sort by score"),
  );
}

function featuresView(index, _, query) {
  document.title = "Features · interp";
  const features = index.features;
  if (!features.id.length) return h("div", { class: "stack" }, h("h1", {}, "Features"), missingFor(index, "features"));
  const state = Object.fromEntries(query);
  const rows = virtualList((i, top) => featureRow(features, i, top));
  const status = h("p", { class: "muted small", role: "status" });
  const head = h("div", {});
  const pages = features.page.filter((page) => page !== null).length;
  const rest = pages < features.id.length ? `; ${count(pages)} have a page in this file` : "";
  const refresh = () => {
    const selected = selectFeatures(features, state);
    keepInAddress("features", state);
    status.textContent = `${count(selected.length)} of ${count(features.id.length)} features${rest}`;
    head.replaceChildren(listHead(state, sortBy));
    rows.show(selected);
  };
  const change = (key) => (value) => {
    state[key] = value;
    refresh();
  };
  const sortBy = (key) => {
    const again = (state.sort || "id") === key;
    const down = again ? state.order !== "down" : DESCENDING_FIRST.has(key);
    Object.assign(state, { sort: key, order: down ? "down" : "up" });
    refresh();
  };
  const view = h(
    "div",
    {},
    h("h1", {}, "Features"),
    missingFor(index, "labels"),
    filterForm(features, state, change, sortBy),
    status,
    h("div", { class: "list" }, h("div", { class: "list-sticky" }, head), rows.element),
  );
  view.shown = refresh;
  return view;
}
