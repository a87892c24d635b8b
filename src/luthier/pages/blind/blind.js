// Two answers at a time, left and right: which is better? What was decided is shown as decided only when the server has it on the
// disk. Whose answers they are the page does not know until the end.
"use strict";

const WORDS = { left: "A is better", right: "B is better", tie: "a tie", both_bad: "both bad", undecided: "" };
const at = (id) => document.getElementById(id);

let rows = [];
let summary = null;
let canUndo = false;
let here = 0;
let deciding = false;
let queue = Promise.resolve();
let ended = false;

const row = () => rows[here];

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
      if (content.decision) rows.find((r) => r.number === content.decision.number).decision = content.decision;
      if (content.can_undo !== undefined) ({ summary, can_undo: canUndo } = content);
      return content;
    } catch (error) {
      complain(error);
      window.scrollTo(0, 0);
      return null;
    }
  });
  return queue;
}

async function decide(choice) {
  if (deciding) return;  // the next row is not there yet: a second key would be about this one
  deciding = true;
  const content = await change("decide", { number: row().number, choice, note: at("note").value });
  deciding = false;
  if (content) advance();
}

function advance() {
  const order = [...rows.keys()].map((i) => (here + 1 + i) % rows.length);
  const open = order.find((i) => rows[i].decision.choice === "undecided");
  if (open === undefined) { show(); showSummary(); } else { go(open); }
}

async function saveNote() {
  const { choice, note } = row().decision;
  if (at("note").value.trim() === note) return;
  await change("decide", { number: row().number, choice, note: at("note").value });
  show();
}

async function undo() {
  const content = await change("undo", {});
  if (content) go(rows.findIndex((r) => r.number === content.decision.number));
}

function go(index) {
  if (index < 0 || index >= rows.length) return;
  here = index;
  at("summary").hidden = true;
  show();
  window.scrollTo(0, 0);
}

function fill(node, text) {
  node.textContent = text.trim() ? text : "(nothing was answered)";
  node.classList.toggle("empty", !text.trim());
}

function show() {
  const { choice, note } = row().decision;
  at("row").hidden = at("bar").hidden = false;
  at("place").textContent = `Row ${here + 1} of ${rows.length}`;
  at("state").textContent = WORDS[choice];
  at("asked").textContent = row().asked;
  for (const side of ["left", "right"]) {
    fill(at(side).querySelector(".text"), row()[side]);
    at(side).classList.toggle("chosen", choice === side);
  }
  at("reference").hidden = !row().reference;
  at("reference").open = false;
  at("reference").querySelector(".text").textContent = row().reference;
  at("note").value = note;
  for (const name of ["left", "tie", "both_bad", "right"]) at(`choose-${name}`).setAttribute("aria-pressed", String(choice === name));
  at("previous").disabled = here === 0;
  at("next").disabled = here === rows.length - 1;
  at("undo").disabled = !canUndo;
  at("tally").textContent = `${summary.num_decided} of ${rows.length} decided`;
  for (const [index, button] of [...at("map").querySelectorAll("button")].entries()) {
    const isDecided = rows[index].decision.choice !== "undecided";
    button.className = isDecided ? "decided" : "";
    button.setAttribute("aria-label", `Row ${index + 1}${isDecided ? `: ${WORDS[rows[index].decision.choice]}` : ""}`);
    if (index === here) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  }
}

function showSummary() {
  at("row").hidden = at("bar").hidden = true;
  at("summary").hidden = false;
  const open = rows.length - summary.num_decided;
  const { tie, both_bad: bad } = summary.counts;
  at("sentence").textContent = rows.length
    ? `${summary.num_decided} of ${rows.length} rows are decided; ${tie} ${tie === 1 ? "is a tie" : "are ties"}, ${bad} have two bad answers.`
    : "All answers that were drawn are equal: there is nothing to decide.";
  at("left-over").textContent = open ? `${open} ${open === 1 ? "row is" : "rows are"} not decided; they are left out.` : "";
  at("back-button").hidden = !rows.length;
  window.scrollTo(0, 0);
  at("end-button").focus();
}

function leaveSummary() { if (rows.length) go(here); }

async function end() {
  const content = await change("end", {});
  if (!content) return;
  ended = true;
  at("summary").hidden = at("row").hidden = at("bar").hidden = true;
  at("result").textContent = content.summary.sentence;
  at("ended").hidden = false;
}

function showHelp() { at("help").showModal(); }

function onKey(event) {
  if (ended || at("help").open || event.isComposing) return;
  const command = event.ctrlKey || event.metaKey;
  if (event.target === at("note")) {
    if (event.key === "Escape") { at("note").value = row().decision.note; at("note").blur(); }
    if (event.key === "Enter") { event.preventDefault(); at("note").blur(); }  // a changed note is saved by its change event
    return;
  }
  if (command && event.key === "z") { event.preventDefault(); undo(); return; }
  if (command || event.altKey || event.repeat) return;
  if (!at("summary").hidden) {
    const keys = { Escape: leaveSummary, u: undo, "?": showHelp };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
    return;
  }
  if (!rows.length) return;
  const keys = {
    ArrowLeft: () => decide("left"),
    ArrowRight: () => decide("right"),
    t: () => decide("tie"),
    b: () => decide("both_bad"),
    n: () => { at("note").focus(); at("note").select(); },
    p: () => go(here - 1),
    s: () => go(here + 1),
    u: undo,
    e: showSummary,
    "?": showHelp,
    Home: () => go(0),
    End: () => go(rows.length - 1),
  };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
}

async function start() {
  try {
    const content = await ask("rows");
    ({ rows, summary, can_undo: canUndo } = content);
  } catch (error) {
    complain(error);
    return;
  }
  at("map").replaceChildren(...rows.map((_, index) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => go(index));
    item.append(button);
    return item;
  }));
  const open = rows.findIndex((r) => r.decision.choice === "undecided");
  if (rows.length) go(Math.max(0, open));
  if (open < 0) showSummary();
}

document.addEventListener("keydown", onKey);
for (const name of ["left", "tie", "both_bad", "right"]) at(`choose-${name}`).addEventListener("click", () => decide(name));
at("undo").addEventListener("click", undo);
at("previous").addEventListener("click", () => go(here - 1));
at("next").addEventListener("click", () => go(here + 1));
at("note").addEventListener("change", saveNote);
at("help-button").addEventListener("click", showHelp);
at("summary-button").addEventListener("click", showSummary);
at("back-button").addEventListener("click", leaveSummary);
at("end-button").addEventListener("click", end);
start();
