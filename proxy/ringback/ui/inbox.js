// The Inbox: everything that a client sent is a stranger's text, so it reaches the page by textContent alone.
"use strict";

const ROW = 64; // pixels of a row, as in inbox.css
const SPARE = 8; // rows that are rendered above and below what is seen
const KEPT = 10000; // requests that the page keeps, as many as the journal
const PAGE = 100; // bubbles that are rendered at first, and with each "Show earlier"
const VIEWS = [
  ["messages", "Messages"],
  ["calls", "Calls"],
  ["numbers", "Numbers"],
  ["failed", "Failed"],
  ["all", "All"],
];
const RESOURCES = { Messages: "messages", Calls: "calls", IncomingPhoneNumbers: "numbers" };
const NOUNS = { messages: "Message to", calls: "Call to", numbers: "Number" };
const PATHS = { // icons of 20 by 20
  messages: "M3 4h14a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1h-7l-4 3.5V14H3a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1z",
  calls: "M5 2h3l1.5 4-2 1.5a11 11 0 0 0 5 5L14 10.500l4 1.500v3a2 2 0 0 1-2.200 2A14.500 14.500 0 0 1 3 4.200 2 2 0 0 1 5 2z",
  numbers: "M7 2 6 7H2v2h3.600l-.4 2H2v2h2.800L4 18h2l.8-5h4L10 18h2l.8-5H18v-2h-4.800l.4-2H18V7h-4l1-5h-2l-1 5H8l1-5z",
  other: "M10 2a8 8 0 1 0 0 16 8 8 0 0 0 0-16zm-1 4h2v5H9zm0 6.500h2v2H9z",
  theme: "M10 2a8 8 0 1 0 0 16zM10 2a8 8 0 0 1 0 16v-1.500a6.500 6.500 0 0 0 0-13z",
};
// How messages and calls can end, for buttons: the words of POST outcome, an error code, and a label.
const GOOD = { delivered: "Deliver", completed: "Complete" };
const BAD = {
  undelivered: [[30003, "Unreachable handset"], [30004, "Message blocked"], [30005, "Unknown handset"],
    [30006, "Landline or unreachable carrier"], [30007, "Filtered by the carrier"]],
  failed: [[null, "Failed"]],
  busy: [[null, "Busy"]],
  "no-answer": [[null, "No answer"]],
  canceled: [[null, "Canceled"]],
};

const $ = (id) => document.getElementById(id);
const state = {
  instance: null, last: 0, records: [], view: "messages", search: "", terms: [], session: "",
  conversation: null, chosen: null, shown: PAGE, details: null,
  callbacks: new Map(), // the last status callback of each request, by its number
  changes: 0, // of what is known about requests that are here already
  drift: new Set(), // the numbers of live answers that differ from the documentation
};
let items = []; // what the list shows: records, or conversations
let scheduled = false;
let source = null;
let fresh = 0;
let polling = false; // whether requests are asked for, instead of an event stream
let lastCallback = 0; // the number of the newest one

// -- elements

function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name] || PATHS.other);
  svg.append(path);
  return svg;
}

// A round picture of whom a request is for: the last digits of a number in a colour of its own.
function picture(record) {
  const digits = record.to.replace(/\D/g, "").slice(-2);
  let hue = 0;
  for (const char of record.to) hue = (hue * 31 + char.charCodeAt(0)) % 6;
  const messages = kind(record) === "messages" && digits;
  const content = messages ? digits : icon(kind(record));
  return make("span", { class: `picture hue${hue}`, "aria-hidden": "true" }, content);
}

const bdi = (text) => make("bdi", { dir: "auto", text });

// -- records

function field(record, ...names) {
  for (const name of names) {
    const found = (record.form || []).filter(([key, value]) => key === name && value);
    if (found.length) return found[found.length - 1][1];
  }
  return "";
}

function kind(record) {
  return RESOURCES[record.resource] || "other";
}

