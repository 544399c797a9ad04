// A long list of links of which only those in the window exist as elements.

const WIDE_ROW = 44;
const NARROW_ROW = 84; // pixels; as in list.css and narrow.css
const MARGIN_ROWS = 8;

/** `rowAt(number, top)` makes one row. Returns {element, show(numbers)}. */
function virtualList(rowAt) {
  const body = h("div", { class: "list-body" });
  let numbers = [];
  const draw = () => {
    const height = matchMedia("(max-width: 760px)").matches ? NARROW_ROW : WIDE_ROW;
    body.style.height = `${numbers.length * height}px`;
    const top = -body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / height) - MARGIN_ROWS);
    const last = Math.min(numbers.length, Math.ceil((top + innerHeight) / height) + MARGIN_ROWS);
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    body.replaceChildren(...numbers.slice(first, last).map((number, i) => rowAt(number, (first + i) * height)));
    if (focused) body.querySelector(`[data-row="${focused}"]`)?.focus({ preventScroll: true });
  };
  const follow = () => {
    if (body.isConnected) return draw();
    for (const event of ["scroll", "resize"]) window.removeEventListener(event, follow);
  };
  for (const event of ["scroll", "resize"]) window.addEventListener(event, follow, { passive: true });
  body.addEventListener("keydown", moveFocus);
  const show = (next) => {
    numbers = next;
    draw();
  };
  return { element: body, show };
}

/** Arrow keys go from row to row. */
function moveFocus(event) {
  const row = event.target.closest(".list-row");
  const to = row && { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (!to) return;
  event.preventDefault();
  to.focus({ preventScroll: true });
  to.scrollIntoView({ block: "nearest" });
}
