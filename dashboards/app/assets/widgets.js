// Places that Dash leaves to these scripts: an element with data-widget is filled from its data-content (JSON). All text
// becomes text nodes, so nothing in a report or a label can act as markup.

const WIDGETS = {};
const filled = new WeakMap();

function fill(place) {
  const text = place.dataset.content;
  if (filled.get(place) === text) return;
  filled.set(place, text);
  place.replaceChildren();
  try {
    append(place, [WIDGETS[place.dataset.widget](JSON.parse(text), place)]);
  } catch (error) {
    console.error(error);
    append(place, [muted(`This part of the page failed: ${error.message}`)]);
  }
}

function fillAll(root) {
  if (root.dataset?.widget) fill(root);
  root.querySelectorAll?.("[data-widget]").forEach(fill);
}

/** Fills what is there and whatever Dash puts on the page later. */
function watchWidgets() {
  fillAll(document.body);
  const seen = (changes) => {
    for (const change of changes) {
      if (change.type === "attributes") fillAll(change.target);
      else change.addedNodes.forEach(fillAll);
    }
  };
  const what = { childList: true, subtree: true, attributes: true, attributeFilter: ["data-content"] };
  new MutationObserver(seen).observe(document.body, what);
}

/** A link inside the dashboard. */
const inside = (href, ...children) => h("a", { href, class: "in" }, children);
const featurePage = (id) => `/feature/${id}`;
const studyPage = (id, query = "") => `/study/${encodeURIComponent(id)}${query}`;

/** Follows an address without loading the page anew. */
function go(href) {
  history.pushState({}, "", href);
  window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
}

WIDGETS.histogram = (bins) => histogram(bins);
WIDGETS.shares = (roles) => shares(roles);
WIDGETS.interval = (score) => intervalGlyph(score.value, score.low, score.high, score.base);
WIDGETS["figure-key"] = (content) => figureKey(content);
WIDGETS.plot = (content) => figure(content.figure, content.label);
