// One row at a time: keep, drop, fix, note. What was decided is shown as decided only when the server has it on the disk.
"use strict";

const WORDS = { keep: "kept", drop: "dropped", fix: "fixed", undecided: "" };
const ROLES = { system: "System", user: "User", assistant: "Assistant", tool: "Tool" };
const at = (id) => document.getElementById(id);
const make = (tag, name, text) => {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
};

let rows = [];
let summary = null;
let canUndo = false;
let here = 0;
let editing = false;
let dropsWithNote = false;
let deciding = false;
let queue = Promise.resolve();
let ended = false;

const decisionOf = (row) => row.decision;
const row = () => rows[here];
const edited = (r) => new Map(decisionOf(r).edits.map((e) => [JSON.stringify(e.path), e.after]));

async function ask(address, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("Not saved: the command in the terminal does not answer. Start it again; what was decided before is there.");
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function complain(error) {
  at("problem").textContent = error ? error.message : "";
  at("problem").hidden = !error;
}

// Changes go one after the other, so that the order on the disk is that of the keys.
function change(address, body) {
  queue = queue.then(async () => {
    try {
      const content = await ask(address, body);
      complain(null);
      if (content.decision) rows.find((r) => r.number === content.decision.row).decision = content.decision;
      summary = content.summary;
      if (content.can_undo !== undefined) canUndo = content.can_undo;
      return content;
    } catch (error) {
      complain(error);
      window.scrollTo(0, 0);
      return null;
    }
  });
  return queue;
}

async function decide(verdict, edits = []) {
  if (deciding) return;  // the next row is not there yet: a second key would be about this one
  deciding = true;
  const content = await change("decide", { row: row().number, verdict, note: at("note").value, edits });
  deciding = false;
  if (!content) return;
  stopEditing();
  advance();
}

function advance() {
  const order = [...rows.keys()].map((i) => (here + 1 + i) % rows.length);
  const open = order.find((i) => decisionOf(rows[i]).verdict === "undecided");
  if (open === undefined) { show(); showSummary(); } else { go(open); }
}

async function saveNote() {
  const { verdict, edits, note } = decisionOf(row());
  if (at("note").value.trim() === note) return;
  await change("decide", { row: row().number, verdict, note: at("note").value, edits });
  show();
}

async function undo() {
  const content = await change("undo", {});
  if (content) go(rows.findIndex((r) => r.number === content.decision.row));
}

async function go(index) {
  if (index < 0 || index >= rows.length) return;
  here = index;
  at("summary").hidden = true;
  stopEditing();
  show();
  window.scrollTo(0, 0);
}

function startEditing() {
  if (editing || !row().texts.length) return;
  editing = true;
  document.body.classList.add("is-editing");
  showTexts();
  (document.querySelector(".turn.assistant textarea") || document.querySelector("textarea")).focus();
}

function stopEditing() {
  editing = false;
  document.body.classList.remove("is-editing");
}

function save() {
  const edits = [...document.querySelectorAll("textarea")].map((area) => ({
    path: JSON.parse(area.dataset.path), after: area.value,
  }));
  // A text area shows every line end as \n: a text that was not touched goes back as it was.
  const touched = edits.filter((e) => {
    const text = row().texts.find((t) => JSON.stringify(t.path) === JSON.stringify(e.path)).text;
    return e.after !== text.replace(/\r\n?/g, "\n");
  });
  if (touched.length) decide("fix", touched);
  else if (decisionOf(row()).verdict === "fix") decide("keep");
  else { stopEditing(); show(); }
}

function showTexts() {
  const changes = edited(row());
  at("texts").replaceChildren(...row().texts.map((text) => {
    const path = JSON.stringify(text.path);
    const now = changes.has(path) ? changes.get(path) : text.text;
    const turn = make("article", `turn ${text.role || "text"} ${text.form}${changes.has(path) ? " changed" : ""}`);
    const what = ROLES[text.role] || "Text";
    turn.append(make("h2", "", `${what}${text.form === "json" ? ", call of a tool" : ""} · ${text.path.join(".")}`));
    if (editing) {
      const area = make("textarea");
      area.value = now;
      area.dataset.path = path;
      area.setAttribute("aria-label", `${what}, ${text.path.join(".")}`);
      if (!CSS.supports("field-sizing", "content")) area.rows = Math.min(30, 2 + now.split("\n").length + now.length / 90);
      turn.append(area);
    } else {
      turn.append(now ? make("p", "", now) : make("p", "empty", "(empty)"));
    }
    return turn;
  }));
}

function show() {
  const { verdict, note } = decisionOf(row());
  at("row").hidden = at("bar").hidden = false;
  at("place").textContent = `Row ${here + 1} of ${rows.length} · ${row().source}`;
  at("state").textContent = WORDS[verdict];
  at("state").className = `state ${verdict}`;
  at("found").replaceChildren(...row().findings.map((found) => {
    const item = make("li");
    item.append(make("span", `badge ${found.severity}`, found.rule.replaceAll("_", " ")), ` ${found.message}`);
    return item;
  }));
  showTexts();
  at("rest").hidden = !row().rest;
  at("rest").querySelector("pre").textContent = row().rest;
  at("note").value = note;
  for (const [id, name] of [["keep", "keep"], ["drop", "drop"], ["edit", "fix"]])
    at(id).setAttribute("aria-pressed", String(verdict === name));
  at("edit").disabled = !row().texts.length;
  at("previous").disabled = here === 0;
  at("next").disabled = here === rows.length - 1;
  at("undo").disabled = !canUndo;
  showProgress();
}

function showProgress() {
  const { keep, drop, fix } = summary.counts;
  at("tally").textContent = `${summary.num_decided} of ${rows.length} decided · ${keep} kept · ${drop} dropped · ${fix} fixed`;
  for (const [index, button] of [...at("map").querySelectorAll("button")].entries()) {
    const { verdict } = decisionOf(rows[index]);
    button.className = verdict;
    button.setAttribute("aria-label", `Row ${index + 1}${WORDS[verdict] ? `: ${WORDS[verdict]}` : ""}`);
    if (index === here) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  }
}

function showSummary() {
  if (editing) return;
  at("row").hidden = at("bar").hidden = true;
  at("summary").hidden = false;
  at("sentence").textContent = summary.sentence;
  const figure = (name, value) => {
    const box = make("div");
    box.append(make("dt", "", name), make("dd", "", value));
    return box;
  };
  const range = (e) => `${e.num_rows.toLocaleString("en")} (${e.low_rows.toLocaleString("en")}–${e.high_rows.toLocaleString("en")})`;
  const figures = [figure("Kept", summary.counts.keep), figure("Dropped", summary.counts.drop), figure("Fixed", summary.counts.fix)];
  figures.push(figure("Rows in all", summary.num_rows.toLocaleString("en")));
  if (summary.to_drop) figures.push(figure("Expected to drop", range(summary.to_drop)), figure("Expected to drop or fix", range(summary.bad)));
  at("figures").replaceChildren(...figures);
  const open = rows.length - summary.num_decided;
  at("left").textContent = open ? `${open} rows are not decided yet; they would stay as they are.` : "";
  window.scrollTo(0, 0);
  at("end-button").focus();
}

function leaveSummary() {
  at("summary").hidden = true;
  go(here);
}

async function end() {
  if (!(await change("end", {}))) return;
  ended = true;
  at("summary").hidden = at("row").hidden = at("bar").hidden = true;
  at("ended").hidden = false;
}

function showHelp() { at("help").showModal(); }

function onKey(event) {
  if (ended || at("help").open || event.isComposing) return;
  const command = event.ctrlKey || event.metaKey;
  if (editing) {
    if (event.key === "Escape") { event.preventDefault(); stopEditing(); show(); }
    if (event.key === "Enter" && command) { event.preventDefault(); save(); }
    return;
  }
  if (event.target === at("note")) {
    if (event.key === "Escape") { at("note").value = decisionOf(row()).note; at("note").blur(); dropsWithNote = false; }
    if (event.key === "Enter") {
      event.preventDefault();
      at("note").blur();  // a changed note is saved by its change event
      if (dropsWithNote) decide("drop");
      dropsWithNote = false;
    }
    return;
  }
  if (command && event.key === "z") { event.preventDefault(); undo(); return; }
  if (command || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
  if (!at("summary").hidden) {
    const keys = { Escape: leaveSummary, s: leaveSummary, u: undo, "?": showHelp, ArrowLeft: leaveSummary };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
    return;
  }
  const note = () => { at("note").focus(); at("note").select(); };
  const keys = {
    k: () => decide("keep"),
    d: () => decide("drop"),
    D: () => { dropsWithNote = true; note(); },
    e: startEditing,
    n: note,
    u: undo,
    s: showSummary,
    "?": showHelp,
    ArrowRight: () => go(here + 1),
    ArrowLeft: () => go(here - 1),
    Home: () => go(0),
    End: () => go(rows.length - 1),
  };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
}

async function start() {
  try {
    const content = await ask("rows");
    rows = content.rows;
    summary = content.summary;
    canUndo = content.can_undo;
  } catch (error) {
    complain(error);
    return;
  }
  at("map").replaceChildren(...rows.map((_, index) => {
    const item = make("li");
    const button = make("button");
    button.type = "button";
    button.addEventListener("click", () => go(index));
    item.append(button);
    return item;
  }));
  const open = rows.findIndex((r) => decisionOf(r).verdict === "undecided");
  go(Math.max(0, open));
  if (open < 0) showSummary();
}

document.addEventListener("keydown", onKey);
at("keep").addEventListener("click", () => decide("keep"));
at("drop").addEventListener("click", () => decide("drop"));
at("edit").addEventListener("click", startEditing);
at("save").addEventListener("click", save);
at("cancel").addEventListener("click", () => { stopEditing(); show(); });
at("undo").addEventListener("click", undo);
at("previous").addEventListener("click", () => go(here - 1));
at("next").addEventListener("click", () => go(here + 1));
at("note").addEventListener("change", () => { if (!dropsWithNote) saveNote(); });
at("help-button").addEventListener("click", showHelp);
at("summary-button").addEventListener("click", showSummary);
at("back-button").addEventListener("click", leaveSummary);
at("end-button").addEventListener("click", end);
window.addEventListener("beforeunload", (event) => { if (editing) event.preventDefault(); });
start();