function prepare(record) {
  record.failed = record.status >= 400;
  record.view = record.method === "POST" ? kind(record) : "other";
  record.to = field(record, "To", "PhoneNumber", "AreaCode");
  record.from = field(record, "From", "MessagingServiceSid");
  record.what = field(record, "Body", "Url", "Twiml", "ApplicationSid", "ContentSid");
  if (!record.what && record.form && record.form.some(([name]) => name === "MediaUrl")) record.what = "[media]";
  const values = (record.form || []).map(([name, value]) => `${name}=${value}`);
  const more = [record.target, record.code, record.message, record.rule, record.sid, record.session, record.reason];
  record.text = values.concat(more.filter(Boolean)).join("\n").toLowerCase();
  record.clock = new Date(record.time).toLocaleTimeString();
  return record;
}

// What is known of a message's or call's delivery, in words, or an empty string.
function delivery(record) {
  const last = state.callbacks.get(record.number);
  if (!last) return "";
  const code = (last.form.find(([name]) => name === "ErrorCode") || [])[1];
  const told = last.status.charAt(0).toUpperCase() + last.status.slice(1).replaceAll("-", " ");
  return code ? `${told} ${code}` : told;
}

// The search's words: each must be in the record, or in one field of it where it says so (`code:21211`).
const FIELDS = {
  to: (record) => record.to, from: (record) => record.from, code: (record) => record.code,
  status: (record) => record.status, rule: (record) => record.rule, source: (record) => record.source,
  session: (record) => record.session, sid: (record) => record.sid, body: (record) => field(record, "Body"),
};

function terms(search) {
  return search.toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const at = word.indexOf(":");
    const of = at > 0 && Object.hasOwn(FIELDS, word.slice(0, at)) ? FIELDS[word.slice(0, at)] : null;
    const wanted = of ? word.slice(at + 1) : word;
    return (record) => (of ? String(of(record) || "").toLowerCase() : record.text).includes(wanted);
  });
}

function matches(record) {
  return (!state.session || record.session === state.session) && state.terms.every((term) => term(record));
}

// One look at every request, the newest first: a new one among 10,000 must not be felt.
function look() {
  const counts = { messages: 0, calls: 0, numbers: 0, failed: 0, all: 0, other: 0 };
  const sessions = new Set();
  const chosen = [];
  const { records, view } = state;
  for (let at = records.length - 1; at >= 0; at -= 1) {
    const record = records[at];
    sessions.add(record.session);
    if (!matches(record)) continue;
    counts.all += 1;
    counts[record.view] += 1;
    if (record.failed) counts.failed += 1;
    if (view === "all" || (view === "failed" ? record.failed : record.view === view)) chosen.push(record);
  }
  return { counts, sessions, chosen };
}

// The conversations of these requests, the newest first as they are.
function conversations(records) {
  const found = new Map();
  for (const record of records) {
    const key = record.to || "(no To)";
    const one = found.get(key);
    if (one) one.records.push(record);
    else found.set(key, { key, newest: record, records: [record] });
  }
  return [...found.values()];
}

// -- what is seen

function schedule() {
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; render(); });
  }
}

function render() {
  const { counts, sessions, chosen } = look();
  renderViews(counts);
  renderSessions([...sessions]);
  const threads = state.view === "messages";
  document.querySelector("main").classList.toggle("wide", !threads);
  $("thread").hidden = !threads;
  items = threads ? conversations(chosen) : chosen;
  if (threads) {
    if (!items.some((one) => one.key === state.conversation)) state.conversation = null;
    if (state.conversation === null && items.length) state.conversation = items[0].key;
  }
  renderList();
  if (threads) renderThread(items.find((one) => one.key === state.conversation));
  if (!state.details) renderDetail();
}

