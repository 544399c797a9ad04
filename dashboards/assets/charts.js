// Small drawings in SVG and HTML; the large figures are in figures.js.

/** Histogram of a feature's activations. Counts are drawn on a root scale, so that rare strong activations are seen. */
function histogram(bins) {
  const { edges, counts } = bins;
  const width = 280;
  const height = 84;
  const top = Math.max(1, ...counts);
  const step = width / counts.length;
  const bars = counts.map((n, i) => {
    const tall = n ? Math.max(1.5, Math.sqrt(n / top) * height) : 0;
    return svg(
      "rect",
      {
        x: (i * step + 0.5).toFixed(1),
        y: (height - tall).toFixed(1),
        width: Math.max(1, step - 1).toFixed(1),
        height: tall.toFixed(1),
        fill: "var(--accent)",
      },
      svg("title", {}, `${fixed(edges[i])} to ${fixed(edges[i + 1])}: ${count(n)} tokens`),
    );
  });
  const total = counts.reduce((sum, n) => sum + n, 0);
  return svg(
    "svg",
    {
      class: "glyph",
      viewBox: `0 0 ${width} ${height + 18}`,
      width: "100%",
      role: "img",
      "aria-label": `Histogram of ${count(total)} activations from ${fixed(edges[0])} to ${fixed(edges.at(-1))}`,
    },
    bars,
    svg("line", { x1: 0, x2: width, y1: height, y2: height, stroke: "var(--line)" }),
    svg("text", { x: 0, y: height + 14 }, fixed(edges[0])),
    svg("text", { x: width, y: height + 14, "text-anchor": "end" }, fixed(edges.at(-1))),
  );
}

/** A value in [0, 1] with its interval on a line; `baseline` is drawn as a tick. */
function intervalGlyph(value, low, high, baseline) {
  if (!isNumber(value)) return null;
  const width = 96;
  const at = (x) => (4 + Math.min(1, Math.max(0, x)) * (width - 8)).toFixed(1);
  return svg(
    "svg",
    { class: "glyph", width, height: 14, viewBox: `0 0 ${width} 14`, "aria-hidden": "true" },
    svg("line", { x1: at(0), x2: at(1), y1: 7, y2: 7, stroke: "var(--line)" }),
    isNumber(baseline) &&
      svg("line", { x1: at(baseline), x2: at(baseline), y1: 2, y2: 12, stroke: "var(--muted)", "stroke-width": 1.5 }),
    isNumber(low) &&
      isNumber(high) &&
      svg("line", { x1: at(low), x2: at(high), y1: 7, y2: 7, stroke: "var(--accent)", "stroke-width": 2 }),
    svg("circle", { cx: at(value), cy: 7, r: 3.4, fill: "var(--accent)" }),
  );
}

function shares(record) {
  const rows = Object.entries(record)
    .filter(([, value]) => isNumber(value) && value > 0)
    .sort((a, b) => b[1] - a[1]);
  return rows.map(([role, value]) =>
    h(
      "div",
      { class: "share" },
      words(role),
      h("div", { class: "bar", "aria-hidden": "true" }, h("i", { style: { width: `${(value * 100).toFixed(1)}%` } })),
      h("span", { class: "num" }, percent(value)),
    ),
  );
}

/** A table of counts whose cells are shaded by value. */
function heatTable(label, columns, rows, cells) {
  const top = Math.max(1, ...cells.flat());
  const shaded = (value) => {
    const style = { background: heatBackground(value / top) };
    return h("span", { class: "heat-cell", style }, value || "·");
  };
  const heads = ["", ...columns.map((name) => [words(name), "centre"])];
  return table(
    label,
    heads,
    rows.map((name, i) => [words(name), ...cells[i].map(shaded)]),
  );
}

const KEY_DASHES = { dash: "7 4", dot: "2 3", dashdot: "7 3 2 3" };

/** What the lines of a figure stand for, as a list that wraps on narrow screens. */
function figureKey(content) {
  const lines = content.data.filter((trace) => trace.showlegend !== false && trace.line);
  return h(
    "ul",
    { class: "key" },
    lines.map((trace) =>
      h(
        "li",
        {},
        svg(
          "svg",
          { width: 26, height: 8, "aria-hidden": "true" },
          svg("line", {
            x1: 0,
            x2: 26,
            y1: 4,
            y2: 4,
            stroke: trace.line.color,
            "stroke-width": trace.line.width,
            "stroke-dasharray": KEY_DASHES[trace.line.dash],
          }),
        ),
        trace.name,
      ),
    ),
  );
}
