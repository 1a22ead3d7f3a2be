// The interactive space-time diagram, and the table of jobs. Only the rows in sight exist, so that fifty
// thousand events open as fast as fifty. Whatever is shown came from the system under study, so it is only
// ever set as text. The layout is that of the still picture (diagram.py): one row an event, one lane a process.
"use strict";

const run = JSON.parse(document.getElementById("run").textContent);
const [INDEX, TIME, LANE, KIND, TEXT, JOBS, STATE, SIDE, MEASURED, IDLE] = Array(10).keys();
const [SOURCE, TARGET, TO, WHAT, FATE] = Array(5).keys();
const ROW = 24, GUTTER = 96, HEAD = 30, LETTER = 6.6, LANE_MIN = 120, LANE_MAX = 172;  // px
const BUCKET = 64, SPARE = 8, JOBS_SHOWN = 200;
const FAULTS = new Set(["fault", "hang", "heal"]);
const SVG = "http://www.w3.org/2000/svg";
const element = id => document.getElementById(id);
const box = element("diagram"), detail = element("detail"), search = element("search"), idle = element("idle");

const onTheLeft = lane => run.lanes[lane].startsWith("producer");
const broker = run.lanes.indexOf("broker");
const events = run.events;

// -- What is shown: the indices of events, in order --------------------------------------------------------

let job = null;       // only this one's life
let selected = null;  // the index of an event
let rows = [];
let rowOf = new Int32Array(events.length);
let buckets = [];     // messages by the rows that they pass
let x = [];           // by lane; undefined where nothing is shown
let letters = 0;      // that fit beside a lane
let related = null;   // the past and the future of what is selected

function life(name) {
  const shown = [];
  for (const event of events) {
    const struckAll = FAULTS.has(event[KIND]) && event[LANE] === broker && shown.length > 0;
    if (struckAll || event[JOBS].includes(name)) shown.push(event[INDEX]);
  }
  return shown;
}

const bucketOf = row => Math.floor(row / BUCKET);

function choose() {
  const words = search.value.trim().toLowerCase();
  rows = job === null ? events.map(event => event[INDEX]) : life(job);
  if (job === null && !idle.checked) rows = rows.filter(index => !events[index][IDLE]);
  if (words) rows = rows.filter(index => story(events[index]).toLowerCase().includes(words));
  rowOf.fill(-1);
  rows.forEach((index, row) => { rowOf[index] = row; });
  buckets = Array.from({length: Math.ceil(rows.length / BUCKET) + 1}, () => []);
  for (const message of run.messages) {
    const first = rowOf[message[SOURCE]], last = message[TARGET] === null ? first : rowOf[message[TARGET]];
    if (first < 0 || last < 0) continue;
    for (let bucket = bucketOf(first); bucket <= bucketOf(last); bucket++) buckets[bucket].push(message);
  }
  place();
  draw();
  const whose = job === null ? "" : `: job ${job}`;
  element("count").textContent = `${rows.length} of ${events.length} events${whose}`;
  element("all").hidden = job === null;
}

// The lanes share the room that there is, as far as their words allow.
function place() {
  const used = new Set(rows.map(index => events[index][LANE]));
  const margin = [...used].some(onTheLeft) ? 1 : 0.4;
  const fair = (box.clientWidth - GUTTER) / (used.size + margin);
  const wide = Math.min(LANE_MAX, Math.max(LANE_MIN, fair));
  letters = Math.floor((wide - 18) / LETTER);
  let left = GUTTER + wide * margin;
  x = run.lanes.map((_, lane) => used.has(lane) ? (left += wide) - wide : undefined);
  const width = Math.max(left, box.clientWidth);
  const heads = make("svg", {width, height: HEAD});
  run.lanes.forEach((lane, number) => {
    if (x[number] !== undefined) heads.append(label(x[number], 20, lane, "head"));
  });
  element("lanes").replaceChildren(heads);
  element("lanes").style.width = element("room").style.width = `${width}px`;
  element("room").style.height = `${rows.length * ROW}px`;
}

// -- Drawing what is in sight ------------------------------------------------------------------------------

const make = (name, attributes = {}, ...content) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
};
const label = (at, y, words, style, side = 1) =>
  make("text", {x: at, y, class: style, ...(side < 0 && {"text-anchor": "end"})}, words);
const cut = (words, room) => words.length <= room ? words : words.slice(0, room - 1) + "…";
const about = event => [...event[JOBS], event[STATE]].filter(Boolean).join(" ");
const story = event =>
  `${(event[TIME] / 1e6).toFixed(4)} s  ${run.lanes[event[LANE]]}: ${event[TEXT]}  (${about(event)})`.replace("  ()", "");

