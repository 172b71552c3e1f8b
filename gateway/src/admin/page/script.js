// Shows the state of the gateway and refreshes it every two seconds. All data is inserted as text,
// because a label can contain anything.

const REFRESH_MS = 2000;

const $ = (selector) => document.querySelector(selector);

const STATES = { valid: "valid", temporary: "cooling down for", permanent: "permanently marked" };

let keys = [];
let canChange = false;
let token = null;
let receivedAt = 0;

// --- Text ----------------------------------------------------------------------------------------

function duration(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [d, h, m, s] = [
    Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60,
  ];
  const two = (n) => String(n).padStart(2, "0");
  if (d) return `${d} d ${two(h)} h`;
  if (h) return `${h} h ${two(m)} min`;
  if (m) return `${m} min ${two(s)} s`;
  return `${s} s`;
}

function clock(ms) {
  const [then, now] = [new Date(ms), new Date()];
  const time = then.toLocaleTimeString([], { hour12: false });
  return then.toDateString() === now.toDateString() ? time : `${then.toLocaleDateString()} ${time}`;
}

const words = (name) => (name ?? "").replaceAll("_", " ");
const person = (key) => (key.label === null ? key.hint : key.label);
const remaining = (key) => key.retry_after_ms - (performance.now() - receivedAt);
const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);

const isSuspected = (key) => key.state === "valid" && key.suspicions > 0;

function state(key) {
  if (isSuspected(key)) return `suspected (${key.suspicions})`;
  if (key.state !== "temporary") return STATES[key.state];
  const left = remaining(key);
  return left > 0 ? `${STATES.temporary} ${duration(left)}` : "returning";
}

// A client can choose the name of a scope.
function scopeText(scope) {
  const left = scope.retry_after_ms === null ? null : remaining(scope);
  const until = left === null ? words(scope.state) : left > 0 ? duration(left) : "returning";
  return `${scope.scope}: ${words(scope.last_reason)}, ${until}`;
}

