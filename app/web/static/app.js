// What pages have beside what the server wrote: times in the viewer's zone, a stream only while
// the page is seen, keys. Pages read without any of it.

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const format = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

const forms = {
  hour: new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit" }),
  day: new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" }),
};

function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = (forms[time.dataset.form] ?? format).format(new Date(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
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

// The week is laid out by the clocks of one zone on the server, which does not know ours.
const own = document.getElementById("own-zone");
if (own && new URLSearchParams(location.search).get("zone") !== zone && zone !== "UTC") {
  const query = new URLSearchParams(location.search);
  query.set("zone", zone);
  own.href = `?${query}#week-title`;
  own.textContent = `show in ${zone}`;
  own.hidden = false;
}

document.documentElement.dataset.script = "yes";
const label = document.getElementById("zone");
if (label) label.textContent = `Times in ${zone}`;
localize(document);

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

document.addEventListener("htmx:after:swap", () => localize(document));
document.addEventListener("htmx:sse:after:connection", () => say("This page is live."));
document.addEventListener("htmx:sse:error", (event) => {
  say("The connection is lost; trying again.");
  if (event.detail?.status === 401) location.reload();
});
document.addEventListener("stale", () => say("The database does not answer; what is shown is older."));
document.addEventListener("visibilitychange", whenSeen);
// After htmx has looked at the page, which it does in a timer of its own.
setTimeout(whenSeen);
