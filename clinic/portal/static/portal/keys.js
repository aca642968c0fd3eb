// Single keys: j and k between cases, / to the search field, ? for the list of keys. They rest while somebody types, and
// a person can switch them off (WCAG 2.1.4); everything they do can be done without them.
"use strict";

const OFF = "keys-off";
const typing = ({ target }) => target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

function step(by) {
  const links = [...document.querySelectorAll("[data-case]")];
  const at = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(at + by, 0), links.length - 1)];
  next?.focus();
  next?.closest("tr").scrollIntoView({ block: "nearest" });
}

const ACTS = {
  j: () => step(1),
  k: () => step(-1),
  "/": () => document.querySelector("[data-search]")?.focus(),
  "?": () => document.getElementById("keys")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const act = ACTS[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey || typing(event) || document.querySelector("dialog[open]")) return;
  if (localStorage.getItem(OFF) && event.key !== "?") return;
  event.preventDefault();
  act();
});

document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("keys-on");
  if (!box) return;
  box.checked = !localStorage.getItem(OFF);
  box.addEventListener("change", () => (box.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1")));
});
