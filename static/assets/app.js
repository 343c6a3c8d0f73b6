// Everything here is a comfort: without it the pages say and do the same.

document.documentElement.classList.add("scripted");
let page; // is aborted when another page is shown
enhance();
searchBySlash();
showAtOnce();

// enhance is called for each page that is shown.
function enhance() {
  page = new AbortController();
  localise(document);
  selectSearched();
  copyButtons();
  printButton();
  followLatest();
  followStatus();
  followReplay();
  waitUntilReady();
}

// say has something read out.
function say(text) {
  document.getElementById("said").textContent = text;
}

// repeat does something every so often for as long as the page is shown.
function repeat(milliseconds, what) {
  const timer = setInterval(what, milliseconds);
  const stop = () => clearInterval(timer);
  page.signal.addEventListener("abort", stop);
  return stop;
}

// Times come in UTC. They are shown in the reader's zone, and as they were sent on hover. Amounts are written as the
// language writes their currency; one that is not known stays as it came.
function localise(root) {
  for (const amount of root.querySelectorAll("data.money")) {
    try {
      const format = new Intl.NumberFormat(language(), { style: "currency", currency: amount.dataset.currency, maximumFractionDigits: 0 });
      amount.textContent = format.format(BigInt(amount.value));
      amount.title = `${amount.value} ${amount.dataset.currency}`;
    } catch {
      // no code of a currency
    }
  }
  const format = new Intl.DateTimeFormat(language(), {
    day: "numeric", month: "short", year: "numeric",
    hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
  });
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.textContent = format.format(at);
  }
}

function language() {
  const code = document.documentElement.lang;
  return code === "en" ? "en-GB" : code;
}

// Typing replaces what was not found.
function selectSearched() {
  const field = document.getElementById("order_uid");
  if (field?.autofocus) field.setSelectionRange(0, field.value.length);
}

// A slash goes to the search field, from everywhere but another field.
function searchBySlash() {
  document.addEventListener("keydown", (event) => {
    const field = document.getElementById("order_uid");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!field || event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}

// What is searched for, and an order of a list, is shown in place of the page that is there, without loading
// styles and scripts again.
function showAtOnce() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches(".search")) return;
    event.preventDefault();
    show(`${form.action}?${new URLSearchParams(new FormData(form))}`, true);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest(".list:not(.letters) a");
    if (!link || event.button > 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    show(link.href, true);
  });
  let shown = location.pathname + location.search;
  addEventListener("popstate", () => {
    if (shown !== location.pathname + location.search) show(location.href, false); // and not a part of the same page
  });

  let latest = 0;
  async function show(address, isNew) {
    const number = ++latest;
    document.documentElement.classList.add("busy");
    let answer, next;
    try {
      answer = await fetch(address, { cache: "no-cache", headers: { Accept: "text/html" } });
      next = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      // The browser says best what is wrong.
    }
    if (number !== latest) return; // somebody was faster
    if (!next?.querySelector("main")) {
      location.assign(address);
      return;
    }
    document.documentElement.classList.remove("busy");
    page.abort();
    if (isNew) history.pushState(null, "", answer.url);
    shown = location.pathname + location.search;
    document.title = next.title;
    document.body.replaceChildren(...next.body.childNodes);
    if (isNew) scrollTo(0, 0);
    enhance();
    const field = document.querySelector("[autofocus]");
    (field ?? document.getElementById("main")).focus();
    say(document.title);
  }
}

// <button data-copy="id"> copies the text of that element.
function copyButtons() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    button.hidden = source.querySelector(".none") !== null; // nothing to copy
    button.addEventListener("click", async () => {
      const done = await copy(source);
      button.textContent = done ? button.dataset.copied : button.dataset.selected;
      say(button.textContent);
      setTimeout(() => { button.textContent = label; say(""); }, 2000);
    });
  }
}

function printButton() {
  const button = document.querySelector("[data-print]");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => print());
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

