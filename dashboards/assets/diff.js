// Which words of a report were removed and which were added: longest common subsequence of words.

/** Words, each with the white space after it. */
function splitWords(text) {
  return text.match(/\s*\S+\s*/g) ?? [];
}

/** Parts [kind, text] with kind "same", "del" or "ins", in reading order. */
function diffWords(before, after) {
  const a = splitWords(before);
  const b = splitWords(after);
  const equal = (i, j) => a[i].trim() === b[j].trim();
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i][j] = equal(i, j) ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const parts = [];
  const push = (kind, text) => {
    const last = parts.at(-1);
    if (last && last[0] === kind) last[1] += text;
    else parts.push([kind, text]);
  };
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && equal(i, j)) {
      push("same", a[i]);
      i++;
      j++;
    } else if (i < a.length && (j === b.length || lengths[i + 1][j] >= lengths[i][j + 1])) push("del", a[i++]);
    else push("ins", b[j++]);
  }
  return parts;
}

/** One side of a comparison as a report paragraph: the "del" side shows what went, the "ins" side what came. */
function diffReport(parts, side) {
  return h(
    "p",
    { class: "report" },
    parts
      .filter(([kind]) => kind === "same" || kind === side)
      .map(([kind, text]) => (kind === "same" ? text : h(side, {}, text))),
  );
}
