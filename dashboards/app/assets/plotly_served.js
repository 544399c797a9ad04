// plotly in the served app: fetched when the first figure is drawn, so that no page waits for so large a script.

let plotlyReady = null;

function plotly() {
  plotlyReady ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = document.querySelector('meta[name="plotly"]').content;
    script.onload = () => resolve(globalThis.Plotly);
    script.onerror = () => reject(new Error("the drawing library could not be loaded"));
    document.head.append(script);
  });
  return plotlyReady;
}
