// Numbers and words as a reader wants them.

const DASH = "–";

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function fixed(value, digits = 2) {
  return isNumber(value) ? value.toFixed(digits).replace("-", "−") : DASH;
}

function percent(value) {
  if (!isNumber(value)) return DASH;
  const shown = value * 100;
  if (shown === 0) return "0 %";
  if (shown < 0.01) return "< 0.01 %";
  return `${shown < 1 ? shown.toFixed(2) : shown < 10 ? shown.toFixed(1) : shown.toFixed(0)} %`;
}

function count(value) {
  return isNumber(value) ? value.toLocaleString("en-GB").replaceAll(",", "\u202f") : DASH;
}

function interval(low, high, digits = 2) {
  return isNumber(low) && isNumber(high) ? `${fixed(low, digits)} to ${fixed(high, digits)}` : "";
}

/** snake_case and key:side names as words. */
function words(name) {
  return name ? String(name).replaceAll("_", " ").replace(":", ", ") : "";
}

function capital(text) {
  return text ? text[0].toUpperCase() + text.slice(1) : "";
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

const POLARITY_SIGNS = { present: "+", absent: "−", uncertain: "?", changed: "Δ", none: "·" };

/** A sign and a word, so that colour is never the only carrier; nothing where a label has no polarity. */
function polarityChip(polarity) {
  if (!Object.hasOwn(POLARITY_SIGNS, polarity ?? "") || polarity === "none") return null;
  return h(
    "span",
    { class: `chip ${polarity}` },
    h("b", { "aria-hidden": "true" }, POLARITY_SIGNS[polarity]),
    polarity,
  );
}

function aiChip(explainer) {
  return h(
    "span",
    { class: "chip ai", title: "Written by a machine; nobody has checked it." },
    `machine-written label · ${explainer || "explainer unknown"}`,
  );
}

const featureHref = (id) => `#feature/${encodeURIComponent(id)}`;
const studyHref = (id) => `#study/${encodeURIComponent(id)}`;
