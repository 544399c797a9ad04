// Which view is shown: the part of the address after #. Also the theme and what happens when something fails.

const VIEWS = {
  overview: overviewView,
  features: featuresView,
  feature: featureView,
  studies: studiesView,
  study: studyView,
};
const main = document.getElementById("main");
let turn = 0;

/** Shows a failure to the reader instead of leaving the page half drawn. */
function report(error) {
  console.error(error);
  const text = paragraph(h("strong", {}, "This part of the page failed: "), error.message);
  main.prepend(h("div", { class: "banner", role: "alert" }, text));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % in a hand-written address: taken as it stands
  }
}

/** Draws the view that the address asks for. Going back returns to where the reader was on that page. */
async function show(index) {
  const mine = ++turn;
  const back = history.state?.scrolled ?? 0;
  const [path, query] = (location.hash.slice(1) || "overview").split("?");
  const [name, ...rest] = path.split("/");
  const known = Object.hasOwn(VIEWS, name) ? name : "overview";
  const view = await VIEWS[known](index, decoded(rest.join("/")), new URLSearchParams(query));
  if (mine !== turn) return;
  const first = main.dataset.state === "opening";
  main.replaceChildren(view);
  main.dataset.state = "shown";
  view.shown?.();
  markCurrent(known);
  if (first) return;
  window.scrollTo(0, back);
  main.focus({ preventScroll: true });
}

const PAGE_OF = {
  overview: "#overview",
  features: "#features",
  feature: "#features",
  studies: "#studies",
  study: "#studies",
};

function markCurrent(view) {
  for (const entry of document.querySelectorAll(".masthead nav a")) {
    if (entry.hash === PAGE_OF[view]) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
}

function rememberScroll(event) {
  if (event.target.closest?.('a[href^="#"]')) history.replaceState({ scrolled: window.scrollY }, "");
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.textContent = theme === "dark" ? "Light" : "Dark";
  button.setAttribute("aria-label", `Change to the ${theme === "dark" ? "light" : "dark"} theme`);
  redrawFigures();
}

async function start() {
  const preference = matchMedia("(prefers-color-scheme: dark)");
  setTheme(preference.matches ? "dark" : "light");
  preference.addEventListener("change", () => setTheme(preference.matches ? "dark" : "light"));
  const change = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  document.getElementById("theme").addEventListener("click", change);
  document.getElementById("skip").addEventListener("click", () => main.focus());
  document.documentElement.style.setProperty("--ramp", rampCss());
  const index = await block("index");
  document.getElementById("run-name").textContent = index.run.name;
  document.getElementById("ribbon").textContent = index.run.ribbon;
  document.getElementById("built").textContent = index.page.built;
  document.addEventListener("click", rememberScroll, { capture: true });
  window.addEventListener("hashchange", () => show(index).catch(report));
  await show(index);
}

start().catch((error) => {
  main.replaceChildren();
  report(error);
});