function draw() {
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + SPARE);
  const y = row => (row - first + 0.5) * ROW;
  const drawn = make("svg", {width: element("room").clientWidth, height: Math.max(1, last - first) * ROW});
  drawn.append(make("defs", {}, make("marker", {id: "tip", markerWidth: 8, markerHeight: 7, refX: 8, refY: 3.5,
    orient: "auto", markerUnits: "userSpaceOnUse"}, make("path", {d: "M0,0 L8,3.5 L0,7 z"}))));
  const lanes = make("g"), arrows = make("g"), points = make("g");
  for (let row = first; row < last; row++) points.append(drawRow(row, y(row)));
  drawLanes(lanes, first, last, y);
  const seen = new Set();
  for (let bucket = bucketOf(first); bucket <= bucketOf(last); bucket++)
    for (const message of buckets[bucket] ?? [])
      if (!seen.has(message)) { seen.add(message); drawMessage(arrows, message, y); }
  drawn.append(lanes, arrows, points);
  element("rows").style.top = `${first * ROW + HEAD}px`;
  element("rows").replaceChildren(drawn);
}

function drawRow(row, y) {
  const event = events[rows[row]], at = x[event[LANE]], side = event[SIDE];
  const note = run.notes[event[INDEX]];
  const style = ["row", event[KIND], note !== undefined && "evidence", event[INDEX] === selected && "selected",
    related && !related.has(event[INDEX]) && "aside"].filter(Boolean).join(" ");
  const drawn = make("g", {class: style, "data-event": event[INDEX]},
    make("title", {}, story(event)), make("rect", {class: "back", x: 0, y: y - ROW / 2, width: "100%", height: ROW}));
  if (event[MEASURED]) drawn.append(label(GUTTER - 12, y + 4, (event[TIME] / 1e3).toFixed(1), "time"));
  const gap = row ? event[TIME] - events[rows[row - 1]][TIME] : 0;
  if (gap > 20000 && gap > run.span / 40) drawn.append(label(GUTTER - 12, y - 8, `⋯ +${(gap / 1e3).toFixed(0)} ms`, "time gap"));
  drawn.append(make("path", {class: event[MEASURED] ? "dot" : "dot guess", d: shape(event[KIND], at, y)}));
  if (event[KIND] === "serve") {
    const [words, style] = event[STATE] ? [about(event), `state ${event[STATE]}`] : [event[TEXT], "words"];
    if (event[STATE] || event[LANE] !== broker) drawn.append(label(at + 11 * side, y + 4, cut(words, letters), style, side));
  } else {
    const words = event[STATE] ? `${about(event)}  ${event[TEXT]}` : event[TEXT];
    drawn.append(label(at + 11 * side, y + 4, cut(words, letters), "words", side));
  }
  if (note) {  // where the row is empty
    const width = element("room").clientWidth;
    drawn.append(at > width / 2 ? label(GUTTER, y + 4, `▶ ${note}`, "note") : label(width - 12, y + 4, `${note} ◀`, "note", -1));
  }
  return drawn;
}

function shape(kind, x, y) {
  if (kind === "fault") return `M${x - 5},${y - 5} l10,10 m0,-10 l-10,10`;
  if (kind === "hang") return `M${x - 3},${y - 6} v12 m6,-12 v12`;
  return `M${x - 4},${y} a4,4 0 1 0 8,0 a4,4 0 1 0 -8,0`;
}

function drawLanes(group, first, last, y) {
  const top = y(first) - ROW / 2, bottom = y(last) - ROW / 2;
  x.forEach((at, lane) => {
    if (at !== undefined) group.append(make("line", {class: "lane", x1: at, x2: at, y1: top, y2: bottom}));
  });
  for (const [lane, kind, begin, end, words] of run.bands) {
    const y1 = Math.max(top, y(rowAt(begin))), y2 = Math.min(bottom, y(rowAt(end)));
    if (x[lane] === undefined || y1 >= y2) continue;
    const line = {x1: x[lane], x2: x[lane], y1, y2};
    if (kind === "dead") group.append(make("line", {class: "lane gap", ...line}));
    group.append(make("line", {class: `lane ${kind}`, ...line}, make("title", {}, `${run.lanes[lane]} ${words}`)));
  }
}

// Where a moment lies among the rows: on that of its event, or between two.
function rowAt(time) {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[rows[middle]][TIME] < time) low = middle + 1; else high = middle;
  }
  return low < rows.length && events[rows[low]][TIME] === time ? low : low - 0.5;
}

function drawMessage(group, [source, target, to, words, fate], y) {
  const x1 = x[events[source][LANE]], y1 = y(rowOf[source]);
  if (x[to] === undefined) return;
  const side = Math.sign(x[to] - x1), aside = related && !(related.has(source) && (target === null || related.has(target)));
  const [x2, y2] = target === null ? [(x1 + x[to]) / 2, y1 + ROW * 0.6] : [x[to] - 6 * side, y(rowOf[target])];
  const line = {x1, y1, x2, y2, class: `arrow ${fate}${aside ? " aside" : ""}`};
  if (target !== null) line["marker-end"] = "url(#tip)";
  group.append(make("line", line, make("title", {}, `${words}: ${fate}`)));
  if (fate === "lost") group.append(make("path", {d: `M${x2 - 5},${y2 - 5} l10,10 m0,-10 l-10,10`, class: "arrow lost"}));
  if (fate === "unknown") group.append(label(x2 - 3, y2 + 5, "?", "state FAILED"));
}

