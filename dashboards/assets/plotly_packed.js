// plotly in the one-file export: opened from its compressed copy in the page when the first figure is drawn.

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
