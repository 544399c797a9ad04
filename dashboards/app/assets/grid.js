// Cells of the table of features, and what the table tells the address.

const GRID = "features-grid";

function gridApi() {
  try {
    return window.dash_ag_grid?.getApi(GRID) ?? null;
  } catch {
    return null; // the table is not on this page
  }
}

/** Asks the server for the rows anew, from the top. */
function refreshGrid() {
  const api = gridApi();
  if (!api) return;
  api.ensureIndexVisible?.(0);
  api.purgeInfiniteCache();
}

/** Cells as React elements: text is only ever a child, never markup. */
function gridCells() {
  const e = (...parts) => window.React.createElement(...parts); // there when the first cell is drawn
  const to = (id, ...children) => e("a", { href: featurePage(id), className: "in" }, ...children);
  return {
    FeatureCell: ({ value }) => (value === undefined ? "…" : to(value, `#${value}`)),
    LabelCell: ({ value, data }) =>
      data === undefined ? "" : to(data.id, value ?? e("span", { className: "muted" }, "no label yet")),
    PolarityCell: ({ value }) =>
      value && value !== "none" ? e("span", { className: `chip ${value}` }, e("b", { "aria-hidden": true }, POLARITY_SIGNS[value] ?? "·"), value) : "",
    WordsCell: ({ value, data }) => (value ? words(data?.side ? `${value}:${data.side}` : value) : ""),
    PercentCell: ({ value }) => (isNumber(value) ? percent(value) : ""),
    ScoreCell: ({ value, data }) => {
      if (!isNumber(value)) return "";
      const at = (x) => 2 + Math.min(1, Math.max(0, x)) * 92;
      const line = (a, b, y1, y2, colour, width) =>
        e("line", { x1: at(a), x2: at(b), y1, y2, stroke: `var(${colour})`, strokeWidth: width });
      const shapes = [
        line(0, 1, 7, 7, "--line", 1),
        isNumber(data.shuffled) && line(data.shuffled, data.shuffled, 2, 12, "--muted", 1.5),
        isNumber(data.score_low) && line(data.score_low, data.score_high, 7, 7, "--accent", 2),
        e("circle", { cx: at(value), cy: 7, r: 3.2, fill: "var(--accent)" }),
      ];
      const glyph = e("svg", { width: 96, height: 14, "aria-hidden": true, className: "glyph" }, ...shapes);
      return e("span", { className: "score-cell", title: interval(data.score_low, data.score_high) }, glyph, fixed(value));
    },
  };
}

/** The order of the table becomes part of the address; Enter on a row opens its feature. */
function watchGrid(api) {
  api.addEventListener("sortChanged", () => {
    const sorted = api.getColumnState().find((column) => column.sort);
    const query = new URLSearchParams(location.search);
    query.delete("sort");
    query.delete("order");
    if (sorted) query.set("sort", sorted.colId);
    if (sorted?.sort === "desc") query.set("order", "down");
    history.replaceState(history.state, "", `${location.pathname}${queryOf(query)}`);
  });
  api.addEventListener("cellKeyDown", ({ event, data }) => event.key === "Enter" && data && go(featurePage(data.id)));
}

const watched = new WeakSet();

/** Called whenever the page has changed: finds the table if there is one. */
function findGrid() {
  const api = document.getElementById(GRID) && gridApi();
  if (!api || watched.has(api)) return;
  watched.add(api);
  watchGrid(api);
}

window.dashAgGridComponentFunctions = gridCells();
