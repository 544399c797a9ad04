// The large figures: plotly, which plotly() brings (plotly_packed.js in the export, plotly_served.js in the app).

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

/** A place for a plotly figure {data, layout}; `label` says to a screen reader what it shows. It is drawn when it is seen
    to have a size, which it has not inside a closed part of the page, and follows its size. */
function figure(content, label) {
  const place = h("div", {
    class: "plot",
    role: "img",
    "aria-label": label,
    style: { height: `${content.layout.height ?? 320}px` },
  });
  let drawn = false;
  const work = async (anew) => {
    const library = await plotly();
    if (anew) drawn = false;
    if (!place.isConnected || !place.offsetWidth) return;
    if (drawn) return library.Plots.resize(place);
    drawn = true;
    await library.react(place, content.data, themed(content.layout), { displayModeBar: false });
  };
  const failed = (error) => {
    console.error(error);
    place.textContent = `This figure could not be drawn: ${error.message}`;
  };
  place.draw = () => work(true).catch(failed);
  new ResizeObserver(() => place.offsetWidth && work(false).catch(failed)).observe(place);
  return place;
}

/** Draws anew what is there, after a change of theme. */
function redrawFigures() {
  for (const place of document.querySelectorAll(".plot")) place.draw();
}
