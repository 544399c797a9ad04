// Native fields: they keep their values in a Dash store and in the address, or open an address with them.

const TYPING_PAUSE_MS = 180;

function field(one, changed) {
  const common = { name: one.name, "aria-label": one.label };
  if (one.type === "select") {
    const chosen = (key) => String(key) === String(one.value ?? "");
    const options = one.options.map(([key, text]) => h("option", { value: key, selected: chosen(key) }, text));
    return h("select", { ...common, onchange: changed }, options);
  }
  if (one.type === "checkbox") {
    return h("input", { ...common, type: "checkbox", checked: Boolean(one.value), onchange: changed });
  }
  const properties = { ...common, type: one.type, value: one.value ?? "", placeholder: one.placeholder };
  for (const name of ["min", "max", "step"]) properties[name] = one[name];
  const input = h("input", { ...properties, autocomplete: "off" });
  let timer = 0;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(changed, TYPING_PAUSE_MS);
  });
  if (!one.list) return input;
  const id = `list-${one.name}`;
  input.setAttribute("list", id);
  return [input, h("datalist", { id }, one.list.map((value) => h("option", { value })))];
}

/** Values of a form that are not empty. */
function valuesOf(form) {
  const found = {};
  for (const input of form.querySelectorAll("input, select")) {
    const value = input.type === "checkbox" ? (input.checked ? "1" : "") : input.value.trim();
    if (value) found[input.name] = value;
  }
  return found;
}

function queryOf(values) {
  const text = new URLSearchParams(values).toString();
  return text ? `?${text}` : "";
}

/** The address with other values for the fields of a form; what else it asks for (the order) stays. */
function addressWith(fields, values) {
  const kept = new URLSearchParams(location.search);
  for (const one of fields) kept.delete(one.name);
  for (const [name, value] of Object.entries(values)) kept.set(name, value);
  return `${location.pathname}${queryOf(kept)}`;
}

WIDGETS.form = (content) => {
  const { fields, store, go: target, send } = content;
  const isList = store === "features-query";
  const tell = () => {
    const values = valuesOf(form);
    if (target) return go(`${target}${queryOf(values)}`);
    if (isList) history.replaceState(history.state, "", addressWith(fields, values));
    window.dash_clientside.set_props(store, { data: isList ? values : { ...values, asked: Date.now() } });
    if (isList) window.setTimeout(refreshGrid, 0);
    return null;
  };
  const changed = send ? () => {} : tell;
  const labelled = (one) => {
    if (one.type === "hidden") return field(one, changed);
    const kind = `field${one.wide ? " wide" : ""}${one.type === "checkbox" ? " check" : ""}`;
    return h("label", { class: kind }, h("span", {}, one.label), field(one, changed));
  };
  const submitted = (event) => {
    event.preventDefault();
    if (send || target) tell();
  };
  const button = send && h("button", { type: "submit", class: "send" }, send);
  const form = h("form", { class: "filters", role: "search", onsubmit: submitted }, fields.map(labelled), button);
  if (isList) window.dash_clientside?.set_props(store, { data: valuesOf(form) });
  return form;
};