function renderViews(counts) {
  const nav = $("views");
  if (!nav.children.length) {
    for (const [view, label] of VIEWS) {
      const button = make("button", { type: "button", "data-view": view, onclick: () => choose(view) }, label);
      button.append(make("span", { class: "count" }));
      nav.append(button);
    }
  }
  for (const button of nav.children) {
    const view = button.dataset.view;
    button.querySelector(".count").textContent = counts[view];
    if (view === state.view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

function renderSessions(names) {
  const select = $("session");
  const shown = [...select.options].slice(1).map((option) => option.value);
  if (state.session && !names.includes(state.session)) names.push(state.session);
  if (names.length === shown.length && names.every((name, at) => name === shown[at])) return;
  select.replaceChildren(make("option", { value: "" }, "All sessions"),
    ...names.map((name) => make("option", { value: name, text: name })));
  select.value = state.session;
}

function renderList() {
  const pane = $("list");
  const empty = pane.querySelector(".empty");
  if (!items.length) {
    const filtered = state.search || state.session;
    const text = filtered ? "Nothing matches." : "Nothing yet. Point a program at this proxy, for example:";
    const wanted = empty && empty.dataset.text === text;
    if (!wanted) {
      const told = make("div", { class: "empty", "data-text": text }, icon("messages"), make("p", { text }));
      if (!filtered) told.append(make("code", { text: 'eval "$(ringback env)"\npytest' }));
      pane.replaceChildren(told);
    }
    return;
  }
  let list = pane.querySelector(".rows");
  if (!list) pane.replaceChildren(list = make("ol", { class: "rows" }));
  list.style.height = `${items.length * ROW}px`;
  const height = pane.clientHeight || 800;
  const first = Math.max(0, Math.floor(pane.scrollTop / ROW) - SPARE);
  const end = Math.min(items.length, Math.ceil((pane.scrollTop + height) / ROW) + SPARE);
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const rows = [];
  for (let at = first; at < end; at += 1) rows.push(row(items[at], at));
  list.replaceChildren(...rows);
  if (focused) {
    const again = rows.map((one) => one.firstChild).find((one) => one.dataset.key === focused);
    if (again) again.focus({ preventScroll: true });
  }
}

function row(item, at) {
  const thread = item.records !== undefined;
  const record = thread ? item.newest : item;
  const key = thread ? item.key : String(item.number);
  const current = thread ? item.key === state.conversation : item.number === state.chosen;
  const title = thread ? item.key : record.to || `${record.method} ${record.resource}`;
  const about = record.failed && !thread ? [record.code, record.message || record.reason].filter(Boolean).join(" ")
    : record.what || record.sid || record.resource;
  let tag = make("span", { class: `tag ${record.failed ? "bad" : "good"}`, text: record.code || record.status });
  if (thread && !record.failed) tag = make("span", { class: "tag count", text: item.records.length });
  const more = thread ? "" : [delivery(record), state.drift.has(record.number) ? "Drift" : ""].filter(Boolean).join(", ");
  const button = make("button", {
    type: "button", class: "row", "data-key": key, "aria-current": current ? "true" : null,
    onclick: () => (thread ? openThread(item.key) : openRecord(item.number)),
  },
  picture(record),
  make("span", { class: "who" }, bdi(title)), make("span", { class: "when", text: record.clock }),
  make("span", { class: "what" }, ...(more ? [make("b", { text: more }), " "] : []), bdi(about)), tag);
  const element = make("li", { "aria-posinset": at + 1, "aria-setsize": items.length }, button);
  element.style.top = `${at * ROW}px`;
  return element;
}

function renderThread(thread) {
  const pane = $("thread");
  if (!thread) {
    pane.replaceChildren(make("p", { class: "empty", text: "Choose a conversation." }));
    delete pane.dataset.shown;
    return;
  }
  const records = thread.records.slice(0, state.shown).reverse();
  // What it shows has not changed: a new request elsewhere.
  const shown = [thread.key, thread.records.length, records.at(-1).number, records.length, state.chosen, state.changes].join();
  if (pane.dataset.shown === shown) return;
  pane.dataset.shown = shown;
  const atEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
  const other = pane.dataset.key !== thread.key;
  pane.dataset.key = thread.key;
  const list = make("ol", { class: "bubbles" });
  if (records.length < thread.records.length) {
    const earlier = () => { state.shown += PAGE; schedule(); };
    list.append(make("li", {}, make("button", { type: "button", class: "more", text: "Show earlier", onclick: earlier })));
  }
  for (const record of records) list.append(bubble(record));
  const back = make("button", { type: "button", class: "back", "aria-label": "Back to conversations", text: "\u2190",
    onclick: () => show("list") });
  const focused = pane.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  pane.replaceChildren(make("div", { class: "head" }, back, make("h2", {}, "To ", bdi(thread.key))), list);
  if (focused) pane.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  if (atEnd || other) pane.scrollTop = pane.scrollHeight;
}

function bubble(record) {
  const button = make("button", {
    type: "button", class: record.failed ? "bubble failed" : "bubble", dir: "auto", "data-key": record.number,
    "aria-current": record.number === state.chosen ? "true" : null,
    text: record.what || "(no text)", onclick: () => openRecord(record.number),
  });
  const note = record.failed ? `${record.code || record.status}: ${record.message || record.reason || "refused"}`
    : `from ${record.from || "?"}`;
  const status = delivery(record);
  const bad = record.failed || /^(Undelivered|Failed)/.test(status);
  const parts = [`${record.clock} · `, bdi(note)];
  if (status) parts.push(" · ", make("b", { text: status }));
  if (state.drift.has(record.number)) parts.push(" · ", make("b", { text: "Drift" }));
  return make("li", {}, button, make("small", { class: bad ? "failed" : "" }, ...parts));
}

// -- one request

async function openRecord(number) {
  state.chosen = number;
  show("detail");
  try {
    const response = await fetch(`requests/${number}`);
    const found = await response.json();
    if (state.chosen !== number) return;
    state.details = response.ok ? found : null;
    renderDetail(response.ok ? null : found.error);
  } catch {
    renderDetail("The proxy does not answer.");
  }
  $("detail").scrollTop = 0;
  if (window.matchMedia("(max-width: 60em)").matches) $("detail").focus();
  schedule();
}

function closeDetail() {
  const number = state.chosen;
  state.chosen = state.details = null;
  show(state.view === "messages" && state.conversation !== null ? "thread" : "list");
  render();
  document.querySelector(`[data-key="${CSS.escape(String(number))}"]`)?.focus();
}

function renderDetail(problem = null) {
  const pane = $("detail");
  const record = state.details;
  if (!record) {
    const text = problem || "Choose a request to see its form, its answer and the reason for it.";
    const told = make("div", { class: "empty" }, make("p", { text }));
    if (!problem) {
      const keys = [["/", "search"], ["1", "to"], ["5", "views"], ["j", "next"], ["k", "previous"], ["Esc", "close"]];
      told.append(make("p", { class: "keys" }, ...keys.flatMap(([key, what]) => [make("kbd", { text: key }), ` ${what} `])));
      told.append(make("p", { class: "keys" }, "Search fields by ", make("kbd", { text: "code:21211" }), " ",
        make("kbd", { text: "to:+1410" }), " ", make("kbd", { text: "rule:to" })));
    }
    pane.replaceChildren(told);
    return;
  }
  const failed = record.status >= 400;
  const back = make("button", { type: "button", class: "back", "aria-label": "Back", text: "\u2190", onclick: closeDetail });
  const close = make("button", { type: "button", "aria-label": "Close the request", text: "\u00d7", onclick: closeDetail });
  const noun = record.method === "POST" && NOUNS[kind(record)];
  const to = field(record, "To", "PhoneNumber", "AreaCode");
  const title = noun && to ? [`#${record.number} ${noun} `, bdi(to)] : [`#${record.number} `, bdi(`${record.method} ${record.resource}`)];
  const head = make("div", { class: "head" }, back, make("h2", {}, ...title), close);
  const outcome = make("div", { class: failed ? "outcome failed" : "outcome" },
    make("strong", { text: record.code ? `${record.status} · error ${record.code}` : `${record.status} · ${failed ? "refused" : "accepted"}` }),
    ...(record.message ? [make("span", {}, bdi(record.message))] : []),
    ...(record.sid ? [make("code", { text: record.sid })] : []),
    ...(record.reason ? [make("span", { class: "reason" }, bdi(record.reason))] : []));
  const media = (record.form || []).filter(([name, value]) => name === "MediaUrl" && value).length;
  const text = field(record, "Body");
  const said = text || media ? [make("blockquote", { dir: "auto", text: text || "[media]" })] : [];
  const body = make("div", { class: "body" }, outcome, ...said, actions(record, text), callbacks(record), drift(record), why(record),
    make("h3", { text: "Form" }),
    record.form ? table(record.form) : make("pre", { dir: "auto", text: record.body || "(empty)" }),
    make("h3", { text: "Answer" }), make("pre", { dir: "auto", tabindex: "0", text: pretty(record.answer) }),
    folded("Request headers", table(record.request_headers)),
    folded("Answer headers", table(record.answer_headers)),
    folded("More", table([["Time", record.time], ["Session", record.session], ["Host", record.host],
      ["Target", record.target], ["Client", record.client || "unknown"]])));
  pane.replaceChildren(head, body);
}

function actions(record, text) {
  const buttons = [copy("Copy as curl", () => curl(record)), copy("Copy the answer", () => record.answer)];
  const code = /(?<![\d+])\d{4,8}(?!\d)/.exec(text || "");
  if (code && record.status < 400) buttons.unshift(copy(`Copy ${code[0]}`, () => code[0]));
  return make("div", { class: "actions" }, ...buttons);
}

function callbacks(record) {
  if (!record.callbacks.length && !record.outcomes.length) return "";
  const list = make("ol", { class: "callbacks" }, ...record.callbacks.map((one) => {
    const code = (one.form.find(([name]) => name === "ErrorCode") || [])[1];
    const taken = one.answered >= 200 && one.answered < 300;
    const clock = new Date(one.time).toLocaleTimeString();
    return make("li", { class: taken ? "" : "failed" }, make("b", { text: code ? `${one.status} ${code}` : one.status }),
      make("span", { text: `${clock} · ${one.answered ? `answered ${one.answered}` : one.error}` }));
  }));
  const section = make("section", {}, make("h3", { text: "Status callbacks" }), list);
  if (!record.outcomes.length) return section;
  const good = record.outcomes.find((one) => GOOD[one]);
  const choice = make("select", { "aria-label": "Fail with" });
  for (const status of record.outcomes.filter((one) => BAD[one])) {
    for (const [code, label] of BAD[status]) {
      choice.append(make("option", { value: JSON.stringify({ status, code }), text: code ? `${code} ${label}` : label }));
    }
  }
  const buttons = make("div", { class: "actions" },
    make("button", { type: "button", text: GOOD[good], onclick: () => decide(record, { status: good }) }),
    make("span", { class: "pair" }, choice,
      make("button", { type: "button", text: "Fail", onclick: () => decide(record, JSON.parse(choice.value)) })));
  section.append(buttons);
  return section;
}

async function decide(record, outcome) {
  const response = await fetch("outcome", { method: "POST", body: JSON.stringify({ sid: record.sid, ...outcome }) });
  if (!response.ok) renderDetail((await response.json()).error);
}

function drift(record) {
  if (!record.drift.length) return "";
  const rows = record.drift.map((one) => make("li", {}, make("b", { text: `${one.severity} · ${one.rule}` }),
    make("span", { text: `documented: ${one.documented}` }), make("span", { text: `live: ${one.observed}` })));
  return make("section", {}, make("h3", { text: "Different from the documentation" }), make("ul", { class: "callbacks" }, ...rows));
}

function why(record) {
  const told = [["Answered by", record.source], ["Rule", record.rule || "none"]];
  if (record.basis) told.push(["Basis", record.basis]);
  if (record.text_basis) told.push(["Wording", record.text_basis]);
  if (record.cited) {
    const link = make("a", { href: record.cited.url, target: "_blank", rel: "noopener noreferrer", text: record.cited.text });
    told.push(["Documentation", link]);
  }
  if (record.row) {
    const end = record.row.outcome ? `, ${record.row.outcome}` : "";
    told.push(["Row", `${record.row.parameter} = ${record.row.value} \u2192 ${record.row.error || "success"}${end}`]);
  }
  if (record.contract) told.push(["Against the contract", record.contract]);
  if (record.recorded) told.push(["Recorded", record.recorded]);
  if (record.fallback) told.push(["In the live API's place", record.fallback]);
  return make("section", {}, make("h3", { text: "Why" }), table(told));
}

function table(pairs) {
  if (!pairs.length) return make("p", { class: "soft", text: "none" });
  const rows = pairs.map(([name, value]) => make("tr", {}, make("th", { scope: "row", dir: "auto", text: name }),
    value instanceof Node ? make("td", {}, value) : make("td", { dir: "auto", text: value })));
  return make("table", {}, make("tbody", {}, ...rows));
}

function folded(title, content) {
  return make("details", {}, make("summary", { text: title }), content);
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text || "(empty)"; }
}

function copy(label, text) {
  const button = make("button", { type: "button", text: label });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed here";
    }
    setTimeout(() => { button.textContent = label; }, 1500);
  });
  return button;
}

