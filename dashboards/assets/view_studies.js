// The list of studies.

const CARDS_AT_ONCE = 60;

function studyCard(index, row) {
  const studies = index.studies;
  const findings = studies.findings[row].map(words).join("; ") || "no finding labelled";
  return h(
    "a",
    { class: "study-card", href: studyHref(studies.id[row]) },
    radiograph(index, row, "frontal", null, 1),
    h("span", { class: "name" }, studies.id[row]),
    h("span", { class: "muted" }, findings),
  );
}

/** Row numbers of the studies that pass the filters of `state`. */
function selectStudies(studies, state) {
  const text = (state.q ?? "").toLowerCase();
  const fits = (i) =>
    (!state.source || studies.source[i] === state.source) &&
    (!state.finding || studies.findings[i].includes(state.finding)) &&
    studies.id[i].toLowerCase().includes(text);
  return studies.id.map((_, i) => i).filter(fits);
}

function studiesView(index, _, query) {
  document.title = "Studies · interp";
  const studies = index.studies;
  const state = Object.fromEntries(query);
  let shown = CARDS_AT_ONCE;
  const cards = h("div", { class: "study-cards" });
  const status = h("p", { class: "muted small", role: "status" });
  const refresh = () => {
    const rows = selectStudies(studies, state);
    const total = `${count(studies.id.length)} studies in this file; the run has ${count(index.page.studies_total)}`;
    status.textContent = `${count(rows.length)} of ${total}`;
    cards.replaceChildren(...rows.slice(0, shown).map((row) => studyCard(index, row)));
    more.hidden = rows.length <= shown;
    keepInAddress("studies", state);
  };
  const showMore = () => {
    shown += CARDS_AT_ONCE;
    refresh();
  };
  const more = h("button", { type: "button", onclick: showMore }, "Show more");
  const change = (key) => (value) => {
    state[key] = value;
    shown = CARDS_AT_ONCE;
    refresh();
  };
  const search = h("input", { type: "search", value: state.q ?? "", oninput: () => change("q")(search.value) });
  const pick = (name, key, values) => {
    const options = [["", "any"], ...values.map((value) => [value, words(value)])];
    return values.length > 1 && choice(name, state[key] ?? "", options, change(key));
  };
  const view = h(
    "div",
    {},
    h("h1", {}, "Studies"),
    missingFor(index, "studies"),
    h(
      "form",
      { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      h("label", { class: "field" }, "Identifier", search),
      pick("Finding", "finding", distinct(studies.findings.flat())),
      pick("Source", "source", distinct(studies.source)),
    ),
    status,
    cards,
    paragraph(more),
  );
  view.shown = refresh;
  return view;
}
