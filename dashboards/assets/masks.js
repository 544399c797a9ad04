// Masks of findings over a radiograph: outlines from COCO's run lengths, a colour and a line pattern for each finding.

// Light enough for a radiograph, told apart by lightness and pattern too, and none of them blue like the boxes.
const MASK_LOOKS = [
  ["#f0e442", ""],
  ["#3ddbb0", "10 3"],
  ["#f7a8d6", "4 2"],
  ["#ffffff", "14 3 3 3"],
  ["#ffa263", "7 2 2 2"],
  ["#c3b4ff", "2 1.5"],
];

/** Lengths of the runs outside and inside in turn, down the columns. The server has checked them. */
function maskRuns(counts) {
  const runs = [];
  let value = 0;
  let shift = 0;
  for (const character of counts) {
    const code = character.charCodeAt(0) - 48;
    value |= (code & 31) << shift;
    shift += 5;
    if (code & 32) continue;
    if (code & 16) value |= -1 << shift;
    runs.push(value + (runs.length > 2 ? runs[runs.length - 2] : 0));
    value = shift = 0;
  }
  return runs;
}

/** Pixels of a mask, column by column, with a rim of one pixel outside around them. */
function maskPixels({ size: [height, width], counts }) {
  const pixels = new Uint8Array((height + 2) * (width + 2));
  let at = 0;
  maskRuns(counts).forEach((run, turn) => {
    for (const end = at + run; at < end; at++)
      if (turn % 2) pixels[(Math.floor(at / height) + 1) * (height + 2) + (at % height) + 1] = 1;
  });
  return pixels;
}

/** The border of a mask as an SVG path of closed loops, in pixels. */
function maskPath(mask) {
  const [height, width] = mask.size;
  const pixels = maskPixels(mask);
  const next = new Map(); // corner → corners that a border leads to, the inside at the right hand
  const corner = (x, y) => x * (height + 1) + y;
  const lead = (from, to) => next.set(from, [...(next.get(from) ?? []), to]);
  for (let x = 0; x < width; x++)
    for (let y = 0; y < height; y++) {
      const at = (x + 1) * (height + 2) + y + 1;
      if (!pixels[at]) continue;
      if (!pixels[at - 1]) lead(corner(x, y), corner(x + 1, y));
      if (!pixels[at + height + 2]) lead(corner(x + 1, y), corner(x + 1, y + 1));
      if (!pixels[at + 1]) lead(corner(x + 1, y + 1), corner(x, y + 1));
      if (!pixels[at - height - 2]) lead(corner(x, y + 1), corner(x, y));
    }
  const parts = [];
  const place = (point) => `${Math.floor(point / (height + 1))} ${point % (height + 1)}`;
  while (next.size) {
    const [start] = next.keys();
    let [before, here] = [null, start];
    do {
      const ways = next.get(here);
      const there = ways.pop();
      if (!ways.length) next.delete(here);
      if (before === null || there - here !== here - before) parts.push(before === null ? "M" : "L", place(here));
      [before, here] = [here, there];
    } while (here !== start);
    parts.push("Z");
  }
  return parts.join(" ");
}

/** The masks of a study on all its pictures, and which of them are hidden or lit. */
class StudyMasks {
  /** `masks`: {finding, images: {image: {size, counts}}} for each finding. */
  constructor(masks) {
    this.masks = masks ?? [];
    this.hidden = new Set();
    this.lit = new Set();
    this.drawn = []; // elements that follow what is hidden and lit
  }

  look(i) {
    const [colour, dash] = MASK_LOOKS[i % MASK_LOOKS.length];
    return { colour, dash: dash || null };
  }

  /** What lies on a picture; null without a mask on it. */
  layer(image) {
    const shape = (mask, i) => {
      const own = mask.images[image];
      if (!own) return null;
      const { colour, dash } = this.look(i);
      const d = maskPath(own);
      const transform = `scale(${100 / own.size[1]} ${100 / own.size[0]})`;
      const line = svg("path", { class: "line", d, transform, stroke: colour, fill: colour, "stroke-dasharray": dash });
      return this.follow(svg("g", { class: "mask" }, svg("path", { class: "halo", d, transform }), line), i);
    };
    const shapes = this.masks.map(shape);
    if (!shapes.some(Boolean)) return null;
    const frame = { class: "masks", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" };
    return svg("svg", frame, shapes);
  }

  /** Names of what is masked on a picture, for readers who do not see it. */
  named(image) {
    return this.masks.filter((mask) => mask.images[image]).map((mask) => words(mask.finding));
  }

  /** Findings whose mask lies in a part x0 y0 x1 y1 of a picture, in [0, 1]. */
  at(image, [x0, y0, x1, y1]) {
    const touches = (mask) => {
      const own = mask.images[image];
      if (!own) return false;
      const [height, width] = own.size;
      const pixels = maskPixels(own);
      for (let x = Math.floor(x0 * width); x < Math.ceil(x1 * width - 1e-6); x++)
        for (let y = Math.floor(y0 * height); y < Math.ceil(y1 * height - 1e-6); y++)
          if (pixels[(x + 1) * (height + 2) + y + 1]) return true;
      return false;
    };
    return this.masks.filter(touches).map((mask) => mask.finding);
  }

  /** Buttons that show and hide the masks, of one picture if it is named; null without any. */
  legend(image = null) {
    const shown = this.masks.map((_, i) => i).filter((i) => image === null || this.masks[i].images[image]);
    if (!shown.length) return null;
    const key = (i) => {
      const { colour, dash } = this.look(i);
      const line = svg("line", { x1: 0, y1: 5, x2: 26, y2: 5, stroke: colour, "stroke-dasharray": dash });
      const swatch = svg("svg", { class: "swatch", viewBox: "0 0 26 10", "aria-hidden": "true" }, line);
      const button = h("button", { type: "button", class: "mask-key", onclick: () => this.toggle([i]) }, swatch, words(this.masks[i].finding));
      return this.follow(button, i);
    };
    const all = h("button", { type: "button", class: "quiet", onclick: () => this.toggle(shown) }, "show or hide all");
    const title = "Where the source says that a finding is, on the pixels that the model sees";
    return h("div", { class: "legend mask-legend", role: "group", "aria-label": "Masks" }, h("span", { title }, "Masks"), shown.map(key), shown.length > 1 && all);
  }

  follow(element, i) {
    this.drawn.push([element, i]);
    this.show(element, i);
    return element;
  }

  show(element, i) {
    const hidden = this.hidden.has(i);
    const lit = this.lit.has(this.masks[i].finding);
    element.classList.toggle("lit", lit);
    element.classList.toggle("faint", this.lit.size > 0 && !lit);
    if (element.localName === "button") element.setAttribute("aria-pressed", String(!hidden));
    else element.classList.toggle("gone", hidden);
  }

  update() {
    for (const [element, i] of this.drawn) this.show(element, i);
  }

  /** Hide these if all of them are shown, else show them. */
  toggle(numbers) {
    const hide = numbers.every((i) => !this.hidden.has(i));
    for (const i of numbers) this.hidden[hide ? "add" : "delete"](i);
    this.update();
  }

  /** Bring some findings forward; none of them leaves all as they are. */
  light(findings) {
    this.lit = new Set(findings.filter((finding) => this.masks.some((mask) => mask.finding === finding)));
    this.update();
  }
}
