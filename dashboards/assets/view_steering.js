// Steering of a feature: dose and response with controls, and reports before and after.

function changedChips(steered) {
  const chip = ([name, before, after]) => h("span", { class: "chip" }, `${words(name)}: ${before} → ${after}`);
  return h(
    "div",
    { class: "chips" },
    steered.changes.length ? steered.changes.map(chip) : h("span", { class: "muted small" }, "no finding changed"),
    !steered.parse_ok && h("span", { class: "chip uncertain" }, "not readable as a report"),
    isNumber(steered.tokens) && h("span", { class: "muted small" }, `${count(steered.tokens)} tokens changed`),
  );
}

/** The unsteered report at the left, the steered one at the right, with their differences marked. */
function comparison(example, steered) {
  const parts = diffWords(example.unsteered, steered.text);
  const id = example.study_id;
  const name = example.study === null ? id : link(studyHref(id), id);
  return h(
    "div",
    { class: "pair" },
    h("div", {}, h("h4", {}, "Unsteered · ", name), diffReport(parts, "del")),
    h("div", {}, h("h4", {}, armAtStrength(steered)), diffReport(parts, "ins"), changedChips(steered)),
  );
}

/** Reports side by side, with a choice of condition and strength. */
function examplesOf(record) {
  const key = (one) => `${one.control}|${one.strength}`;
  const arms = new Map(record.examples.flatMap((example) => example.steered.map((one) => [key(one), one])));
  if (!arms.size) return record.withheld ? null : muted("No reports are kept for this condition.");
  const keys = [...arms.keys()];
  const first = keys.filter((one) => one.startsWith("none|")).at(-1) ?? keys[0];
  const place = h("div", {});
  const show = (wanted) => {
    const pairs = record.examples.flatMap((example) =>
      example.steered.filter((one) => key(one) === wanted).map((one) => comparison(example, one)),
    );
    place.replaceChildren(...pairs);
  };
  show(first);
  return [
    choice(
      "Compare with",
      first,
      [...arms].map(([value, one]) => [value, armAtStrength(one)]),
      show,
    ),
    place,
  ];
}

function steeringRecord(record) {
  const goal =
    `Goal: ${words(record.key)} → ${record.goal}, in ${count(record.n)} studies whose unsteered report leaves room for ` +
    `it. ${record.how}`;
  const together = record.features.map((id) => [link(featureHref(id), `#${id}`), " "]);
  const plots = record.figures.map((one) => figure(one.figure, `${one.name} against strength, with controls`));
  return h(
    "div",
    { class: "stack" },
    h("h3", {}, `${words(record.experiment)}: ${words(record.condition)}`),
    h("p", {}, h("span", { class: `chip ${record.works ? "present" : "uncertain"}` }, record.verdict), ` ${record.reason}`),
    muted(goal, together.length > 1 && [" Features steered together: ", together]),
    figureKey(record.figures[0].figure),
    h("div", { class: "plots" }, plots),
    small(
      "Machine-written reports, of the first studies, not of picked ones. ",
      h("del", {}, "Removed"),
      " and ",
      h("ins", {}, "added"),
      " words are marked.",
    ),
    examplesOf(record),
    withheldNote(record.withheld),
  );
}

function steeringOfFeature(index, feature) {
  if (!feature.steering.length) {
    const command = `interp steer --run ${index.run.path} --feature ${feature.id} --strength 2`;
    return panel("Steering", muted("Nobody has steered this feature yet. Try it with ", h("code", {}, command)));
  }
  const place = h("div", { class: "stack" });
  const fill = (records) => place.append(...records.map(steeringRecord));
  Promise.all(feature.steering.map((at) => block(`steering-${at}`)))
    .then(fill)
    .catch(report);
  return panel("Steering", place);
}