// -- What led to what --------------------------------------------------------------------------------------

// Along lanes and messages, forwards and backwards: for each event those before it, and those after it.
let before = null, after = null;

function connect() {
  before = events.map(() => []);
  after = events.map(() => []);
  const step = (one, other) => { before[other].push(one); after[one].push(other); };
  const lastOf = new Map();
  for (const event of events) {
    if (lastOf.has(event[LANE])) step(lastOf.get(event[LANE]), event[INDEX]);
    lastOf.set(event[LANE], event[INDEX]);
  }
  for (const message of run.messages) if (message[TARGET] !== null) step(message[SOURCE], message[TARGET]);
}

function reach(start, steps) {
  const reached = new Set(), waiting = [start];
  while (waiting.length) {
    for (const next of steps[waiting.pop()]) {
      if (!reached.has(next)) { reached.add(next); waiting.push(next); }
    }
  }
  return reached;
}

function select(index) {
  selected = index;
  related = null;
  if (index !== null) {
    if (before === null) connect();
    const past = reach(index, before), future = reach(index, after);
    related = new Set([index, ...past, ...future]);
    const event = events[index];
    detail.replaceChildren(paragraph(story(event)), paragraph(
      `${past.size} events led to it, ${future.size} follow from it, ${events.length - related.size} are concurrent.`, "faint"));
    for (const name of event[JOBS]) detail.append(button(`Only job ${name}, and what befell it`, () => only(name)));
  } else detail.replaceChildren();
  draw();
}

const paragraph = (words, style = "") => Object.assign(document.createElement("div"), {textContent: words, className: style});
const button = (words, press) => Object.assign(document.createElement("button"), {textContent: words, onclick: press});

function only(name) {
  job = name;
  search.value = "";
  choose();
  if (selected !== null && rowOf[selected] >= 0) show(rowOf[selected]); else box.scrollTop = 0;
  draw();
}

function show(row) {
  const top = row * ROW, room = box.clientHeight - HEAD - 2 * ROW;
  if (top < box.scrollTop + ROW) box.scrollTop = top - ROW;
  else if (top > box.scrollTop + room) box.scrollTop = top - room;
}

function step(by) {
  if (!rows.length) return;
  const here = selected === null ? -1 : rowOf[selected];
  const row = Math.min(rows.length - 1, Math.max(0, here + by));
  show(row);
  select(rows[row]);
}

const page = () => Math.floor(box.clientHeight / ROW) - 2;
const KEYS = {
  ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
  PageDown: () => step(page()), PageUp: () => step(-page()), Home: () => step(-rows.length), End: () => step(rows.length),
  Enter: () => { if (selected !== null && events[selected][JOBS].length) only(events[selected][JOBS][0]); },
};

box.addEventListener("keydown", press => {
  const deed = press.ctrlKey || press.metaKey || press.altKey ? null : KEYS[press.key];
  if (deed) { press.preventDefault(); deed(); }
});
document.addEventListener("keydown", press => {
  if (press.key === "/" && document.activeElement !== search) { press.preventDefault(); search.focus(); }
  if (press.key === "Escape") { job = null; search.value = ""; select(null); choose(); box.focus(); }
});
box.addEventListener("scroll", () => requestAnimationFrame(draw), {passive: true});
box.addEventListener("click", press => {
  const row = press.target.closest("[data-event]");
  if (row) { select(Number(row.dataset.event)); box.focus(); }
});
box.addEventListener("dblclick", () => KEYS.Enter());
search.addEventListener("input", () => { box.scrollTop = 0; choose(); listJobs(); });
idle.addEventListener("change", choose);
element("all").addEventListener("click", () => { job = null; choose(); });
addEventListener("resize", () => { place(); draw(); });

// -- The table of jobs -------------------------------------------------------------------------------------

function listJobs() {
  const words = search.value.trim().toLowerCase();
  const found = run.jobs.filter(row => !words || row.some(cell => String(cell).toLowerCase().includes(words)));
  const lines = found.slice(0, JOBS_SHOWN).map(row => {
    const line = document.createElement("tr");
    row.forEach((cell, column) => {
      const place = line.insertCell();
      if (column === 0) place.append(button(cell, () => { only(cell); box.scrollIntoView({block: "center"}); box.focus(); }));
      else place.textContent = cell ?? "";
    });
    return line;
  });
  element("jobs").tBodies[0].replaceChildren(...lines);
  element("more").textContent = found.length > lines.length ? `${found.length - lines.length} more: search for them above` : "";
}

for (const column of run.jobColumns) {
  const head = document.createElement("th");
  head.textContent = column.replace("_", ", ");
  element("jobs").tHead.rows[0].append(head);
}
choose();
listJobs();
const evidence = Object.keys(run.notes).map(Number).filter(index => rowOf[index] >= 0);
if (evidence.length) show(rowOf[evidence[evidence.length - 1]]);
document.documentElement.dataset.ready = String(Math.round(performance.now()));
