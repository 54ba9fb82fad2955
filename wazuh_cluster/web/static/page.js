// Keeps the page as it is now: sections that changed come as server-sent events,
// and how long ago something was is counted here.
"use strict";

let base = { now: Number(document.body.dataset.now), at: performance.now() };
const live = document.getElementById("live");

function now() {
  return base.now + (performance.now() - base.at) / 1000;
}

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit}`;
  }
  return `${whole} s`;
}

function tell(words, lost) {
  if (live.textContent !== words) live.textContent = words;
  live.className = lost ? "lost" : "quiet";
}

function age(root) {
  for (const each of root.querySelectorAll("time[data-at]")) {
    const text = `${span(now() - Number(each.dataset.at))} ago`;
    if (each.textContent !== text) each.textContent = text;
  }
}

function replace(name, html) {
  const section = document.getElementById(name);
  if (section === null) return;
  // Whoever is on a link or has scrolled a table stays there.
  const focused = section.contains(document.activeElement) ? document.activeElement : null;
  const href = focused && focused.getAttribute("href");
  const label = focused && focused.getAttribute("aria-label");
  const scrolled = new Map();
  for (const each of section.querySelectorAll(".wide")) {
    scrolled.set(each.getAttribute("aria-label"), each.scrollLeft);
  }
  const template = document.createElement("template");
  template.innerHTML = html;
  age(template.content);
  section.replaceChildren(template.content);
  for (const each of section.querySelectorAll(".wide")) {
    each.scrollLeft = scrolled.get(each.getAttribute("aria-label")) || 0;
  }
  if (focused !== null) {
    for (const each of section.querySelectorAll("a[href], [tabindex]")) {
      if ((href && each.getAttribute("href") === href)
        || (label && each.getAttribute("aria-label") === label)) {
        each.focus({ preventScroll: true });
        break;
      }
    }
  }
}

age(document);
setInterval(() => age(document), 1000);

if (document.body.dataset.stream) {
  const source = new EventSource(document.body.dataset.stream);
  source.addEventListener("sections", (event) => {
    const said = JSON.parse(event.data);
    base = { now: said.now, at: performance.now() };
    for (const [name, html] of Object.entries(said.sections)) replace(name, html);
    tell("Live", false);
  });
  source.addEventListener("error", () => {
    tell("The node does not answer; trying again. What you see may be old.", true);
  });
  source.addEventListener("open", () => tell("Live", false));
}
