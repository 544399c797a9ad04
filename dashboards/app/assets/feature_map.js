// The map of features on a canvas: tens of thousands of points without a drawing library.

const MAP_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
const MAP_SHAPES = ["circle", "diamond", "square"];
const OTHER = { colour: "#8b949c", shape: "circle" };
const POINT_PX = 3.2;

/** Concept → colour and shape; the commonest first, the rest like no concept at all. */
function looksOf(concepts) {
  const counts = new Map();
  for (const concept of concepts) if (concept) counts.set(concept, (counts.get(concept) ?? 0) + 1);
  const names = [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, MAP_COLOURS.length * MAP_SHAPES.length);
  const look = (i) => ({ colour: MAP_COLOURS[i % MAP_COLOURS.length], shape: MAP_SHAPES[Math.floor(i / MAP_COLOURS.length)] });
  return new Map(names.map(([name], i) => [name, look(i)]));
}

function drawPoint(context, x, y, { colour, shape }, size) {
  context.fillStyle = colour;
  context.beginPath();
  if (shape === "circle") context.arc(x, y, size, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  else {
    context.moveTo(x, y - size * 1.3);
    context.lineTo(x + size * 1.3, y);
    context.lineTo(x, y + size * 1.3);
    context.lineTo(x - size * 1.3, y);
  }
  context.fill();
}

/** What a colour and shape stand for; a click finds the features of the concept. */
function mapKey(looks) {
  const item = ([name, { colour, shape }]) => {
    const sign = h("canvas", { width: 24, height: 24, "aria-hidden": "true", style: { width: "12px", height: "12px" } });
    drawPoint(sign.getContext("2d"), 12, 12, { colour, shape }, 8);
    return h("li", {}, sign, inside(`/features?concept=${encodeURIComponent(name)}`, words(name)));
  };
  return h("ul", { class: "key" }, [...looks].map(item), h("li", {}, "grey: another concept, or none"));
}

function drawMap(canvas, points, looks) {
  const width = canvas.clientWidth || 600;
  const height = canvas.clientHeight || 420;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.globalAlpha = 0.8;
  const at = (i) => [width * (0.5 + 0.47 * points.x[i]), height * (0.5 - 0.47 * points.y[i])];
  const order = points.x.map((_, i) => i).sort((a, b) => Number(looks.has(points.concept[a])) - Number(looks.has(points.concept[b])));
  for (const i of order) {
    const look = looks.get(points.concept[i]);
    drawPoint(context, ...at(i), look ?? OTHER, look ? POINT_PX : POINT_PX * 0.7);
  }
  return at;
}

/** The point nearest to a place, within a few pixels. */
function nearestPoint(points, at, x, y) {
  let best = -1;
  let least = 100;
  for (let i = 0; i < points.x.length; i++) {
    const [px, py] = at(i);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function mapOf(points) {
  const looks = looksOf(points.concept);
  const label = `Map of ${points.x.length} features by ${points.method}; the list of features has the same in words`;
  const canvas = h("canvas", { class: "map", role: "img", "aria-label": label });
  const tip = h("p", { class: "muted small", "aria-hidden": "true" }, `Laid out by ${points.method}. Point at a feature to read its label.`);
  let at = null;
  const under = (event) => at ? nearestPoint(points, at, event.offsetX, event.offsetY) : -1;
  canvas.addEventListener("mousemove", (event) => {
    const i = under(event);
    canvas.style.cursor = i >= 0 ? "pointer" : "default";
    if (i >= 0) tip.textContent = `#${points.feature[i]} ${points.label[i] ?? "no label"}`;
  });
  canvas.addEventListener("click", (event) => under(event) >= 0 && go(featurePage(points.feature[under(event)])));
  new ResizeObserver(() => (at = drawMap(canvas, points, looks))).observe(canvas);
  return [canvas, tip, mapKey(looks)];
}

WIDGETS["feature-map"] = ({ source }, place) => {
  const show = (points) => place.replaceChildren(...(points.error ? [muted(points.error)] : mapOf(points)));
  fetch(source)
    .then((answer) => answer.json())
    .then(show)
    .catch((error) => place.isConnected && place.replaceChildren(muted(`The map could not be read: ${error.message}`)));
  return muted("Laying the features out; the first time takes a while …");
};
