// Zooms and moves one image by the view box of its drawing, so that outlines and overlay stay where they belong; sets
// overlay, brightness and contrast; answers to the keys. Without it the page still shows image, overlay and outlines.
"use strict";

(() => {
  const viewer = document.querySelector(".viewer");
  if (!viewer) return;
  const stage = viewer.querySelector(".stage");
  const pictures = viewer.querySelector(".pictures");
  const overlay = viewer.querySelector(".overlay");
  const boxes = viewer.querySelector(".boxes");
  const tools = document.querySelector(".viewer-tools");
  const told = tools.querySelector(".viewer-zoom");
  const width = Number(viewer.dataset.width);
  const height = Number(viewer.dataset.height);
  const MOST = 40; // screen pixels for one of the image
  let view = { x: 0, y: 0, w: width, h: height };

  const scale = () => Math.min(viewer.clientWidth / view.w, viewer.clientHeight / view.h);

  function draw() {
    const least = Math.min(viewer.clientWidth, viewer.clientHeight) / MOST;
    view.w = Math.min(Math.max(view.w, least), width * 2);
    view.h = Math.min(Math.max(view.h, least), height * 2);
    view.x = Math.min(Math.max(view.x, -view.w / 2), width - view.w / 2);
    view.y = Math.min(Math.max(view.y, -view.h / 2), height - view.h / 2);
    stage.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
    viewer.classList.toggle("pixels", scale() >= 3);
    told.textContent = `${Math.round(scale() * 100)} %`;
  }

  function zoom(by, at = { x: view.x + view.w / 2, y: view.y + view.h / 2 }) {
    const before = view.w;
    const w = Math.min(Math.max(view.w / by, Math.min(viewer.clientWidth, viewer.clientHeight) / MOST), width * 2);
    const real = before / w;
    view = { x: at.x - (at.x - view.x) / real, y: at.y - (at.y - view.y) / real, w, h: view.h / real };
    draw();
  }

  function show(x, y, w, h) { view = { x, y, w, h }; draw(); }

  const acts = {
    in: () => zoom(1.5),
    out: () => zoom(1 / 1.5),
    fit: () => show(0, 0, width, height),
    pixels: () => {
      const [w, h] = [viewer.clientWidth, viewer.clientHeight];
      show(view.x + (view.w - w) / 2, view.y + (view.h - h) / 2, w, h);
    },
  };

  function placeOf(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(stage.getScreenCTM().inverse());
    return { x: point.x, y: point.y };
  }

  // --- mouse and fingers -----------------------------------------------------------------------------------------

  const pointers = new Map();
  let moved = 0;
  viewer.addEventListener("wheel", (event) => { event.preventDefault(); zoom(1.0015 ** -event.deltaY, placeOf(event)); }, { passive: false });
  viewer.addEventListener("dblclick", (event) => zoom(2, placeOf(event)));
  viewer.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    moved = 0;
  });
  viewer.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const [first, second] = [...pointers.values()];
    if (second) {
      const gap = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1;
      const other = first.pointerId === event.pointerId ? second : first;
      zoom(gap(event, other) / gap(last, other), placeOf(event));
    } else {
      const [dx, dy] = [event.clientX - last.clientX, event.clientY - last.clientY];
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved > 4) { viewer.classList.add("moving"); viewer.setPointerCapture(event.pointerId); }
      view.x -= dx / scale();
      view.y -= dy / scale();
      draw();
    }
    pointers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    viewer.addEventListener(end, (event) => { pointers.delete(event.pointerId); viewer.classList.remove("moving"); });
  }
  viewer.addEventListener("click", (event) => { if (moved > 4) event.preventDefault(); }, true);
  viewer.addEventListener("dragstart", (event) => event.preventDefault());

  // --- settings --------------------------------------------------------------------------------------------------

  const set = (name) => tools.querySelector(`[data-sets=${name}]`);
  function apply() {
    pictures.style.filter = `brightness(${set("brightness").value}%) contrast(${set("contrast").value}%)`;
    if (overlay) overlay.style.opacity = set("opacity").value / 100;
    boxes.classList.toggle("off", set("boxes") ? !set("boxes").checked : false);
  }
  tools.addEventListener("input", apply);
  tools.addEventListener("click", ({ target }) => acts[target.dataset?.do]?.());

  function step(name, by) {
    const input = set(name);
    if (!input) return;
    input.value = Number(input.value) + by;
    apply();
  }

  function flip(name, off, on) {
    const input = set(name);
    if (!input) return;
    if (input.type === "checkbox") input.checked = !input.checked;
    else input.value = Number(input.value) > off ? off : on;
    apply();
  }

  function go(selector) { document.querySelector(selector)?.click(); }

  function cell(by) {
    const links = [...document.querySelectorAll(".cell-link")];
    if (!links.length) return;
    const here = links.findIndex((link) => link.ariaCurrent === "true");
    links[(here + by + links.length) % links.length]?.click();
  }

  const keys = {
    "+": acts.in, "=": acts.in, "-": acts.out, 0: acts.fit, 1: acts.pixels,
    o: () => flip("opacity", 0, 60), b: () => flip("boxes"),
    "[": () => step("brightness", -10), "]": () => step("brightness", 10),
    n: () => go("a[rel=next]"), p: () => go("a[rel=prev]"), j: () => cell(1), k: () => cell(-1),
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (arrows[event.key] && document.activeElement === viewer) {
      const [dx, dy] = arrows[event.key];
      view.x += dx * view.w * 0.1;
      view.y += dy * view.h * 0.1;
      draw();
      event.preventDefault();
    } else if (keys[event.key]) {
      keys[event.key]();
      event.preventDefault();
    }
  });

  tools.hidden = false;
  apply();
  const chosen = document.querySelector(".cell-link[aria-current=true]");
  if (chosen) {
    const [x, y, w] = chosen.dataset.view.split(" ").map(Number);
    show(x - w, y - w, 3 * w, 3 * w * (viewer.clientHeight / viewer.clientWidth));
  } else draw();
})();
