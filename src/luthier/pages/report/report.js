// Makes the page handier; without it everything is still there. Filters examples, reads values off the curves.
"use strict";

const PAGE = 20;

for (const section of document.querySelectorAll("[data-examples]")) {
  const form = section.querySelector("form");
  const status = form.querySelector("output");
  const search = form.querySelector("input[type=search]");
  const more = section.querySelector(".more");
  const examples = [...section.querySelectorAll(".example")];
  let limit = PAGE;

  const show = () => {
    const outcome = form.querySelector("input[type=radio]:checked").value;
    const words = search.value.trim().toLowerCase();
    const matching = examples.filter(
      (e) => (outcome === "all" || e.dataset.outcome === outcome) && (!words || e.textContent.toLowerCase().includes(words)),
    );
    const visible = new Set(matching.slice(0, limit));
    for (const example of examples) example.hidden = !visible.has(example);
    more.hidden = matching.length <= limit;
    status.textContent = matching.length === 0 ? "None of the questions" : `${visible.size} of ${matching.length} shown`;
  };
  const restart = () => { limit = PAGE; show(); };

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", restart);
  search.addEventListener("input", restart);
  more.addEventListener("click", () => {
    const before = examples.filter((e) => !e.hidden).length;
    limit += PAGE;
    show();
    const first = examples.filter((e) => !e.hidden)[before];
    if (first) { first.tabIndex = -1; first.focus({ preventScroll: true }); }
  });
  show();
}

for (const figure of document.querySelectorAll("[data-chart]")) {
  const svg = figure.querySelector(".plot-svg");
  const cursor = figure.querySelector(".cursor");
  const readout = figure.querySelector(".readout");
  const probes = [...figure.querySelectorAll(".probe")].map((node) => ({
    node, name: node.dataset.name, marks: JSON.parse(node.dataset.marks),
  }));
  const places = [...new Set(probes.flatMap((p) => p.marks.map((m) => m[0])))].sort((a, b) => a - b);
  let index = -1;

  const nearest = (marks, x) => marks.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
  const hide = () => {
    index = -1;
    readout.textContent = "";
    cursor.setAttribute("hidden", "");
    for (const { node } of probes) node.setAttribute("hidden", "");
  };
  const read = (x) => {
    cursor.removeAttribute("hidden");
    cursor.setAttribute("x1", `${x}%`);
    cursor.setAttribute("x2", `${x}%`);
    readout.textContent = probes.map(({ node, name, marks }) => {
      const [px, py, words] = nearest(marks, x);
      node.removeAttribute("hidden");
      node.setAttribute("cx", `${px}%`);
      node.setAttribute("cy", `${py}%`);
      return probes.length > 1 ? `${name}, ${words}` : words;
    }).join(" · ");
  };
  const moveTo = (i) => { index = Math.max(0, Math.min(places.length - 1, i)); read(places[index]); };

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const x = (100 * (event.clientX - box.left)) / box.width;
    moveTo(places.reduce((best, p, i) => (Math.abs(p - x) < Math.abs(places[best] - x) ? i : best), 0));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") hide();
    if (step === undefined) return;
    event.preventDefault();
    moveTo(index < 0 ? (step > 0 && step < Infinity ? 0 : step < 0 && step > -Infinity ? places.length - 1 : step) : index + step);
  });
}