// Whatever a stranger sent is one word of the shell, without the control characters that a terminal obeys.
function curl(record) {
  const quoted = (text) => `'${text.replace(/[\0-\x1f\x7f-\x9f]/g, encodeURIComponent).replaceAll("'", "'\\''")}'`;
  const account = /\/Accounts\/(AC[0-9a-fA-F]{32})(?![0-9a-zA-Z])/.exec(record.target);
  const parts = [`curl -X ${quoted(record.method)} ${quoted(`https://${record.host}${record.target}`)}`];
  parts.push(`-u ${account ? account[1] : '"$TWILIO_ACCOUNT_SID"'}:"$TWILIO_AUTH_TOKEN"`);
  for (const [name, value] of record.form || []) {
    const plain = /^[\w.-]+$/.test(name) && !/[\0-\x1f\x7f-\x9f]/.test(value);
    if (plain) parts.push(`--data-urlencode ${quoted(`${name}=${value}`)}`);
    else parts.push(`--data-raw ${quoted(new URLSearchParams([[name, value]]).toString())}`);
  }
  return parts.join(" \\\n  ");
}

// -- what people do

function show(pane) {
  document.body.dataset.pane = pane;
}

function choose(view) {
  state.view = view;
  state.shown = PAGE;
  $("list").scrollTop = 0;
  show("list");
  render();
}

function openThread(key) {
  state.conversation = key;
  state.shown = PAGE;
  show("thread");
  render();
}

function move(step) {
  const pane = $("list");
  const current = items.findIndex((item) => (item.records ? item.key === state.conversation : item.number === state.chosen));
  const at = Math.min(items.length - 1, Math.max(0, current + step));
  const item = items[at];
  if (!item) return;
  if (at * ROW < pane.scrollTop) pane.scrollTop = at * ROW;
  if ((at + 1) * ROW > pane.scrollTop + pane.clientHeight) pane.scrollTop = (at + 1) * ROW - pane.clientHeight;
  if (item.records) {
    state.conversation = item.key;
    render();
  } else {
    const before = document.body.dataset.pane;
    openRecord(item.number);
    if (window.matchMedia("(max-width: 60em)").matches) show(before);
    renderList();
  }
  pane.querySelector(`[data-key="${CSS.escape(item.records ? item.key : String(item.number))}"]`)?.focus({ preventScroll: true });
}

function keys(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (state.chosen !== null) closeDetail();
    else show("list");
  } else if (typing) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "j" || (event.key === "ArrowDown" && $("list").contains(event.target))) {
    event.preventDefault();
    move(1);
  } else if (event.key === "k" || (event.key === "ArrowUp" && $("list").contains(event.target))) {
    event.preventDefault();
    move(-1);
  } else if (/^[1-5]$/.test(event.key)) {
    choose(VIEWS[Number(event.key) - 1][0]);
  }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
}

