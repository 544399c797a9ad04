// The large figures: plotly, opened from its compressed copy in this file when the first figure is drawn.

let plotlyReady = null;

function plotly() {
  plotlyReady ??= inflate(blockText("plotly")).then((code) => {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
    return globalThis.Plotly;
  });
  return plotlyReady;
}

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    gridcolor: colour("--line"),
    zerolinecolor: colour("--line"),
    linecolor: colour("--line"),
    automargin: true,
  };
  const result = {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: style.getPropertyValue("--sans").trim(), size: 12, color: colour("--ink") },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
  };
  const axes = new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((name) => /^[xy]axis/.test(name))]);
  for (const name of axes) result[name] = { ...axis, ...layout[name] };
  return result;
}

/** A place for a plotly figure {data, layout}, drawn by drawFigures(); `label` says to a screen reader what it shows. */
function figure(content, label) {
  const place = h("div", {
    class: "plot",
    role: "img",
    "aria-label": label,
    style: { height: `${content.layout.height ?? 320}px` },
  });
  place.draw = async () => {
    const library = await plotly();
    if (!place.isConnected) return;
    await library.react(place, content.data, themed(content.layout), { displayModeBar: false, responsive: true });
  };
  return place;
}

/** Draws what has been put on the page since, and draws anew what is there (after a change of theme). */
function drawFigures() {
  for (const place of document.querySelectorAll(".plot")) place.draw().catch(report);
}
