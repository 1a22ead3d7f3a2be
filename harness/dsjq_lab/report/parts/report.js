// The interactive space-time diagram, and the table of jobs. Only the rows in sight exist, so that fifty
// thousand events open as fast as fifty. Whatever is shown came from the system under study, so it is only
// ever set as text. The layout is that of the still picture (diagram.py): a row an event, a lane a process.
"use strict";

const run = JSON.parse(document.getElementById("run").textContent);
const events = run.events.map(([index, time, lane, kind, text, jobs, state, side, measured, idle]) =>
  ({index, time, lane, kind, text, jobs, state, side, measured, idle}));  // times are microseconds
const messages = run.messages.map(([source, target, lane, text, fate]) =>
  ({source, target, lane, text, fate}));

const ROW = 24, GUTTER = 96, HEAD = 30, LETTER = 6.6, LANE_MIN = 120, LANE_MAX = 172;  // px
const BUCKET = 64;       // rows
const SPARE = 8;         // rows drawn beyond those in sight
const JOBS_SHOWN = 200;
const GAP_MIN = 20_000;  // µs
const BROKER = run.lanes.indexOf("broker");
const BEFALLS = ["fault", "hang", "heal"];

const part = id => document.getElementById(id);
const box = part("diagram"), search = part("search"), idle = part("idle");

// -- What is shown -----------------------------------------------------------------------------------------

let job = null;       // only this one's life
let selected = null;  // the index of an event
let related = null;   // what can have led to it, and what can follow from it
let rows = [];        // the events shown, in order
let rowOf = [];       // by index: the row of an event, or -1
let buckets = [];     // the messages that pass each BUCKET of rows
let x = [];           // by lane: where it is, or undefined
let letters = 0;      // that fit beside a lane

function choose() {
  const words = search.value.trim().toLowerCase();
  rows = job === null ? events.filter(event => idle.checked || !event.idle) : life(job);
  if (words) rows = rows.filter(event => story(event).toLowerCase().includes(words));
  rowOf = new Int32Array(events.length).fill(-1);
  rows.forEach((event, row) => { rowOf[event.index] = row; });
  sortMessages();
  placeLanes();
  draw();
  const whose = job === null ? "" : `: job ${job}`;
  part("count").textContent = `${rows.length} of ${events.length} events${whose}`;
  part("all").hidden = job === null;
}

// Its events, with the faults of its holders, and of the broker once it knew of it.
function life(name) {
  let known = false;
  return events.filter(event => {
    const concerns = event.jobs.includes(name);
    known ||= concerns;
    return concerns || (known && event.lane === BROKER && BEFALLS.includes(event.kind));
  });
}

function sortMessages() {
  buckets = Array.from({length: bucketOf(rows.length) + 1}, () => []);
  for (const message of messages) {
    const first = rowOf[message.source], last = message.target === null ? first : rowOf[message.target];
    if (first < 0 || last < 0) continue;
    for (let bucket = bucketOf(first); bucket <= bucketOf(last); bucket++) buckets[bucket].push(message);
  }
}

const bucketOf = row => Math.floor(row / BUCKET);

// The lanes share the room that there is, as far as their words allow.
function placeLanes() {
  const used = new Set(rows.map(event => event.lane));
  const margin = [...used].some(lane => run.lanes[lane].startsWith("producer")) ? 1 : 0.4;
  const fair = (box.clientWidth - GUTTER) / (used.size + margin);
  const wide = Math.min(LANE_MAX, Math.max(LANE_MIN, fair));
  letters = Math.floor((wide - 18) / LETTER);
  let right = GUTTER + wide * margin;
  x = run.lanes.map((_, lane) => used.has(lane) ? (right += wide) - wide : undefined);
  const width = Math.max(right, box.clientWidth);
  const heads = run.lanes.map((lane, number) => [lane, x[number]]).filter(([, at]) => at !== undefined);
  part("lanes").replaceChildren(
    make("svg", {width, height: HEAD}, ...heads.map(([lane, at]) => label(at, 20, lane, "head"))));
  part("lanes").style.width = part("room").style.width = `${width}px`;
  part("room").style.height = `${rows.length * ROW}px`;
}

// -- Drawing what is in sight ------------------------------------------------------------------------------

function draw() {
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE);
  const y = row => (row - first + 0.5) * ROW;
  const passing = new Set(buckets.slice(bucketOf(first), bucketOf(last) + 1).flat());
  const drawn = make("svg", {width: part("room").clientWidth, height: Math.max(1, last - first) * ROW},
    make("defs", {}, make("marker", {
      id: "tip", markerWidth: 8, markerHeight: 7, refX: 8, refY: 3.5, orient: "auto",
      markerUnits: "userSpaceOnUse",
    }, make("path", {d: "M0,0 L8,3.5 L0,7 z"}))),
    ...drawLanes(y(first) - ROW / 2, y(last) - ROW / 2, y),
    ...[...passing].flatMap(message => drawMessage(message, y)),
    ...rows.slice(first, last).map((event, number) => drawEvent(event, y(first + number))));
  part("rows").style.top = `${first * ROW + HEAD}px`;
  part("rows").replaceChildren(drawn);
}

