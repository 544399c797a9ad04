// One study: its pictures, its report, and the features seen in it.

/** Pictures of a study as {section, show}; show(entry) lays a feature's map on the picture it was measured on. */
function studyPictures(index, row, study) {
  const place = h("div", { class: "stack" });
  const masks = new StudyMasks(study.masks);
  const picture = (image, entry) => {
    const map = entry?.image === image ? entry.map : null;
    const side = [
      paragraph(`Study ${study.id}, ${words(image)}`),
      map && paragraph(`Map of feature #${entry.feature}`),
    ];
    const open = () => enlarge(index, row, image, map, entry?.max, side, masks);
    const caption = words(image) + (map ? ` with the map of feature #${entry.feature}` : "");
    const shown = radiograph(index, row, image, map, entry?.max, { enlarge: open, masks });
    return h("figure", {}, shown, h("figcaption", { class: "muted small" }, caption));
  };
  const show = (entry) => place.replaceChildren(...study.images.map((image) => picture(image, entry)));
  show(null);
  const section = panel("Images", study.images.length ? place : muted("This file holds no picture of it."));
  append(section, [study.images.length > 0 && opacitySlider(section), masks.legend()]);
  return { section, show };
}

/** A button that lays the map of a feature on the picture, and takes it off when pressed again. */
function mapButton(entry, buttons, show) {
  const press = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    for (const other of buttons) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", on);
    show(on ? entry : null);
  };
  const button = h(
    "button",
    { type: "button", "aria-pressed": "false", onclick: press },
    `map on ${words(entry.image)}`,
  );
  buttons.push(button);
  return button;
}

function studyFeatures(index, study, show) {
  const title = "Features seen here";
  if (!study.top.length) return panel(title, muted("No feature has one of its contexts in this study."));
  const buttons = [];
  const rows = study.top.map((entry) => {
    const at = index.features.id.indexOf(entry.feature);
    const [label, polarity] = at < 0 ? [] : [index.features.label[at], index.features.polarity[at]];
    return [
      link(featureHref(entry.feature), `#${entry.feature}`),
      [label ?? "no label", " ", polarityChip(polarity)],
      fixed(entry.act),
      percent(entry.act / entry.max),
      entry.map ? mapButton(entry, buttons, show) : `“${entry.sentence ?? ""}”`,
    ];
  });
  const columns = ["feature", "label", ["activation", "num"], ["of its largest", "num"], "where"];
  const note = "Features that count this study among their strongest or range contexts; others may fire here too.";
  return panel(title, muted(note), table(title, columns, rows));
}

function labelsPanel(study) {
  const all = Object.entries(study.labels);
  const told = all.filter(([, status]) => status !== "absent").map(([name, status]) => `${name}=${status}`);
  const none = all.length ? "Every labelled finding is absent." : "The source gives no labels.";
  return panel("Labels of the source", findingChips(told) || muted(none));
}

function promptPanel(study) {
  const names = ["indication", "technique", "comparison", "prior_report"].filter((name) => study.texts[name]);
  const section = (name) => [h("h3", {}, capital(words(name))), h("p", { class: "report" }, study.texts[name])];
  return names.length > 0 && panel("What the model was told", names.map(section));
}

async function studyView(index, id) {
  const row = index.studies.id.indexOf(id);
  if (row < 0) {
    const other = ["This file does not hold this study. ", link("#studies", "See those it holds.")];
    return h("div", { class: "stack" }, h("h1", {}, `Study ${id}`), paragraph(other), missingFor(index, "studies"));
  }
  const study = await studyAt(index, row);
  document.title = `${study.id} · interp`;
  const pictures = studyPictures(index, row, study);
  const banner = study.banner && [h("strong", {}, "Real radiograph: "), study.banner];
  const names = { Patient: study.patient, Source: study.source, Terms: study.terms, Split: study.split };
  const record = panel("Record", facts(Object.entries(names).filter(([, value]) => value)));
  const told = panel("Report", reportOf(study, "report", null));
  return h(
    "article",
    { class: "stack" },
    h("header", {}, muted(link("#studies", "Studies"), ` / ${study.source}`), h("h1", {}, study.id)),
    banner && h("div", { class: "banner", role: "note" }, paragraph(banner)),
    h(
      "div",
      { class: "study-grid" },
      pictures.section,
      h("div", { class: "stack" }, told, promptPanel(study), labelsPanel(study), record),
    ),
    studyFeatures(index, study, pictures.show),
  );
}
