// Augmented report review: a sentence lights features and regions, a region lists features and sentences.

const REGION_LEAST = 64; // of 255: a patch counts for a feature from a quarter of its largest activation there
const percentOf = (share) => `${(share * 100).toFixed(1)}%`;

/** How much of a feature lies in the masks of what its label names, beside what chance would put there. */
function insideMasks(feature) {
  const images = Object.keys(feature.inside).sort((a, b) => feature.images[b].share - feature.images[a].share);
  const told = (image) => {
    const { share, area } = feature.inside[image];
    return `${words(image)}: ${percent(share)} in the mask, which covers ${percent(area)}`;
  };
  const title =
    `${images.map(told).join("; ")}. Of the activation of its strongest patches, the part inside the mask of the finding ` +
    "that its label names; each patch counts by how much of it the mask covers, so that nothing thinner than a patch " +
    "reaches 100 %. A map that is the same everywhere would reach what the mask covers of the image.";
  return images.length > 0 && h("span", { class: "muted small", title }, ` · ${told(images[0])} `);
}

/** What the widget shows and what is chosen in it. */
class StudyReview {
  constructor(content) {
    this.content = content;
    this.features = new Map(content.features.map((feature) => [feature.id, feature]));
    this.masks = new StudyMasks(content.masks);
    this.images = content.images.map((image) => this.makeImage(image));
    this.sentences = content.sentences.map((sentence, i) => this.makeSentence(sentence, i));
    this.behind = h("div", { class: "behind", role: "status", "aria-live": "polite" });
    this.clear();
  }

  // Parts