// --- Elements ------------------------------------------------------------------------------------

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Changes the text only if it differs, so that selections and screen readers are not disturbed.
function set(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function news(text, failed = false) {
  $("#news").classList.toggle("failed", failed);
  set($("#news"), text);
}

// A key's label and hint.
function named(key) {
  const parts = [];
  if (key.label !== null) parts.push(element("span", "label", key.label));
  parts.push(element("span", "hint", key.hint));
  return parts;
}

// --- Keys ----------------------------------------------------------------------------------------

function makeRow(key, at) {
  const row = element("tr");
  const name = element("th");
  name.scope = "row";
  name.append(...named(key));
  const badge = element("span");
  const stateCell = element("td", "state");
  stateCell.append(badge, element("div", "scopes quiet"));
  const action = element("td", "action");
  for (const verb of ["reinstate", "disable"]) {
    const button = element("button", verb, verb[0].toUpperCase() + verb.slice(1));
    button.type = "button";
    button.setAttribute("aria-label", `${button.textContent} ${person(key)}`);
    button.addEventListener("click", () => change(at, verb, button));
    action.append(button);
  }
  row.append(
    element("td", "pool", key.pool), element("td", "number quiet", String(key.position)), name, element("td", "group", key.group ?? ""), stateCell,
    element("td", "reason"), element("td", "number served"), element("td", "number refused"),
    element("td", "number in-flight"),
    element("td", "time used"), action,
  );
  return row;
}

function fillRow(row, key) {
  const cell = (name) => row.querySelector(name);
  const badge = cell(".state span");
  badge.className = `badge ${isSuspected(key) ? "suspected" : key.state}`;
  set(badge, state(key));
  set(cell(".scopes"), key.scopes.map(scopeText).join("\n"));
  const isEarlier = key.state === "valid" && !isSuspected(key) && key.last_reason !== null;
  set(cell(".reason"), isEarlier ? `earlier: ${words(key.last_reason)}` : words(key.last_reason));
  cell(".reason").classList.toggle("quiet", isEarlier);
  const usage = key.usage ?? { served: 0, refused: {}, last_used_ms_ago: null };
  set(cell(".served"), String(usage.served));
  set(cell(".refused"), String(sum(Object.values(usage.refused))));
  cell(".refused").title = Object.entries(usage.refused).map(([why, n]) => `${words(why)}: ${n}`).join("\n");
  set(cell(".in-flight"), key.in_flight === null ? "" : String(key.in_flight));
  const used = usage.last_used_ms_ago;
  set(cell(".used"), used === null ? "never" : `${duration(used + performance.now() - receivedAt)} ago`);
  cell(".reinstate").hidden = !canChange || key.state === "valid";
  // Other permanently marked keys can return by themselves; a disabled key cannot.
  const isDisabled = key.state === "permanent" && key.last_reason === "operator";
  cell(".disable").hidden = !canChange || isDisabled;
}

const identity = (list) => JSON.stringify(list.map((key) => [key.pool, key.name, key.in_flight === null, key.label, key.hint, key.group]));

function showKeys(next) {
  const body = $("#keys tbody");
  const before = keys;
  const sameList = identity(before) === identity(next);
  keys = next;
  if (!sameList) {
    body.replaceChildren(...keys.map(makeRow));
    $("#keys").classList.toggle("no-groups", keys.every((key) => key.group === null));
    $("#keys").classList.toggle("uncounted", keys.every((key) => key.in_flight === null));
    $("#keys").classList.toggle("one-pool", keys.every((key) => key.pool === keys[0].pool));
  }
  tick();
  for (const name of Object.keys(STATES)) {
    const count = keys.filter((key) => key.state === name).length;
    set($(`#count-${name}`), String(count));
    $(`#counts .${name}`).classList.toggle("some", count > 0);
  }
  const valid = keys.filter((key) => key.state === "valid");
  $("#untrusted").hidden = valid.length === 0 || !valid.every(isSuspected);
  $("#keys").hidden = keys.length === 0;
  $("#no-keys").hidden = keys.length > 0;
  showGroups();
  if (sameList) announceChanges(before);
  else if (before.length > 0) news("The list of keys has changed.");
}

// Updates the remaining times every second.
function tick() {
  const rows = $("#keys tbody").rows;
  keys.forEach((key, at) => fillRow(rows[at], key));
}

function showGroups() {
  const groups = new Map();
  for (const key of keys.filter((key) => key.group !== null)) {
    const id = JSON.stringify([key.pool, key.group]);
    groups.set(id, [...(groups.get(id) ?? []), key]);
  }
  const shown = [...groups.values()].map((members) => {
    const valid = members.filter((key) => key.state === "valid").length;
    const item = element("li", "", `${members[0].group} `);
    item.append(element("span", "", `${valid} of ${members.length} valid`));
    return item;
  });
  const texts = (items) => items.map((item) => item.textContent).join("\n");
  if (texts(shown) !== texts([...$("#groups").children])) $("#groups").replaceChildren(...shown);
  $("#groups-section").hidden = groups.size === 0;
}

function announceChanges(before) {
  const changed = keys.filter((key, at) => key.state !== before[at].state);
  if (changed.length === 0) return;
  const changes = changed.slice(0, 3).map((key) => {
    const why = key.state !== "valid" && key.last_reason ? ` (${words(key.last_reason)})` : "";
    return `${person(key)} is ${state(key)}${why}`;
  });
  const more = changed.length > 3 ? `; ${changed.length - 3} more` : "";
  news(`${clock(Date.now())} ${changes.join("; ")}${more}`);
}

// --- Routes --------------------------------------------------------------------------------------

// A single route is described in the header.
function showRoutes(routes) {
  const one = routes.length === 1 ? routes[0] : null;
  document.title = `${one ? one.provider : "Gateway"}: keys`;
  set($("#about"), one ? `${one.provider} at ${one.upstream}` : `${routes.length} routes`);
  $("#routes-section").hidden = one !== null;
  const rows = routes.map((route) => {
    const row = element("tr");
    const name = element("th", "", route.name);
    name.scope = "row";
    row.append(
      name, element("td", "", route.match), element("td", "", route.provider), element("td", "", route.upstream),
    );
    return row;
  });
  const texts = (list) => list.map((row) => [...row.cells].map((cell) => cell.textContent).join("\t")).join("\n");
  if (texts(rows) !== texts([...$("#routes tbody").rows])) $("#routes tbody").replaceChildren(...rows);
}

// --- Replicas ------------------------------------------------------------------------------------

function showReplicas(replicas) {
  const all = Object.entries(replicas ?? {});
  const lost = all.filter(([, of]) => of.state !== "connected");
  const problems = lost.map(([pool, of]) => `${pool} is ${of.state}${of.problem ? ` (${of.problem})` : ""}`);
  $("#replicas").hidden = all.length === 0;
  set($("#replicas"), `Shared with other replicas: ${problems.length ? problems.join("; ") : "all pools"}`);
}

// --- Failovers -----------------------------------------------------------------------------------

let shownFailovers = "";

function showFailovers(list) {
  const text = JSON.stringify(list);
  if (text === shownFailovers) return;
  shownFailovers = text;
  $("#failovers").hidden = list.length === 0;
  $("#no-failovers").hidden = list.length > 0;
  $("#failovers tbody").replaceChildren(...list.map(failoverRow));
  $("#failovers").classList.toggle("one-pool", list.every((one) => one.route === list[0].route));
}

function failoverRow(failover) {
  const row = element("tr");
  const attempts = element("ol");
  attempts.append(...failover.attempts.map((attempt) => {
    const item = element("li");
    const took = attempt.took_ms === null ? "" : ` in ${attempt.took_ms} ms`;
    const effect = { keep: "kept", suspect: "suspected", temporary: "cooling down", permanent: "permanently marked" }[attempt.verdict];
    const meaning = effect ? `, ${words(attempt.reason)}: ${effect}` : "";
    item.append(...named(attempt), ` ${attempt.status}${took}`, element("span", "quiet", meaning));
    return item;
  }));
  const attemptsCell = element("td", "attempts");
  attemptsCell.append(failover.attempts.length > 0 ? attempts : element("span", "quiet", "no key was usable"));
  const exhausted = failover.outcome === "exhausted";
  const response = element("td", "response");
  response.append(
    element("span", `badge ${exhausted ? "permanent" : failover.status < 400 ? "valid" : "temporary"}`, String(failover.status)),
    exhausted ? " no key left" : "",
  );
  row.append(
    element("td", "time", clock(failover.time_ms)),
    element("td", "pool", failover.route), element("td", "request", `${failover.method} ${failover.path}`),
    attemptsCell,
    element("td", "number", failover.waited_ms > 0 ? duration(failover.waited_ms) : ""),
    response,
  );
  return row;
}

// --- Changing a key ------------------------------------------------------------------------------

// Resolves to true if the operator entered a token.
function askForToken(why) {
  const dialog = $("#ask");
  $("#ask-why").textContent = why;
  $("#token").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      token = dialog.returnValue === "given" ? $("#token").value : null;
      $("#token").value = "";
      resolve(token !== null);
    }, { once: true });
  });
}

