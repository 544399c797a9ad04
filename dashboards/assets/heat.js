// Patch maps over a radiograph and token maps in a text, each on the feature's own scale.

const DEFAULT_OPACITY = 75;

/** Map values in [0, 1], row by row, from their stored bytes. */
function mapValues(map) {
  return Array.from(bytesOf(map.data), (byte) => byte / 255);
}

function peakOf(map) {
  const values = mapValues(map);
  const at = values.indexOf(Math.max(...values));
  return { row: Math.floor(at / map.cols) + 1, col: (at % map.cols) + 1 };
}

/** Colour and cover of one patch: nothing where nothing fires, so that the radiograph stays visible. */
function patchColour(share) {
  const cover = share > 0.004 ? 0.25 + 0.75 * share : 0;
  return [...mapColour(share), Math.round(255 * cover)];
}

/** One canvas pixel a patch, enlarged without smoothing: what is seen is exactly what was measured. */
function mapCanvas(map, scale) {
  const canvas = h("canvas", { width: map.cols, height: map.rows, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(map.cols, map.rows);
  const factor = scale > 0 ? map.max / scale : 1;
  mapValues(map).forEach((value, i) => picture.data.set(patchColour(Math.min(1, value * factor)), i * 4));
  context.putImageData(picture, 0, 0);
  return canvas;
}

/** What a picture shows, for readers who do not see it. */
function describe(index, study, image, map) {
  const what = study === null ? "mean activation map" : `${words(image)} image of study ${index.studies.id[study]}`;
  if (!map || !(map.max > 0)) return what;
  const { row, col } = peakOf(map);
  return `${what}; activation peaks at row ${row}, column ${col} of ${map.rows} × ${map.cols} patches`;
}

/**
 * Radiograph with a map on it. `study` is a row of the study list, or null where `options.source` gives the ground.
 * With `options.enlarge` it is a button that does that; `options.masks` lie on top.
 */
function radiograph(index, study, image, map, scale, options = {}) {
  const source = options.source ?? (study === null ? null : pictureOf(study, image));
  const description = describe(index, study, image, map);
  const real = study !== null && index.studies.real[study] && index.page.real_note;
  const ground = source
    ? h("img", { src: source, alt: description, loading: "lazy" })
    : h("span", { class: "absent" }, options.blank ?? "picture not in this file");
  const inside = [ground, map && mapCanvas(map, scale), options.masks?.layer(image), real && h("span", { class: "real" }, real)];
  if (!options.enlarge) return h("div", { class: "radiograph" }, inside);
  const properties = { class: "radiograph", type: "button", "aria-label": `Enlarge: ${description}` };
  return h("button", { ...properties, onclick: options.enlarge }, inside);
}

/** Slider that sets how strongly every map under `root` covers its picture. */
function opacitySlider(root) {
  const input = h("input", {
    type: "range",
    min: 0,
    max: 100,
    value: DEFAULT_OPACITY,
    oninput: () => root.style.setProperty("--map-opacity", input.value / 100),
  });
  return h("label", { class: "legend" }, "Map opacity", input);
}

function mapLegend(scale) {
  return h(
    "div",
    { class: "legend" },
    "0",
    h("span", { class: "ramp", "aria-hidden": "true" }),
    `${fixed(scale)} activation`,
  );
}

/** Tokens with the spaces between them, for tokenizers whose tokens are whole words without any. */
function spacedTokens(tokens) {
  if (tokens.some((token) => /^\s|\s$/.test(token))) return tokens;
  return tokens.map((token, i) => (i > 0 && !/^[.,;:?!)]/.test(token) ? ` ${token}` : token));
}

/** Tokens with their activations: shade by share of the scale, the peak underlined, the value on hover. */
function tokenMap(tokens, activations, scale) {
  const top = Math.max(...activations);
  const shown = (token, i) => {
    const value = activations[i] ?? 0;
    if (!(value > 0)) return token;
    const word = token.trimStart();
    const style = { background: heatBackground(value / scale) };
    const properties = { class: value === top ? "t peak" : "t", title: `activation ${fixed(value)}`, style };
    return [token.slice(0, token.length - word.length), h("span", properties, word || "␣")];
  };
  return h("p", { class: "tokens" }, spacedTokens(tokens).map(shown));
}

/** Report paragraph with one sentence marked, where it occurs in it. */
function markedReport(report, sentence) {
  const at = sentence ? report.indexOf(sentence) : -1;
  if (at < 0) return h("p", { class: "report" }, report);
  return h("p", { class: "report" }, report.slice(0, at), h("mark", {}, sentence), report.slice(at + sentence.length));
}

/** Opens a dialog with a large picture at the left and `side` at the right. */
function enlarge(index, study, image, map, scale, side, masks) {
  const close = (event) => event.target === dialog && dialog.close();
  const dialog = h("dialog", { "aria-label": "Enlarged image", onclose: () => dialog.remove(), onclick: close });
  const button = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const controls = [h("div", {}, button), map && opacitySlider(dialog), map && mapLegend(scale), masks?.legend(image)];
  const beside = h("div", { class: "side" }, controls, side);
  dialog.append(h("div", { class: "enlarged" }, radiograph(index, study, image, map, scale, { masks }), beside));
  document.body.append(dialog);
  dialog.showModal();
}
