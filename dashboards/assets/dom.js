// Making elements. Text from data only ever becomes a text node, so nothing in a report or a label can act as markup.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return parent;
}

function setProperties(element, properties) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

/** An HTML element: h("p", {class: "muted"}, "text", child, [children]). */
function h(tag, properties, ...children) {
  return append(setProperties(document.createElement(tag), properties), children);
}

/** An SVG element. */
function svg(tag, properties, ...children) {
  return append(setProperties(document.createElementNS(SVG_NAMESPACE, tag), properties), children);
}

const paragraph = (...children) => h("p", {}, children);
const muted = (...children) => h("p", { class: "muted" }, children);
const small = (...children) => h("p", { class: "muted small" }, children);
const link = (href, ...children) => h("a", { href }, children);
const list = (items) =>
  h(
    "ul",
    {},
    items.map((item) => h("li", {}, item)),
  );

function panel(title, ...children) {
  return h("section", { class: "panel" }, h("h2", {}, title), children);
}

/** What a summary line opens. */
function opening(summary, ...children) {
  return h("details", {}, h("summary", {}, summary), children);
}

function facts(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

/**
 * A table. `columns` are names or [name, class]; the first cell of each row is its heading. A cell is anything that an
 * element can hold; it takes the class of its column.
 */
function table(label, columns, rows) {
  const named = columns.map((column) => (Array.isArray(column) ? column : [column, ""]));
  const heads = named.map(([name, kind]) => h("th", { scope: "col", class: kind || null }, name));
  const cell = (content, i) =>
    i ? h("td", { class: named[i][1] || null }, content) : h("th", { scope: "row" }, content);
  const body = rows.map((row) => h("tr", {}, row.map(cell)));
  const element = h("table", { "aria-label": label }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, body));
  return h("div", { class: "scroll-x" }, element);
}

/** A labelled <select>; options are [value, text]. */
function choice(name, value, options, change) {
  const select = h(
    "select",
    { onchange: () => change(select.value) },
    options.map(([key, text]) => h("option", { value: key, selected: String(key) === String(value) }, text)),
  );
  return h("label", { class: "field" }, name, select);
}

/** Says what is not in the run yet and which command makes it. */
function missingCard(missing) {
  return h(
    "div",
    { class: "missing", role: "note" },
    paragraph(h("strong", {}, missing.what), " ", missing.why),
    missing.command && paragraph("Make it with ", h("code", {}, missing.command)),
  );
}

function missingFor(index, where) {
  return index.missing.filter((one) => one.where === where).map(missingCard);
}
