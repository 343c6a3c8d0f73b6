// Everything here is a comfort: without it the pages say and do the same.

const said = document.getElementById("said"); // what is written here is read out

document.documentElement.classList.add("scripted");
localise(document);
searchBySlash();
copyButtons();
followLatest();
followReplay();
waitUntilReady();

// Times come in UTC. They are shown in the reader's zone, and as they were sent on hover.
function localise(root) {
  const format = new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "short", year: "numeric",
    hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.textContent = format.format(at);
  }
}

// A slash goes to the search field, from everywhere but another field.
function searchBySlash() {
  const field = document.getElementById("order_uid");
  if (field?.autofocus) field.setSelectionRange(0, field.value.length); // typing replaces what was not found
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!field || event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}

// <button data-copy="id"> copies the text of that element.
function copyButtons() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const label = button.innerHTML;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copy(document.getElementById(button.dataset.copy));
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      said.textContent = done ? "Copied" : "Selected: press Control and C to copy";
      setTimeout(() => { button.innerHTML = label; said.textContent = ""; }, 2000);
    });
  }
}

// The clipboard is there on https and localhost only; elsewhere the text is at least selected.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}

// The latest orders are read again every few seconds, as the server renders them, so that there is one
// way to show an order. Unchanged, that is an empty answer. Nothing moves under a pointer or the focus.
function followLatest() {
  const list = document.getElementById("latest");
  const button = document.getElementById("live");
  if (!list) return;
  let paused = false;
  let shown = "";
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
  });
  setInterval(async () => {
    if (paused || document.hidden || list.matches(":hover, :focus-within")) return;
    const page = await read("/");
    const next = page?.getElementById("latest");
    if (!next || next.innerHTML === shown) return;
    shown = next.innerHTML;
    const known = new Set(Array.from(list.querySelectorAll("li"), (row) => row.dataset.uid));
    for (const row of next.querySelectorAll("li")) row.classList.toggle("fresh", !known.has(row.dataset.uid));
    localise(next);
    list.replaceChildren(...next.childNodes);
    document.getElementById("count").textContent = page.getElementById("count").textContent;
  }, 3000);
}

// What runs in the background is read again every second. Of a part that goes on running only its progress
// changes, so that a button keeps the focus; of one that ends or begins, everything does. Forms that somebody
// fills in lie outside.
function followReplay() {
  const parts = [...document.querySelectorAll("[data-live]")];
  const running = () => parts.some((part) => part.dataset.live === "running");
  if (!running()) return;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    const next = await read("/replay");
    if (!next) return;
    for (const part of parts) {
      const now = next.getElementById(part.id);
      if (!now) return; // logged out, or the database is away
      localise(now);
      const [shown, fresh] = [part, now].map((element) => element.querySelector("[data-progress]"));
      if (part.dataset.live === "running" && now.dataset.live === "running" && shown && fresh) {
        shown.replaceChildren(...fresh.childNodes);
      } else if (part.innerHTML !== now.innerHTML) {
        part.replaceChildren(...now.childNodes);
      }
      part.dataset.live = now.dataset.live;
    }
    if (!running()) clearInterval(timer);
  }, 1000);
}

// While the service starts, the page waits for it and then shows what it was asked for.
function waitUntilReady() {
  const field = document.getElementById("order_uid");
  if (!document.querySelector("[data-until-ready]")) return;
  setInterval(async () => {
    if (document.hidden || field.value !== field.defaultValue) return; // nobody looks, or somebody types
    const page = await read(location.href);
    if (page && !page.querySelector("[data-until-ready]")) location.reload();
  }, 2000);
}

// read gives a page of this site, or undefined when the service does not answer.
async function read(address) {
  try {
    const answer = await fetch(address, { cache: "no-cache", headers: { Accept: "text/html" } });
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return undefined;
  }
}