// -- live

function reset(instance) {
  state.instance = instance;
  state.last = 0;
  state.records = [];
  state.details = null;
  state.chosen = null;
  state.callbacks.clear();
  lastCallback = 0;
  state.changes += 1;
  state.drift.clear();
  schedule();
}

function takeCallback(callback) {
  lastCallback = Math.max(lastCallback, callback.number);
  const before = state.callbacks.get(callback.request);
  if (before && before.number >= callback.number) return; // known, and told again after a reconnection
  state.callbacks.set(callback.request, callback);
  if (state.callbacks.size > KEPT) state.callbacks.delete(state.callbacks.keys().next().value);
  refresh(callback.request);
}

// Show a request that is open anew: more is known about it.
async function refresh(number) {
  state.changes += 1;
  schedule();
  if (state.chosen !== number || !state.details) return;
  const response = await fetch(`requests/${number}`);
  if (!response.ok || state.chosen !== number) return;
  const open = document.activeElement && document.activeElement.closest("#detail button") && document.activeElement.textContent;
  const scroll = $("detail").scrollTop;
  state.details = await response.json();
  renderDetail();
  $("detail").scrollTop = scroll;
  if (open) [...document.querySelectorAll("#detail button")].find((one) => one.textContent === open)?.focus({ preventScroll: true });
}