function drawLanes(top, bottom, y) {
  const lines = x.filter(at => at !== undefined)
    .map(at => make("line", {class: "lane", x1: at, x2: at, y1: top, y2: bottom}));
  for (const [lane, kind, begin, end, words] of run.bands) {
    const y1 = Math.max(top, y(rowAt(begin))), y2 = Math.min(bottom, y(rowAt(end)));
    if (x[lane] === undefined || y1 >= y2) continue;
    const place = {x1: x[lane], x2: x[lane], y1, y2};
    if (kind === "dead") lines.push(make("line", {class: "lane gap", ...place}));
    const title = make("title", {}, `${run.lanes[lane]} ${words}`);
    lines.push(make("line", {class: `lane ${kind}`, ...place}, title));
  }
  return lines;
}

// Where a moment lies among the rows: on that of its event, or between two.
function rowAt(time) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (rows[middle].time < time) low = middle + 1; else high = middle;
  }
  return rows[low]?.time === time ? low : low - 0.5;
}

function drawMessage({source, target, lane, text, fate}, y) {
  const x1 = x[events[source].lane], y1 = y(rowOf[source]), end = x[lane];
  if (end === undefined) return [];
  const arrives = target !== null;
  const x2 = arrives ? end - 6 * Math.sign(end - x1) : (x1 + end) / 2;  // not under the point; half the way
  const y2 = arrives ? y(rowOf[target]) : y1 + ROW * 0.6;
  const aside = related && !(related.has(source) && (!arrives || related.has(target))) ? " aside" : "";
  const line = {x1, y1, x2, y2, class: `arrow ${fate}${aside}`, ...(arrives && {"marker-end": "url(#tip)"})};
  const drawn = [make("line", line, make("title", {}, `${text}: ${fate}`))];
  if (fate === "lost") drawn.push(make("path", {d: cross(x2, y2), class: "arrow lost"}));
  if (fate === "unknown") drawn.push(label(x2 - 3, y2 + 5, "?", "state FAILED"));
  return drawn;
}

function drawEvent(event, y) {
  const at = x[event.lane], note = run.notes[event.index];
  const styles = ["row", event.kind];
  if (note !== undefined) styles.push("evidence");
  if (event.index === selected) styles.push("selected");
  if (related && !related.has(event.index)) styles.push("aside");
  const drawn = make("g", {class: styles.join(" "), "data-event": event.index},
    make("title", {}, story(event)),
    make("rect", {class: "back", x: 0, y: y - ROW / 2, width: "100%", height: ROW}),
    make("path", {class: event.measured ? "dot" : "dot guess", d: point(event.kind, at, y)}));
  if (event.measured) drawn.append(label(GUTTER - 12, y + 4, (event.time / 1e3).toFixed(1), "time"));
  const silence = event.time - (rows[rowOf[event.index] - 1]?.time ?? event.time);
  if (silence > Math.max(GAP_MIN, run.span / 40))
    drawn.append(label(GUTTER - 12, y - 8, `⋯ +${(silence / 1e3).toFixed(0)} ms`, "time gap"));
  const [words, style] = said(event);
  drawn.append(label(at + 11 * event.side, y + 4, cut(words), style, event.side));
  const middle = part("room").clientWidth / 2;
  if (note) drawn.append(at > middle ? label(GUTTER, y + 4, `▶ ${note}`, "note")
                                     : label(2 * middle - 12, y + 4, `${note} ◀`, "note", -1));
  return drawn;
}

// At the broker, what the job became; elsewhere, what was said.
function said(event) {
  if (event.kind === "serve" && event.state) return [about(event), `state ${event.state}`];
  if (event.kind === "serve" && event.lane === BROKER) return ["", "words"];
  return [event.state ? `${about(event)}  ${event.text}` : event.text, "words"];
}

function point(kind, x, y) {
  if (kind === "fault") return cross(x, y);
  if (kind === "hang") return `M${x - 3},${y - 6} v12 m6,-12 v12`;
  return `M${x - 4},${y} a4,4 0 1 0 8,0 a4,4 0 1 0 -8,0`;
}

const cross = (x, y) => `M${x - 5},${y - 5} l10,10 m0,-10 l-10,10`;
const cut = words => words.length <= letters ? words : words.slice(0, letters - 1) + "…";
const about = event => [...event.jobs, event.state].filter(Boolean).join(" ");

function story(event) {
  const [when, whom] = [(event.time / 1e6).toFixed(4), about(event)];
  return `${when} s  ${run.lanes[event.lane]}: ${event.text}${whom && `  (${whom})`}`;
}

