// The contexts of a feature: radiographs with patch maps, sentences with token maps.

const CONTEXT_KINDS = {
  top: ["Strongest", "Where the feature fires most."],
  quantile: ["Across its range", "Spread over the feature’s own range of activation, down to weak firing."],
  hard_negative: ["Hard negatives", "Look or read alike, yet the feature is quiet."],
  random_negative: ["Random negatives", "Drawn at random where the feature is quiet."],
};
const REAL_NOTE = "real radiograph: outside this model’s world";

/** Findings `name=status` as chips with a sign for the status. */
function statusChips(findings) {
  const chip = (finding) => {
    const [name, status] = finding.split("=");
    const kind = Object.hasOwn(POLARITY_SIGNS, status) ? status : "none";
    const sign = h("b", { "aria-hidden": "true" }, POLARITY_SIGNS[kind]);
    return h("span", { class: `chip ${kind}` }, sign, words(name), h("span", { class: "visually-hidden" }, ` ${status}`));
  };
  return findings?.length > 0 && h("div", { class: "chips" }, findings.map(chip));
}

function altOf(item) {
  const what = item.image ? `${words(item.image)} image of study ${item.id}` : "mean activation map";
  if (item.map === undefined) return what;
  if (!item.map || !(item.map.max > 0)) return `${what}; the feature is quiet`;
  const { row, col } = peakOf(item.map);
  return `${what}; activation peaks at row ${row}, column ${col} of ${item.map.rows} × ${item.map.cols} patches`;
}

/** A radiograph with a map on it; a click shows it larger. */
function mappedPicture(item, scale, large = false) {
  const description = altOf(item);
  const picture = item.src
    ? h("img", { src: item.src, alt: description, loading: large ? "eager" : "lazy" })
    : h("span", { class: "absent" }, "");
  const parts = [picture, item.map && mapCanvas(item.map, scale), item.masks?.layer(item.image), item.real && h("span", { class: "real" }, REAL_NOTE)];
  if (large) return h("div", { class: "radiograph" }, parts);
  const open = () => enlargePicture(item, scale);
  return h("button", { class: "radiograph", type: "button", "aria-label": `Enlarge: ${description}`, onclick: open }, parts);
}

/** The picture in a dialog, with its own slider and what else is known of it. */
function enlargePicture(item, scale) {
  const close = (event) => event.target === dialog && dialog.close();
  const dialog = h("dialog", { "aria-label": "Enlarged image", onclose: () => dialog.remove(), onclick: close });
  const button = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const about = item.id && [h("h2", {}, inside(studyPage(item.id), item.id)), small(altOf(item)), statusChips(item.findings)];
  const side = h("div", { class: "side" }, h("div", {}, button), item.map && opacitySlider(dialog), item.map && mapLegend(scale), item.masks?.legend(item.image), about);
  dialog.append(h("div", { class: "enlarged" }, mappedPicture(item, scale, true), side));
  document.body.append(dialog);
  dialog.showModal();
}

function contextMetaLine(item, scale) {
  const place = item.modality === "image" && item.row !== null ? `${words(item.image)}, patch ${item.row + 1} · ${item.col + 1}` : words(item.image ?? item.role);
  const query = item.sentence ? `?sentence=${encodeURIComponent(item.sentence)}` : "";
  const share = scale > 0 ? ` (${percent(item.act / scale)} of its largest)` : "";
  return h(
    "div",
    { class: "meta" },
    h("span", { class: "act", title: `activation at the peak${share}` }, fixed(item.act)),
    h("span", {}, place),
    inside(studyPage(item.id, query), item.id),
    item.hardness && h("span", {}, words(item.hardness)),
  );
}

function pictureContext(item, scale) {
  const findings = statusChips(item.findings);
  const body = h("div", { class: "body" }, contextMetaLine(item, scale), findings && opening("findings", findings));
  return h("article", { class: "context" }, mappedPicture(item, scale), body);
}

function sentenceContext(item, scale) {
  const text = tokenMap(item.tokens ?? [], item.acts ?? [], scale);
  return h("article", { class: "context" }, h("div", { class: "body" }, contextMetaLine(item, scale), text, statusChips(item.findings)));
}

function contextsShown(items, scale) {
  const pictures = items.filter((item) => item.modality === "image");
  const texts = items.filter((item) => item.modality !== "image");
  return [
    pictures.length > 0 && h("div", { class: "contexts" }, pictures.map((item) => pictureContext(item, scale))),
    texts.length > 0 && h("div", { class: "contexts text" }, texts.map((item) => sentenceContext(item, scale))),
  ];
}

WIDGETS.contexts = ({ scale, contexts }, place) => {
  const of = (kind) => contexts.filter((item) => item.kind === kind);
  const kinds = Object.keys(CONTEXT_KINDS).filter((kind) => of(kind).length);
  const shown = h("div", { class: "stack" });
  const show = (kind) => {
    for (const tab of tabs) tab.setAttribute("aria-pressed", tab.dataset.kind === kind);
    const note = `${CONTEXT_KINDS[kind][1]} Half of the patients serve to explain, the other half to score.`;
    shown.replaceChildren();
    append(shown, [small(note), contextsShown(of(kind), scale)]);
  };
  const tab = (kind) =>
    h("button", { type: "button", "data-kind": kind, onclick: () => show(kind) }, `${CONTEXT_KINDS[kind][0]} (${of(kind).length})`);
  const tabs = kinds.map(tab);
  const pictured = contexts.some((item) => item.modality === "image");
  const legend = pictured ? [opacitySlider(place), mapLegend(scale)] : "Shade: activation; the strongest token is underlined.";
  show(kinds[0]);
  return [h("div", { class: "tabs" }, tabs), h("div", { class: "legend" }, legend), shown];
};

WIDGETS["mean-map"] = ({ map, src }) => mappedPicture({ map, src }, map.max);
