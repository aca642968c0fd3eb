// The pages work without this file. It marks a drop zone under a dragged file, keeps a form from being sent twice, and
// closes the account menu on a click beside it.
"use strict";

for (const [event, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(event, ({ target }) => {
    if (target instanceof Element && target.matches("input.drop")) target.classList.toggle("over", over);
  });
}

document.addEventListener("submit", ({ target }) => {
  const button = target.querySelector("button[type=submit]");
  if (!target.dataset.busy || !button) return;
  button.disabled = true;
  button.textContent = target.dataset.busy;
});

document.addEventListener("click", ({ target }) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
});

document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") document.body.classList.add("terms-closed");
  const menu = key === "Escape" && document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

for (const event of ["pointerover", "focusin"]) {
  document.addEventListener(event, ({ target }) => {
    if (target instanceof Element && !target.closest(".term")) document.body.classList.remove("terms-closed");
  });
}