function take(record) {
  if (record.number <= state.last) return;
  state.last = record.number;
  state.records.push(prepare(record));
  if (state.records.length > KEPT + 500) state.records = state.records.slice(-KEPT);
  fresh += 1;
  schedule();
}

function told(text, on) {
  const live = $("live");
  if (live.textContent !== text) live.textContent = text;
  live.classList.toggle("on", on);
}

function connect() {
  polling = false;
  if (source) source.close();
  source = new EventSource(`events?since=${state.last}`);
  source.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    if (hello.instance !== state.instance) {
      const again = state.last > 0; // another proxy: its numbers begin again
      reset(hello.instance);
      if (again) { connect(); return; }
    }
    told("Live", true);
  });
  source.addEventListener("request", (event) => take(JSON.parse(event.data)));
  source.addEventListener("callback", (event) => takeCallback(JSON.parse(event.data)));
  source.addEventListener("drift", (event) => {
    const { number } = JSON.parse(event.data);
    state.drift.add(number);
    refresh(number);
  });
  source.addEventListener("cleared", () => { reset(state.instance); connect(); });
  source.addEventListener("error", () => {
    told("Reconnecting…", false);
    if (source.readyState === EventSource.CLOSED) { // the proxy is away, or does not stream at this listener
      source.close();
      poll();
    }
  });
}

