// Reports before and after steering, side by side, with what was added and removed marked.

/** What happened to each finding, in words and with a sign. */
function changeChips(steered) {
  const chip = ([name, before, after]) => {
    const came = after === "present";
    const went = before === "present";
    const [kind, sign, verb] = came ? ["present", "+", "added"] : went ? ["absent", "−", "removed"] : ["", "·", ""];
    const text = verb ? `${verb}: ${words(name)}` : `${words(name)}: ${before} → ${after}`;
    return h("span", { class: `chip ${kind}`, title: `${before} → ${after}` }, h("b", { "aria-hidden": "true" }, sign), text);
  };
  return h(
    "div",
    { class: "chips" },
    steered.changes.length ? steered.changes.map(chip) : h("span", { class: "muted small" }, "no finding changed"),
    !steered.parse_ok && h("span", { class: "chip uncertain" }, "not readable as a report"),
    isNumber(steered.tokens) && h("span", { class: "muted small" }, `proof: ${count(steered.tokens)} tokens changed`),
  );
}

function reportPair(example, steered) {
  const parts = diffWords(example.unsteered, steered.text);
  const name = inside(studyPage(example.study_id), example.study_id);
  return h(
    "div",
    { class: "pair" },
    h("div", {}, h("h4", {}, "Unsteered · ", name), diffReport(parts, "del")),
    h("div", {}, h("h4", {}, armAtStrength(steered)), diffReport(parts, "ins"), changeChips(steered)),
  );
}

WIDGETS.examples = ({ examples }) => {
  const key = (one) => `${one.control}|${one.strength}`;
  const arms = new Map(examples.flatMap((example) => example.steered.map((one) => [key(one), one])));
  if (!arms.size) return muted("No reports are kept for this condition.");
  const first = [...arms.keys()].filter((one) => one.startsWith("none|")).at(-1) ?? arms.keys().next().value;
  const place = h("div", {});
  const show = (wanted) => {
    const pairs = examples.flatMap((example) =>
      example.steered.filter((one) => key(one) === wanted).map((one) => reportPair(example, one)),
    );
    place.replaceChildren(...pairs);
  };
  show(first);
  if (arms.size === 1) return place;
  return [choice("Compare with", first, [...arms].map(([value, one]) => [value, armAtStrength(one)]), show), place];
};
