// The frame: theme, links that do not load the page anew, the title, where the reader is.

const THEME_KEY = "interp-theme";
let shownPath = null;

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  if (!button) return;
  const other = theme === "dark" ? "Light" : "Dark";
  if (button.textContent !== other) button.textContent = other;
  button.setAttribute("aria-label", `Change to the ${other.toLowerCase()} theme`);
}

function wantedTheme() {
  const kept = localStorage.getItem(THEME_KEY);
  return kept ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

/** Links inside the dashboard change the address and leave the rest to Dash. */
function followLinks(event) {
  const anchor = event.target.closest?.("a.in, a.brand");
  if (!anchor || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const href = anchor.getAttribute("href");
  if (!href?.startsWith("/")) return;
  event.preventDefault();
  document.querySelector("dialog[open]")?.close();
  if (href !== location.pathname + location.search) go(href);
}

const SECTION_OF = { feature: "features", study: "studies" };

function markPlace() {
  const first = location.pathname.split("/")[1] ?? "";
  const section = `/${SECTION_OF[first] ?? first}`;
  for (const entry of document.querySelectorAll(".masthead nav a")) {
    if (entry.getAttribute("href") === section) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
}

/** Another page was drawn: its title, and the reader at its top. */
function pageChanged() {
  setTheme(wantedTheme());
  findGrid();
  const heading = document.querySelector("#page h1");
  if (!heading) return;
  const name = document.querySelector('meta[name="run"]')?.content ?? "";
  const title = `${heading.textContent} · ${name} · interp`;
  if (document.title !== title) document.title = title;
  if (shownPath === location.pathname) return;
  markPlace();
  const first = shownPath === null;
  shownPath = location.pathname;
  if (first) return;
  window.scrollTo(0, 0);
  document.getElementById("page").focus({ preventScroll: true });
}

function clicked(event) {
  if (event.target.id === "skip") document.getElementById("page").focus();
  if (event.target.id !== "theme") return;
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem(THEME_KEY, theme);
  setTheme(theme);
  redrawFigures();
}

setTheme(wantedTheme());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  setTheme(wantedTheme());
  redrawFigures();
});
document.documentElement.style.setProperty("--ramp", rampCss());
document.addEventListener("click", followLinks);
document.addEventListener("click", clicked);
watchWidgets();
new MutationObserver(pageChanged).observe(document.body, { childList: true, subtree: true });
