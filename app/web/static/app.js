// What pages have beside what the server wrote: times in the viewer's zone, a stream only while
// the page is seen, keys. Pages read without any of it.

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const format = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

const forms = {
  hour: new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit" }),
  second: new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  day: new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" }),
};

function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    if (time.closest("[data-zone]")?.dataset.zone === zone) continue; // ours beside UTC
    const text = (forms[time.dataset.form] ?? format).format(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
  for (const runs of root.querySelectorAll("table[data-zone]")) {
    if (runs.dataset.zone === zone || zone === "UTC") continue;
    runs.querySelector("[data-here]").textContent = "Here";
    runs.classList.toggle("three", runs.dataset.zone !== "UTC");
  }
}

function say(text) {
  const status = document.getElementById("live-status");
  if (status && status.textContent !== text) status.textContent = text;
}

// A stream begins when the page is first seen, not when it is opened in a tab behind.
function begin() {
  for (const part of document.querySelectorAll("[hx-sse\\:connect]")) {
    window.htmx?.trigger(part, "seen");
  }
}

function whenSeen() {
  if (document.hidden) return;
  document.removeEventListener("visibilitychange", whenSeen);
  begin();
}

// The week is laid out by the clocks of one zone on the server, which learns ours from a cookie. Until
// it has that it is asked for once more, unless the address says whose clocks are wanted.
function keepZone() {
  const kept = /(?:^|; )tocsin-zone=([^;]*)/.exec(document.cookie)?.[1] ?? "UTC";
  if (kept === zone) return;
  const path = new URL(document.querySelector("a.mark").href).pathname;
  document.cookie = `tocsin-zone=${zone}; path=${path}; max-age=${zone === "UTC" ? 0 : 31536000}; samesite=strict`;
}

async function showOwnWeek(own) {
  const query = new URLSearchParams(location.search), isGiven = query.has("zone");
  if (own.dataset.zone === zone) return;
  query.set("zone", zone);
  own.href = `?${query}#week-title`;
  own.textContent = `show in ${zone}`;
  own.hidden = false;
  if (isGiven) return;
  const answer = await fetch(`?${query}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const week = page.getElementById("week");
  if (!week) return;
  localize(week);
  document.getElementById("week").replaceWith(week);
}

keepZone();
const own = document.getElementById("own-zone");
if (own) showOwnWeek(own).catch(() => {}); // the link is there

document.documentElement.dataset.script = "yes";
const label = document.getElementById("zone");
if (label) label.textContent = `Times in ${zone}`;
localize(document);

// After a link of ours the keyboard goes on where the page begins, and not before the navigation
// again; what Back and a reload restore stays as it was.
const [arrival] = performance.getEntriesByType("navigation");
if (window.navigation?.activation?.from && arrival?.type === "navigate" && !location.hash
    && document.activeElement === document.body) {
  document.getElementById("main").focus({ preventScroll: true });
}

// Fields of dates: by the viewer's clocks at first, which is where people read them off.
for (const select of document.querySelectorAll("select[data-here]")) {
  if (![...select.options].some((one) => one.value === zone)) select.add(new Option(zone));
  select.value = zone;
}
for (const field of document.querySelectorAll("[data-picks]")) {
  field.addEventListener("input", () => {
    const choice = field.closest("fieldset").querySelector(`[value="${field.dataset.picks}"]`);
    if (choice) choice.checked = true;
  });
}

// What was done is said once: a reload does not say it again.
if (document.querySelector("[data-done]")) {
  const here = new URL(location.href);
  here.searchParams.delete("done");
  history.replaceState(null, "", here);
}

// A part that asks again and again does so only while it is seen.
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && event.target.hasAttribute?.("data-poll")) event.preventDefault();
});

document.addEventListener("htmx:after:swap", () => localize(document));
document.addEventListener("htmx:sse:after:connection", () => say("This page is live."));
document.addEventListener("htmx:sse:error", (event) => {
  say(event.detail?.status === 429
    ? "Too many pages are open with this key: this one is not live."
    : "The connection is lost; trying again.");
  if (event.detail?.status === 401) location.reload();
});
document.addEventListener("stale", () => say("The database does not answer; what is shown is older."));
document.addEventListener("visibilitychange", whenSeen);
// After htmx has looked at the page, which it does in a timer of its own.
setTimeout(whenSeen);

// Keys. Single ones can be turned off, as some people's software types them by speech (WCAG 2.1.4).
const OFF = "tocsin-keys-off";
const KEYS = [
  ["/", "Search"], ["j", "To the next row"], ["k", "To the row before"],
  ["Enter", "Open the row"], ["?", "Show these keys"],
];

function isTyping(event) {
  return event.ctrlKey || event.metaKey || event.altKey || event.isComposing
    || event.target.closest?.("input, textarea, select, dialog, [contenteditable]");
}

function go(step) {
  const rows = [...document.querySelectorAll("main .rows tbody tr, main .attention li, main .changes > li")]
    .filter((row) => row.querySelector("a[href]"));
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const row = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step];
  row?.querySelector("a[href]").focus();
}

function search() {
  const field = document.getElementById("q");
  if (field) field.focus();
  else document.querySelector("a[data-search]")?.click();
}

function element(name, content, properties = {}) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...content);
  return made;
}

function keysDialog() {
  const found = document.getElementById("keys");
  if (found) return found;
  const box = element("input", [], { type: "checkbox", checked: !localStorage.getItem(OFF) });
  box.addEventListener("change", () => box.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"));
  const list = element("dl", KEYS.map(([key, text]) =>
    element("div", [element("dt", [element("kbd", [key])]), element("dd", [text])])));
  const dialog = element("dialog", [
    element("h2", ["Keys"], { id: "keys-title" }), list,
    element("label", [box, " Single keys are on"]),
    element("form", [element("button", ["Close"])], { method: "dialog" }),
  ], { id: "keys" });
  dialog.setAttribute("aria-labelledby", "keys-title");
  document.body.append(dialog);
  return dialog;
}

const opener = element("button", ["Keyboard"], { className: "quiet", type: "button" });
opener.addEventListener("click", () => keysDialog().showModal());
document.querySelector("footer.foot")?.append(opener);

document.addEventListener("keydown", (event) => {
  if (isTyping(event) || localStorage.getItem(OFF)) return;
  const act = { j: () => go(1), k: () => go(-1), "/": search, "?": () => keysDialog().showModal() }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// A list never moves: it says how many are new, and a click shows them.
const fresh = document.getElementById("fresh");
let stream, upto, counted = 0;

function showNew(count) {
  counted = count;
  if (!count) return;
  fresh.replaceChildren(element("a", [`${count > 999 ? "1,000+" : count} new`], { href: location.href, className: "button" }));
}

function listen() {
  stream = new EventSource(fresh.dataset.events);
  stream.addEventListener("snapshot", ({ data }) => {
    const now = JSON.parse(data).upto;
    if (upto !== undefined) showNew(counted + Math.max(now - upto, 0));
    upto = now;
  });
  stream.addEventListener("execution", ({ data }) => {
    upto = Math.max(upto ?? 0, JSON.parse(data).id);
    showNew(counted + 1);
  });
}

function listenWhileSeen() {
  if (document.hidden) {
    stream?.close();
    stream = undefined;
  } else if (!stream) listen();
}

if (fresh?.dataset.events) {
  document.addEventListener("visibilitychange", listenWhileSeen);
  listenWhileSeen();
}
