// A conversation with one model or two. Each side remembers its own answers; text comes as it is made, and is never markup.
"use strict";

const at = (id) => document.getElementById(id);
const make = (tag, name, text) => {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
};
const ENDED_BY = { length: "cut off at the longest answer allowed", stop: "" };

let key = "";
let kinds = new Map();
let turns = []; // { asked, answers: Map(model → text) }
let running = null;

function headers() {
  const found = { "Content-Type": "application/json" };
  if (key) found.Authorization = `Bearer ${key}`;
  return found;
}

function complain(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

async function failure(answer) {
  if (answer.status === 401) at("key-form").hidden = false;
  try {
    return (await answer.json()).error.message;
  } catch {
    return `The server answered ${answer.status}.`;
  }
}

async function listModels() {
  let answer;
  try {
    answer = await fetch("v1/models", { headers: headers() });
  } catch {
    return complain("The server does not answer. Start it again, and reload this page.");
  }
  if (!answer.ok) {
    const why = await failure(answer);
    return complain(answer.status === 401 && !key ? "" : why);
  }
  complain("");
  at("key-form").hidden = true;
  const models = (await answer.json()).data;
  kinds = new Map(models.map((model) => [model.id, model.kind]));
  const names = [...kinds.keys()];
  const tuned = models.find((model) => model.kind !== "base");
  fill(at("first"), names, at("first").value || (tuned || models[0]).id);
  fill(at("second"), ["", ...names], at("second").value || (tuned && kinds.has("base") ? "base" : ""));
  at("message").focus();
}

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name) => {
    const option = make("option", "", name || "nobody");
    option.value = name;
    return option;
  }));
  select.value = names.includes(chosen) ? chosen : names[0];
}

// What a model remembers: its own answers, and where it was not asked, those of the other.
function messagesFor(model, asked) {
  const messages = [];
  for (const turn of turns) {
    const answer = turn.answers.get(model) ?? [...turn.answers.values()][0];
    if (answer === undefined) continue;
    messages.push({ role: "user", content: turn.asked }, { role: "assistant", content: answer });
  }
  return [...messages, { role: "user", content: asked }];
}

async function* chunks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

async function answer(model, asked, turn, signal) {
  const side = make("section", `side running ${kinds.get(model)}`);
  const text = make("p", "", "");
  const note = make("p", "note", "");
  side.append(make("h2", "", model), text, note);
  turn.node.querySelector(".sides").append(side);
  const wish = { model, messages: messagesFor(model, asked), stream: true };
  if (at("temperature").value !== "") wish.temperature = Number(at("temperature").value);
  const say = (words, isBad) => {
    note.textContent = words;
    note.classList.toggle("bad", isBad);
  };
  try {
    const answered = await fetch("v1/chat/completions", {
      method: "POST", headers: headers(), body: JSON.stringify(wish), signal,
    });
    if (!answered.ok) throw new Error(await failure(answered));
    for await (const chunk of chunks(answered.body)) {
      if (chunk.error) throw new Error(chunk.error.message);
      const choice = chunk.choices[0];
      const atEnd = innerHeight + scrollY >= document.body.scrollHeight - 40;
      text.append(choice.delta.content || "");
      if (choice.finish_reason) say(ENDED_BY[choice.finish_reason], false);
      if (atEnd) scrollTo(0, document.body.scrollHeight);
    }
  } catch (error) {
    if (error.name === "AbortError") say("stopped", false);
    else say(error instanceof TypeError ? "The server does not answer." : error.message, true);
  }
  side.classList.remove("running");
  if (text.textContent) turn.answers.set(model, text.textContent);
  else if (!note.textContent) say("(empty answer)", false);
}

async function send() {
  const asked = at("message").value.trim();
  if (!asked || running || !kinds.size) return;
  at("message").value = "";
  at("empty").hidden = true;
  const turn = { asked, answers: new Map(), node: make("li") };
  turn.node.append(make("p", "asked", asked), make("div", "sides"));
  at("turns").append(turn.node);
  scrollTo(0, document.body.scrollHeight);
  running = new AbortController();
  show();
  const models = [...new Set([at("first").value, at("second").value].filter(Boolean))];
  await Promise.all(models.map((model) => answer(model, asked, turn, running.signal)));
  turns.push(turn);
  running = null;
  show();
  at("message").focus();
}

function show() {
  at("send").hidden = Boolean(running);
  at("stop").hidden = !running;
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
at("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
at("stop").addEventListener("click", () => running?.abort());
at("new-button").addEventListener("click", () => {
  running?.abort();
  turns = [];
  at("turns").replaceChildren();
  at("empty").hidden = false;
  at("message").focus();
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  listModels();
});
listModels();