$("#cancel").addEventListener("click", () => $("#ask").close());
$("#ask form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("#ask").close("given");
});

async function change(at, verb, button) {
  const key = keys[at];
  if (token === null && !await askForToken(`To ${verb} ${person(key)}.`)) return;
  button.disabled = true;
  try {
    const path = `keys/${encodeURIComponent(key.name)}/${verb}?${new URLSearchParams({ pool: key.pool, hint: key.hint })}`;
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(path, { method: "POST", headers });
    const result = await response.json();
    if (response.status === 401) token = null;
    if (!response.ok) throw new Error(result.error);
    await refresh();
  } catch (error) {
    news(`${person(key)} is unchanged: ${error.message}`, true);
  } finally {
    button.disabled = false;
  }
}

// --- Refresh -------------------------------------------------------------------------------------

async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  try {
    const [about, nextKeys, failovers] = await Promise.all([get("about"), get("keys"), get("failovers")]);
    receivedAt = performance.now();
    canChange = about.can_change;
    showRoutes(about.routes);
    showReplicas(about.replicas);
    showKeys(nextKeys);
    showFailovers(failovers);
    $("#read-only").hidden = canChange || keys.length === 0;
    $("#updated").classList.remove("lost");
    set($("#updated"), `as of ${clock(Date.now())}`);
  } catch {
    if (!$("#updated").classList.contains("lost")) {
      const last = $("#updated").textContent;
      $("#updated").classList.add("lost");
      set($("#updated"), `the gateway does not respond (${last})`);
    }
  }
}

async function keepUp() {
  if (!document.hidden) await refresh();
  setTimeout(keepUp, REFRESH_MS);
}

document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(tick, 1000);
keepUp();