// Where the listener does not stream, statuses are asked for as well, while the page polls.
async function pollCallbacks() {
  if (!polling) return;
  try {
    const response = await fetch(`callbacks?since=${lastCallback}`);
    if (response.ok) for (const one of (await response.json()).callbacks) takeCallback(one);
  } catch { /* poll() reports it */ }
}

async function poll() {
  polling = true;
  try {
    const seconds = state.instance ? 20 : 0;
    const response = await fetch(`requests/wait?since=${state.last}&timeout=${seconds}`);
    if (response.status === 200 || response.status === 504) {
      const found = await response.json();
      if (found.instance !== state.instance || found.last < state.last) reset(found.instance);
      found.requests.forEach(take);
      told("Live", true);
      poll();
      return;
    }
  } catch {
    told("Reconnecting…", false);
  }
  setTimeout(connect, 1000);
}

setInterval(() => {
  if (fresh) $("news").textContent = fresh === 1 ? "1 new request" : `${fresh} new requests`;
  fresh = 0;
}, 3000);

setInterval(pollCallbacks, 2000);

$("theme").append(icon("theme"));
const wished = window.matchMedia("(prefers-color-scheme: dark)");
theme(localStorage.getItem("ringback-theme") || (wished.matches ? "dark" : "light"));
wished.addEventListener("change", () => {
  if (!localStorage.getItem("ringback-theme")) theme(wished.matches ? "dark" : "light");
});
$("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("ringback-theme", name);
  theme(name);
});
$("search").addEventListener("input", (event) => {
  state.search = event.target.value.trim();
  state.terms = terms(state.search);
  schedule();
});
$("session").addEventListener("change", (event) => { state.session = event.target.value; schedule(); });
$("clear").addEventListener("click", () => {
  const query = state.session ? `?session=${encodeURIComponent(state.session)}` : "";
  const dropped = () => {
    state.records = state.records.filter((record) => state.session && record.session !== state.session);
    schedule();
  };
  fetch(`requests${query}`, { method: "DELETE" }).then(dropped, () => told("Reconnecting…", false));
});
$("list").addEventListener("scroll", () => requestAnimationFrame(renderList), { passive: true });
window.addEventListener("resize", schedule);
document.addEventListener("keydown", keys);
render();
connect();