function make(name, attributes, ...content) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}

const label = (at, y, words, style, side = 1) =>
  make("text", {x: at, y, class: style, ...(side < 0 && {"text-anchor": "end"})}, words);

// -- What led to what --------------------------------------------------------------------------------------

let before = null, after = null;  // by index: the next steps, along lanes and messages, back and forth

function connect() {
  before = events.map(() => []);
  after = events.map(() => []);
  const latest = [];
  const step = (one, other) => { before[other].push(one); after[one].push(other); };
  for (const {lane, index} of events) {
    if (latest[lane] !== undefined) step(latest[lane], index);
    latest[lane] = index;
  }
  for (const {source, target} of messages) if (target !== null) step(source, target);
}

function reach(start, steps) {
  const reached = new Set(), waiting = [start];
  while (waiting.length) {
    const fresh = steps[waiting.pop()].filter(index => !reached.has(index));
    for (const index of fresh) { reached.add(index); waiting.push(index); }
  }
  return reached;
}

function select(index) {
  selected = index;
  related = null;
  part("detail").replaceChildren();
  if (index !== null) {
    if (before === null) connect();
    const past = reach(index, before), future = reach(index, after), event = events[index];
    related = new Set([index, ...past, ...future]);
    part("detail").append(
      html("div", story(event)),
      html("div", `${past.size} events led to it, ${future.size} follow from it, ` +
                  `${events.length - related.size} are concurrent.`, {className: "faint"}),
      ...event.jobs.map(name =>
        html("button", `Only job ${name}, and what befell it`, {onclick: () => only(name)})));
  }
  draw();
}

const html = (name, words, more) =>
  Object.assign(document.createElement(name), {textContent: words, ...more});

// -- Moving about ------------------------------------------------------------------------------------------

function only(name) {
  job = name;
  search.value = "";
  choose();
  reveal(selected === null ? 0 : Math.max(0, rowOf[selected]));
  draw();
}

function everything() {
  job = null;
  search.value = "";
  choose();
}

function reveal(row) {
  const top = row * ROW, room = box.clientHeight - HEAD - 2 * ROW;
  box.scrollTop = Math.min(Math.max(box.scrollTop, top - room), Math.max(0, top - ROW));
}

function step(by) {
  if (!rows.length) return;
  const here = selected === null ? -1 : rowOf[selected];
  const row = Math.min(rows.length - 1, Math.max(0, here + by));
  reveal(row);
  select(rows[row].index);
}

const page = () => Math.floor(box.clientHeight / ROW) - 2;
const KEYS = {
  ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
  PageDown: () => step(page()), PageUp: () => step(-page()),
  Home: () => step(-rows.length), End: () => step(rows.length),
  Enter: () => { if (events[selected]?.jobs.length) only(events[selected].jobs[0]); },
};

box.addEventListener("keydown", press => {
  if (press.ctrlKey || press.metaKey || press.altKey || !KEYS[press.key]) return;
  press.preventDefault();
  KEYS[press.key]();
});
document.addEventListener("keydown", press => {
  if (press.key === "Escape") { select(null); everything(); box.focus(); }
  if (press.key === "/" && document.activeElement !== search) { press.preventDefault(); search.focus(); }
});
box.addEventListener("click", press => {
  const row = press.target.closest("[data-event]");
  if (row) { select(Number(row.dataset.event)); box.focus(); }
});
box.addEventListener("dblclick", KEYS.Enter);
box.addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
search.addEventListener("input", () => { box.scrollTop = 0; choose(); listJobs(); });
idle.addEventListener("change", choose);
part("all").addEventListener("click", everything);
addEventListener("resize", () => { placeLanes(); draw(); });

// -- The table of jobs -------------------------------------------------------------------------------------

function listJobs() {
  const words = search.value.trim().toLowerCase();
  const found = run.jobs.filter(cells => cells.join(" ").toLowerCase().includes(words));
  part("jobs").tBodies[0].replaceChildren(...found.slice(0, JOBS_SHOWN).map(([name, ...cells]) => {
    const line = document.createElement("tr");
    line.insertCell().append(html("button", name, {onclick: () => { only(name); box.focus(); }}));
    for (const cell of cells) line.insertCell().textContent = cell ?? "";
    return line;
  }));
  const more = found.length - JOBS_SHOWN;
  part("more").textContent = more > 0 ? `${more} more: search for them above` : "";
}

part("jobs").tHead.rows[0].append(...run.jobColumns.map(name => html("th", name.replace("_s", ", s"))));
choose();
listJobs();
const evidence = Object.keys(run.notes).map(Number).filter(index => rowOf[index] >= 0);
if (evidence.length) reveal(rowOf[evidence.at(-1)]);
document.documentElement.dataset.ready = Math.round(performance.now());
