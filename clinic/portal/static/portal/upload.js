// Sends dropped or chosen files and folders in chunks, a few at a time, and says of each in place what became of it.
// Without this file the form below the drop zone does the same, without progress.
"use strict";

(() => {
  const AT_ONCE = 3;
  const TRIES = 5;
  const MADE_BY_FILE_MANAGERS = new Set([".DS_Store", "Thumbs.db", "desktop.ini"]);
  const EMPTY = { problem: "The file is empty.", remedy: "Export it again and send the new one." };
  const SETTLED = new Set(["accepted", "refused", "duplicate", "cancelled", "failed", "unknown"]);
  const TONES = { accepted: "good", refused: "danger", failed: "danger", duplicate: "info", checking: "info" };

  const panel = document.querySelector("[data-uploads]");
  if (!panel) return;
  const { uploads: base, pulse, one: address, chunk, csrf } = panel.dataset;
  const list = panel.querySelector(".uploads");
  const template = panel.querySelector("template");
  const summary = panel.querySelector(".upload-summary");
  const announce = panel.querySelector(".upload-announce");
  const input = panel.querySelector("input[type=file].drop");
  const waiting = [];
  const rows = new Map(); // upload id → row
  const all = new Set();
  let running = 0;
  let polling = null;
  let dirty = false;

  const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });
  const url = (id, more = "") => address.replace("00000000-0000-0000-0000-000000000000", id) + more;

  async function ask(method, where, headers = {}, body = null, signal = undefined) {
    const answer = await fetch(where, {
      method, body, signal, redirect: "manual", credentials: "same-origin",
      headers: { "X-CSRFToken": csrf, Accept: "application/json", ...headers },
    });
    if (answer.type === "opaqueredirect") throw new Error("Your session has ended. Sign in again, then send the file once more.");
    if (answer.status === 204) return null;
    const said = await answer.json().catch(() => ({ detail: `The server could not do this (${answer.status}).` }));
    if (!answer.ok) throw Object.assign(new Error(said.detail), { said, status: answer.status });
    return said;
  }

  // --- one row ---------------------------------------------------------------------------------------------------

  function addRow(name, size) {
    const element = template.content.firstElementChild.cloneNode(true);
    const row = { name, size, element, state: "waiting", abort: new AbortController() };
    element.querySelector(".upload-name").textContent = name;
    element.querySelector(".upload-size").textContent = inWords(size);
    const label = element.querySelector("progress");
    label.ariaLabel = `Progress of ${name}`;
    element.querySelector(".upload-cancel").addEventListener("click", () => cancel(row));
    element.querySelector(".upload-retry").addEventListener("submit", (event) => { event.preventDefault(); retry(row); });
    for (const select of element.querySelectorAll("select")) select.ariaLabel = `What ${name} is`;
    for (const field of element.querySelectorAll("input")) field.ariaLabel = `Sample of ${name}`;
    list.append(element);
    all.add(row);
    return row;
  }

  function show(row, said) {
    Object.assign(row, { id: said.id ?? row.id, state: said.state ?? row.state });
    if (row.id) rows.set(row.id, row);
    const { element } = row;
    const part = (name) => element.querySelector(name);
    const state = part(".upload-state");
    state.textContent = said.words ?? said.state;
    state.className = `upload-state badge ${TONES[row.state] ?? ""}`;
    element.dataset.state = row.state;
    element.classList.toggle("refused", row.state === "refused" || row.state === "failed");
    part(".upload-kind").textContent = said.kind_name ? ` · ${said.kind_name}` : "";
    const progress = part("progress");
    progress.hidden = SETTLED.has(row.state);
    if (said.received !== undefined && row.state === "receiving") progress.value = said.received / row.size;
    else if (!SETTLED.has(row.state) && row.state !== "waiting") progress.removeAttribute("value");
    const why = said.rejection;
    part(".upload-why").hidden = !why;
    if (why) {
      part(".upload-problem").textContent = why.place && why.place !== row.name ? `${why.place}: ${why.problem}` : why.problem;
      part(".upload-remedy").textContent = why.remedy;
    }
    part(".upload-retry").hidden = !(said.may_retry || row.state === "failed");
    part(".upload-choices").hidden = !said.may_retry;
    part(".upload-cancel").hidden = SETTLED.has(row.state);
    count();
  }

  function fail(row, error) {
    const said = error.said?.errors?.[0];
    show(row, { state: "failed", words: "Not sent", rejection: said ?? { problem: error.message, remedy: "" } });
  }

  function inWords(bytes) {
    const units = ["bytes", "kB", "MB", "GB"];
    let step = 0;
    let size = bytes;
    while (size >= 1000 && step < 3) { size /= 1000; step += 1; }
    return `${step ? size.toFixed(1) : size} ${units[step]}`;
  }

  function count() {
    const of = (...states) => [...all].filter((row) => states.includes(row.state)).length;
    const parts = [[of("accepted"), "accepted"], [of("duplicate"), "already here"], [of("refused", "failed"), "refused"],
      [of("cancelled"), "cancelled"], [of("waiting", "receiving", "checking"), "under way"]];
    const text = parts.filter(([n]) => n).map(([n, word]) => `${n} ${word}`).join(", ");
    summary.textContent = text ? `${all.size} file${all.size > 1 ? "s" : ""}: ${text}.` : "";
    panel.querySelector(".upload-cancel-all").hidden = of("waiting", "receiving") < 2;
    const over = all.size > 0 && of("waiting", "receiving", "checking") === 0;
    if (over && announce.textContent !== summary.textContent) announce.textContent = summary.textContent;
  }

  // --- sending ---------------------------------------------------------------------------------------------------

  async function digest(file) {
    if (!globalThis.crypto?.subtle) return "";
    const bytes = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async function begin(row) {
    const { file } = row;
    const kind = panel.querySelector("select[name=kind]").value;
    const sample = panel.querySelector("input[name=sample]").value;
    const headers = {
      "Content-Type": "application/offset+octet-stream", "Upload-Name": encodeURIComponent(file.name),
      "Upload-Length": String(file.size), "Upload-Sha256": await digest(file), "Upload-Kind": kind,
      "Upload-Sample": encodeURIComponent(sample),
    };
    const large = file.size > Number(chunk);
    return ask("POST", base, headers, large ? null : file, row.abort.signal);
  }

  async function proceed(row, said) {
    const more = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(said.received) };
    const part = row.file.slice(said.received, said.received + Number(chunk));
    try {
      return await ask("PATCH", url(said.id), more, part, row.abort.signal);
    } catch (error) {
      if (error.said?.code === "wrong_offset") return { ...said, received: error.said.received };
      throw error;
    }
  }

  async function send(row) {
    let said = null;
    for (let tries = 0; !row.abort.signal.aborted;) {
      try {
        said = said?.state === "receiving" ? await proceed(row, said) : await begin(row);
        tries = 0;
        show(row, said);
        if (said.state !== "receiving") { dirty = true; return; }
      } catch (error) {
        if (row.abort.signal.aborted) return;
        tries += 1;
        if (error.said || tries > TRIES) { fail(row, error); return; }
        show(row, { state: "receiving", words: "Interrupted, trying again" });
        await wait(2 ** tries * 500);
        said = null; // the server knows how far it is: the same file goes on where it stopped
      }
    }
  }

  async function work() {
    if (running >= AT_ONCE) return;
    running += 1;
    for (let row = waiting.shift(); row; row = waiting.shift()) {
      if (!row.abort.signal.aborted) await send(row);
      poll();
    }
    running -= 1;
  }

  function take(files) {
    for (const file of files) {
      if (MADE_BY_FILE_MANAGERS.has(file.name)) continue;
      const row = addRow(file.name, file.size);
      row.file = file;
      if (file.size === 0) {
        show(row, { state: "failed", words: "Refused", rejection: EMPTY });
        row.element.querySelector(".upload-retry").hidden = true;
        continue;
      }
      show(row, { state: "waiting", words: "Waiting" });
      waiting.push(row);
    }
    for (let k = 0; k < AT_ONCE; k += 1) work();
  }

  async function cancel(row) {
    row.abort.abort();
    try {
      if (row.id) await ask("DELETE", url(row.id));
      show(row, { state: "cancelled", words: "Cancelled" });
    } catch { await poll(); }
  }

  async function retry(row) {
    if (row.state === "failed" && row.file) {
      row.abort = new AbortController();
      show(row, { state: "waiting", words: "Waiting" });
      waiting.push(row);
      work();
      return;
    }
    const form = row.element.querySelector(".upload-retry");
    try {
      show(row, await ask("POST", url(row.id, "retry/"), {}, new URLSearchParams(new FormData(form))));
      dirty = true;
      poll();
    } catch (error) { fail(row, error); }
  }

  // --- what became of them ---------------------------------------------------------------------------------------

  async function look() {
    const { states } = await ask("GET", pulse);
    const changed = [...rows].filter(([id, row]) => states[id] && states[id] !== row.state).map(([id]) => id);
    for (let k = 0; k < changed.length; k += 50) {
      const query = new URLSearchParams(changed.slice(k, k + 50).map((id) => ["id", id]));
      const { uploads } = await ask("GET", `${base}?${query}`);
      for (const said of uploads) show(rows.get(said.id), said);
      dirty = true;
    }
  }

  function poll() {
    polling ??= (async () => {
      for (let tries = 0; tries < TRIES;) {
        try { await look(); tries = 0; } catch { tries += 1; }
        const open = [...all].some((row) => !SETTLED.has(row.state));
        if (dirty && !open) { dirty = false; document.body.dispatchEvent(new Event("case-changed")); }
        if (!open) break;
        await wait(1000);
      }
      polling = null;
    })();
    return polling;
  }

  // --- what comes in ---------------------------------------------------------------------------------------------

  async function filesIn(entry) {
    if (entry.isFile) return [await new Promise((done, bad) => { entry.file(done, bad); })];
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const some = await new Promise((done, bad) => { reader.readEntries(done, bad); });
      if (!some.length) break;
      for (const inner of some) found.push(...await filesIn(inner));
    }
    return found;
  }

  panel.addEventListener("dragover", (event) => { event.preventDefault(); input.classList.add("over"); });
  panel.addEventListener("dragleave", () => input.classList.remove("over"));
  panel.addEventListener("drop", async (event) => {
    event.preventDefault();
    input.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = entries.length ? (await Promise.all(entries.map(filesIn))).flat() : [...event.dataTransfer.files];
    take(files);
  });
  for (const chooser of panel.querySelectorAll("input[type=file]")) {
    chooser.addEventListener("change", () => { take([...chooser.files]); chooser.value = ""; });
  }
  panel.querySelector(".upload-cancel-all").addEventListener("click", () => {
    for (const row of all) if (row.state === "waiting" || row.state === "receiving") cancel(row);
  });
  for (const one of panel.querySelectorAll(".upload-scripted")) one.hidden = false;
  for (const one of panel.querySelectorAll(".upload-plain")) one.hidden = true;
  for (const said of JSON.parse(panel.dataset.open)) {
    show(addRow(said.name, said.size), said);
  }
  if (all.size) poll();
})();