// When there are others, the latest orders are read again as the server renders them, so that there is one way to
// show an order: at most once a second, and nothing moves under a pointer or the focus.
function followLatest() {
  const list = document.getElementById("latest");
  const button = document.getElementById("live");
  if (!list) return;
  let [paused, due, busy, before, ticks] = [false, false, false, 0, 0];
  const words = [button.textContent, button.dataset.resume];
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = words[Number(paused)];
    refresh();
  });
  const isLive = followEvents({ orders: () => { due = true; refresh(); } });
  repeat(1000, () => {
    button.classList.toggle("on", isLive() && !paused);
    due ||= !isLive() && ++ticks % 3 === 0;
    refresh();
  });

  async function refresh() {
    if (!due || busy || paused || document.hidden || list.matches(":hover, :focus-within") || Date.now() - before < 1000) return;
    [due, busy, before] = [false, true, Date.now()];
    const next = await read("/");
    busy = false;
    const fresh = next?.getElementById("latest");
    if (!fresh) return;
    const known = new Set(Array.from(list.querySelectorAll("li"), (row) => row.dataset.uid));
    const rows = [...fresh.querySelectorAll("li")];
    if (rows.length === known.size && rows.every((row) => known.has(row.dataset.uid))) return;
    for (const row of rows) row.classList.toggle("fresh", !known.has(row.dataset.uid));
    localise(fresh);
    list.replaceChildren(...fresh.childNodes);
    document.getElementById("count").textContent = next.getElementById("count").textContent;
  }
}

// The numbers of the status page follow the events, and the rates are drawn. What else is on it is read again now
// and then.
function followStatus() {
  const status = document.getElementById("status");
  if (!status) return;
  const points = 120; // one a second
  const charts = new Map(Array.from(status.querySelectorAll("[data-chart]"), (chart) => [chart.dataset.chart, { chart, rates: [] }]));
  const number = new Intl.NumberFormat(language(), { maximumFractionDigits: 0 });
  followEvents({ stats: ({ stats, rates }) => {
    document.getElementById("silent").hidden = stats !== null;
    for (const shown of status.querySelectorAll("[data-stat]")) if (stats) shown.textContent = number.format(stats[shown.dataset.stat]);
    for (const [name, { chart, rates: known }] of charts) {
      known.push(rates?.[name] ?? 0);
      if (known.length > points) known.shift();
      draw(chart, known, points);
      const shown = status.querySelector(`[data-rate="${name}"]`);
      shown.textContent = rates ? `${number.format(rates[name])} ${shown.dataset.unit}` : "\u00a0";
    }
  } });
  repeat(5000, async () => {
    if (document.hidden) return;
    const next = await read("/status");
    for (const id of ["fit", "health"]) {
      const [shown, fresh] = [document.getElementById(id), next?.getElementById(id)];
      if (fresh && shown.innerHTML !== fresh.innerHTML) shown.replaceChildren(...fresh.childNodes);
    }
  });
}

// draw draws rates, of which the last is now, into a chart that has room for so many.
function draw(chart, rates, points) {
  const { width, height } = chart.viewBox.baseVal;
  const top = Math.max(...rates, 1);
  const at = rates.map((rate, i) => {
    const x = width - (rates.length - 1 - i) * width / (points - 1);
    return `${x.toFixed(2)} ${(height - 1 - rate / top * (height - 3)).toFixed(2)}`;
  });
  const begin = at[0].split(" ")[0];
  chart.querySelector(".line").setAttribute("d", `M${at.join("L")}`);
  chart.querySelector(".area").setAttribute("d", `M${begin} ${height}L${at.join("L")}L${width} ${height}Z`);
}

// followEvents hands on what the service tells, by kind, while the page is shown and somebody looks. A browser has
// few connections for a site, so a tab that nobody looks at keeps none. It returns what says whether there is one.
function followEvents(handlers) {
  let source;
  const close = () => { source?.close(); source = undefined; };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource("/api/v1/events");
    for (const [kind, handle] of Object.entries(handlers)) source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) source = undefined; // there was no place, or no service
    });
  };
  open();
  repeat(5000, open);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()), { signal: page.signal });
  page.signal.addEventListener("abort", close);
  return () => source?.readyState === EventSource.OPEN;
}

// What runs in the background is read again every second. Of a part that goes on running only its progress
// changes, so that a button keeps the focus; of one that ends or begins, everything does. Forms that somebody
// fills in lie outside.
function followReplay() {
  const parts = [...document.querySelectorAll("[data-live]")];
  const running = () => parts.some((part) => part.dataset.live === "running");
  if (!running()) return;
  const stop = repeat(1000, async () => {
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
    if (!running()) stop();
  });
}

// While the service starts, the page waits for it and then shows what it was asked for.
function waitUntilReady() {
  const field = document.getElementById("order_uid");
  if (!document.querySelector("[data-until-ready]")) return;
  repeat(2000, async () => {
    if (document.hidden || field.value !== field.defaultValue) return; // nobody looks, or somebody types
    const next = await read(location.href);
    if (next && !next.querySelector("[data-until-ready]")) location.reload();
  });
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