  makeImage(image) {
    const { rows, cols } = this.content;
    const canvas = h("canvas", { width: cols || 1, height: rows || 1, "aria-hidden": "true" });
    const marks = svg("svg", { class: "marks", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    const picture = h("img", { src: image.src, alt: `${words(image.name)} image of study ${this.content.id}` });
    const real = this.content.real && h("span", { class: "real" }, REAL_NOTE);
    const named = this.masks.named(image.name);
    const masked = named.length ? ` Masks: ${named.join("; ")}.` : "";
    const help = `${words(image.name)} image.${masked} Choose a place to see what fires there. Arrow keys move, Enter chooses.`;
    const frame = h("button", { type: "button", class: "radiograph region", "aria-label": help }, picture, canvas, this.masks.layer(image.name), marks, real);
    const one = { name: image.name, src: image.src, frame, canvas, marks, cursor: Math.floor(rows / 2) * cols + Math.floor(cols / 2) };
    frame.addEventListener("click", (event) => event.detail > 0 && this.choosePatch(one, this.patchAt(one, event)));
    frame.addEventListener("keydown", (event) => this.moveCursor(one, event));
    const larger = () => enlargePicture({ src: image.src, image: image.name, id: this.content.id, real: this.content.real, masks: this.masks }, 1);
    const caption = h("figcaption", {}, words(image.name), " ", h("button", { type: "button", class: "quiet", onclick: larger }, "Enlarge"));
    one.figure = h("figure", {}, frame, caption);
    return one;
  }

  makeSentence(sentence, i) {
    const choose = () => this.chooseSentence(i);
    return h("button", { type: "button", class: "sentence", "aria-pressed": "false", onclick: choose }, sentence.text);
  }

  patchAt(image, event) {
    const { rows, cols } = this.content;
    const box = image.frame.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const col = Math.floor(((event.clientX - box.left) / box.width) * cols);
    return Math.min(rows - 1, Math.max(0, row)) * cols + Math.min(cols - 1, Math.max(0, col));
  }

  moveCursor(image, event) {
    const { rows, cols } = this.content;
    const steps = { ArrowUp: -cols, ArrowDown: cols, ArrowLeft: -1, ArrowRight: 1 };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choosePatch(image, image.cursor);
    } else if (event.key in steps) {
      event.preventDefault();
      const next = image.cursor + steps[event.key];
      if (next >= 0 && next < rows * cols) image.cursor = next;
      this.mark(image, [this.patchBox(image.cursor)], "cursor");
    }
  }

  patchBox(patch) {
    const { rows, cols } = this.content;
    const [row, col] = [Math.floor(patch / cols), patch % cols];
    return [col / cols, row / rows, (col + 1) / cols, (row + 1) / rows];
  }

  // Drawing

  /** Boxes x0 y0 x1 y1 in [0, 1] of a kind over an image, in place of what was marked. */
  mark(image, boxes, kind) {
    const rectangle = ([x0, y0, x1, y1]) =>
      svg("rect", { class: kind, x: x0 * 100, y: y0 * 100, width: (x1 - x0) * 100, height: (y1 - y0) * 100 });
    image.marks.replaceChildren(...boxes.map(rectangle));
  }

  /** The largest share of each patch over some features, as a heat map on every image. */
  heat(ids) {
    for (const image of this.images) {
      const { rows, cols } = this.content;
      const values = new Float32Array(rows * cols);
      for (const id of ids) {
        const own = this.features.get(id)?.images[image.name];
        own?.patches.forEach((patch, i) => {
          values[patch] = Math.max(values[patch], (own.share * own.weights[i]) / 255);
        });
      }
      const context = image.canvas.getContext("2d");
      const picture = context.createImageData(cols || 1, rows || 1);
      values.forEach((value, i) => picture.data.set(patchColour(Math.min(1, value)), i * 4));
      context.putImageData(picture, 0, 0);
    }
  }

  press(pressed) {
    this.sentences.forEach((button, i) => button.setAttribute("aria-pressed", String(pressed.includes(i))));
  }

  clear() {
    this.press([]);
    this.heat([]);
    this.masks.light([]);
    for (const image of this.images) this.mark(image, [], "box");
    const none = this.features.size ? "Choose a sentence, a place in an image, or a feature below." : "Nothing is known of the features of this study.";
    // Those with a finding to their name first; within both the strongest first, as they came.
    const named = (feature) => Number(!feature.concept);
    const first = [...this.features.values()].sort((a, b) => named(a) - named(b)).slice(0, 20);
    this.tell("Features of this study", first, [], none);
  }

  // Choosing

  chooseSentence(i) {
    const sentence = this.content.sentences[i];
    const behind = this.content.links[i];
    this.press([i]);
    this.heat(behind.map((one) => one.id));
    for (const image of this.images) this.mark(image, image.name === "frontal" ? sentence.boxes : [], "box");
    this.masks.light(sentence.masks);
    const drawn = [sentence.boxes.length && "frames", sentence.masks.length && "lit masks"].filter(Boolean).join(" and ");
    const boxes = drawn ? ` The ${drawn} are those of the source.` : "";
    const note = behind.length ? `Colour: where these features fire.${boxes}` : `No feature is known to be behind this sentence.${boxes}`;
    this.tell("Behind the sentence", behind, statusChips(sentence.findings), note);
  }

  choosePatch(image, patch) {
    image.cursor = patch;
    const found = [];
    for (const feature of this.features.values()) {
      const own = feature.images[image.name];
      const at = own ? own.patches.indexOf(patch) : -1;
      if (at >= 0 && own.weights[at] >= REGION_LEAST) found.push({ id: feature.id, share: (own.share * own.weights[at]) / 255 });
    }
    found.sort((a, b) => b.share - a.share);
    const ids = new Set(found.map((one) => one.id));
    const sentences = this.content.links.flatMap((links, i) => (links.some((one) => ids.has(one.id)) ? [i] : []));
    this.press(sentences);
    this.heat([]);
    for (const other of this.images) this.mark(other, other === image ? [this.patchBox(patch)] : [], "place");
    const masked = this.masks.at(image.name, this.patchBox(patch));
    this.masks.light(masked);
    const query = `study=${encodeURIComponent(this.content.id)}&image=${image.name}&patch=${patch}`;
    const similar = inside(`/search?${query}`, "Studies with the same features here");
    const note = found.length
      ? `${count(sentences.length)} sentence${sentences.length === 1 ? "" : "s"} of the report belong to them. `
      : "None of the strongest features of this study fires here. ";
    this.tell(`At this place of the ${words(image.name)} image`, found, [masked.length > 0 && `In the mask of ${masked.map(words).join("; ")}. `, note, similar], "");
  }

  chooseFeature(id) {
    const sentences = this.content.links.flatMap((links, i) => (links.some((one) => one.id === id) ? [i] : []));
    this.press(sentences);
    this.heat([id]);
    for (const image of this.images) this.mark(image, [], "box");
    const feature = this.features.get(id);
    this.masks.light(feature.masks);
    const where = Object.entries(feature.images).map(([name, own]) => `${words(name)} ${percent(own.share)}`).join(", ");
    const note = `In images: ${where || "nowhere"}. Sentences that belong to it are marked.`;
    this.tell("One feature", [{ id, share: feature.share }], note, "");
  }

  /** Lists features with what else is to be said. */
  tell(title, found, more, note) {
    const item = ({ id, share, why }) => {
      const feature = this.features.get(id);
      if (!feature) return null;
      const show = h("button", { type: "button", class: "quiet", onclick: () => this.chooseFeature(id) }, "show");
      const part = percent(share ?? feature.share);
      return h(
        "li",
        { "data-feature": id },
        inside(featurePage(id), `#${id}`),
        ` ${feature.label ?? "no label"} `,
        polarityChip(feature.polarity),
        h("span", { title: "share of its largest activation" }, ` ${part}${why ? ` · ${why}` : ""} `),
        insideMasks(feature),
        show,
      );
    };
    this.behind.replaceChildren();
    append(this.behind, [h("h3", {}, title), more, note && small(note), h("ul", { class: "plain" }, found.map(item))]);
  }

  /** What the address asks for: a sentence, a finding or a feature. */
  start({ sentence, finding, feature }) {
    const same = (text) => text.toLowerCase().split(/\s+/).join(" ");
    const names = (told) => finding && told.some((one) => one.split("=")[0] === finding || one.split("=")[0].split(":")[0] === finding);
    const wanted = this.content.sentences.findIndex(
      (one) => (sentence && same(one.text) === same(sentence)) || names(one.findings),
    );
    if (wanted >= 0) this.chooseSentence(wanted);
    else if (feature && this.features.has(Number(feature))) this.chooseFeature(Number(feature));
  }
}

WIDGETS.study = (content, place) => {
  const review = new StudyReview(content);
  review.start(content.start);
  const clear = h("button", { type: "button", class: "quiet", onclick: () => review.clear() }, "Clear");
  const machine = content.machine && h("p", {}, h("span", { class: "chip ai" }, "machine-written report"));
  const report = content.sentences.length
    ? h("div", { class: "report sentences" }, review.sentences.flatMap((one) => [one, " "]))
    : muted("This study has no report.");
  return h(
    "div",
    { class: "study-review" },
    h(
      "div",
      { class: "panel study-images" },
      h("div", { class: "legend" }, opacitySlider(place), "0", h("span", { class: "ramp", "aria-hidden": "true" }), "largest activation of each feature"),
      review.masks.legend(),
      h("div", { class: "pictures" }, review.images.map((image) => image.figure)),
    ),
    h("div", { class: "panel" }, h("h2", {}, "Report ", clear), small(content.by), machine, report, review.behind),
  );
};
