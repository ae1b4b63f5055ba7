// The page: what is selected, where its data come from, and what is drawn when.

const $ = (id) => document.getElementById(id);
const TOKEN = document.querySelector("meta[name=gps-token]").content;
const LIVE = TOKEN !== "";
const PRINCIPAL = ["principal 1", "principal 2"];

const view = {k: 0, m: 0, group: 0, errorGroup: 0, point: 0, action: "all", actionIndices: [], axes: [...PRINCIPAL], logCost: false,
  facts: null, pieces: [], findings: [], kept: null, piece: null, detail: null, detailOf: null, told: true, sides: {},
  start: 0, endGroup: 0, endPoint: 0, ends: null};

// -- data ------------------------------------------------------------------------------------------------------------

// A page from a file holds its data; a live page requests them from its server. Both give the same objects.
const source = LIVE
  ? {detail: (k) => fetchJSON(`iteration/${k}`), ends: () => fetchJSON("ends"), files: () => fetchJSON("files")}
  : {detail: async (k) => JSON.parse($(`iteration-${k}`).textContent), ends: async () => ($("ends") ? JSON.parse($("ends").textContent) : null), files: async () => JSON.parse($("files").textContent)};

async function fetchJSON(path, options = {}) {
  const response = await fetch(path, {cache: "no-store", ...options});
  const value = await response.json();
  if (!response.ok) throw new Error(value.error);
  return value;
}

const details = new Map();

async function loadDetail(k) {
  if (!details.has(k)) {
    if (details.size >= 12) details.delete(details.keys().next().value);
    details.set(k, await source.detail(k));
  }
  return details.get(k);
}

// The iteration whose details are shown for iteration k: k itself, or the nearest that the page holds.
const nearest = (k) => (view.kept ? view.kept.reduce((a, b) => (Math.abs(b - k) < Math.abs(a - k) ? b : a)) : k);

// -- drawing ---------------------------------------------------------------------------------------------------------

const OVERVIEW = {glance, cost, success, kl, "kl-steps": klSteps, eta, entropy, multiplier, "model-error": modelError, saturated,
  "policy-kl": policyKl, "policy-loss": policyLoss, "policy-noise": policyNoise, "one-step": oneStep, coverage, "model-loss": modelLoss, planner, "plan-time": planTime, "model-cost": modelCost, "gradient-course": gradientCourse, time};
const DETAIL = {states, actions, space, feedback, "mean-action": meanAction, noise, model, ahead, plan, "plan-distance": planDistance, effective, search, "kl-now": klNow, "policy-kl-now": policyKlNow, training, optimising, gradient, mixture};
const END = {map, "end-states": endStates, "end-actions": endActions, "end-space": endSpace};
const FIGURES = {...OVERVIEW, ...DETAIL, ...END};
// The side of a record that a figure shows; the others are drawn for every algorithm.
const SIDE_OF = {
  ...Object.fromEntries(["entropy", "multiplier", "feedback", "mean-action", "noise"].map((id) => [id, "local"])),
  ...Object.fromEntries(["kl", "kl-steps", "eta", "search", "kl-now"].map((id) => [id, "search"])),
  ...Object.fromEntries(["model-error", "model"].map((id) => [id, "dynamics"])),
  ...Object.fromEntries(["policy-kl", "policy-loss", "policy-noise", "policy-kl-now", "training"].map((id) => [id, "trained"])),
  mixture: "mixture", "model-loss": "losses", "one-step": "accuracy", coverage: "coverage", ahead: "ahead", planner: "planner",
  "plan-time": "pace", plan: "plan", "plan-distance": "distance", effective: "effective",
  "model-cost": "optimisation", optimising: "optimisation", "gradient-course": "gradient", gradient: "gradient",
};
// The sides that the records of a run have. Elements of the class of-NAME are hidden where NAME is missing.
const SIDES = {
  local: (piece) => piece.local !== null,
  search: (piece) => piece.local !== null && piece.local.bound.some((bound) => bound !== null),
  dynamics: (piece) => piece.local !== null && piece.local.fitted,
  policy: (piece) => piece.policy !== null,
  trained: (piece) => Boolean(piece.policy?.trained || piece.policy?.existed),
  mixture: (piece) => Boolean(piece.model?.mixture || piece.local?.fitted),
  losses: (piece) => Boolean(piece.model?.held_out),
  ahead: (piece) => Boolean(piece.model?.horizon || piece.model?.one_step),
  fit: (piece) => Boolean(piece.model?.name),
  accuracy: (piece) => Boolean(piece.model?.one_step),
  coverage: (piece) => Boolean(piece.model?.coverage),
  planner: (piece) => piece.planner !== null,
  pace: (piece) => piece.planner?.seconds != null,
  plan: (piece) => Boolean(piece.planner?.planned),
  distance: (piece) => Boolean(piece.planner?.planned) && piece.iteration > 0,
  effective: (piece) => Boolean(piece.planner?.effective),
  optimisation: (piece) => Boolean(piece.optimisation),
  gradient: (piece) => Boolean(piece.optimisation?.gradients),
};
const CONFIG = {displaylogo: false, responsive: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]};

const dirty = new Set(), visible = new Set();
let scheduled = false;

// Figures are drawn when they come near the screen: a page of many figures opens at once.
const observer = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) isIntersecting ? visible.add(target.id) : visible.delete(target.id);
  schedule();
}, {rootMargin: "60% 0px"});

function redraw(figures) {
  for (const id of Object.keys(figures)) dirty.add(id);
  schedule();
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    for (const id of dirty) if (visible.has(id)) draw(id);
  });
}

function draw(id) {
  if (id in DETAIL && !view.detail) return;
  const element = $(id);
  dirty.delete(id);
  if (!applicable(id) || !element.clientWidth) return;  // it is in a section that is closed: see `ontoggle`
  const {data, layout} = FIGURES[id](view, colours(), element.clientWidth);
  const known = Boolean(element._fullLayout);
  Plotly.react(element, data, {...layout, width: element.clientWidth}, CONFIG);
  if (!known && id === "map") element.on("plotly_click", ({points: [point]}) => chooseStart(point.customdata));
  if (!known && id in OVERVIEW) {
    element.on("plotly_click", ({points: [point]}) => select(Math.round(point.x), id === "glance" && point.y < view.facts.sizes.M ? Math.round(point.y) : view.m));
  }
}

// True if a figure has data. Shows a sentence in place of some figures that have none.
function applicable(id) {
  if (id in SIDE_OF && !view.sides[SIDE_OF[id]]) return false;
  if (id in END) return Boolean(view.ends) && (id !== "map" || Boolean(view.facts.policy.places)) && (id !== "end-space" || view.facts.points.length > 0);
  if (id === "space") return view.facts.points.length > 0;
  if (id === "plan") return Boolean(view.detail.plan);
  if (id === "plan-distance") return Boolean(view.detail.plan?.planned);
  if (id === "noise") return !($("noise-figure").hidden = view.actionIndices.length < 2);
  if (id !== "model" && id !== "mixture") return true;
  const has = Boolean(view.detail[id]) && (id === "mixture" || view.detail.model.overall[view.m] !== null);
  $(id).hidden = !has;
  $(`${id}-none`).hidden = has;
  if (id === "model" && !has) {
    $("model-none").textContent = view.detail.model ? "The samples of the next iteration have no spread to compare with: this needs at least two of each condition."
      : "There is no next iteration yet to test this model on.";
  }
  return has;
}

function drawAll() { for (const id of [...dirty]) draw(id); }

// -- selection -------------------------------------------------------------------------------------------------------

function select(k, m = view.m) {
  view.k = Math.min(Math.max(k, 0), view.pieces.length - 1);
  view.m = Math.min(Math.max(m, 0), view.facts.sizes.M - 1);
  view.piece = view.pieces[view.k];
  $("iteration").value = view.k;
  $("iteration-number").textContent = view.k;
  $("condition").value = view.m;
  $("previous").disabled = view.k === 0;
  $("next").disabled = view.k === view.pieces.length - 1;
  showWords();
  redraw(OVERVIEW);
  showDetail();
}

async function showDetail() {
  const k = nearest(view.k);
  try {
    const detail = await loadDetail(k);
    if (nearest(view.k) !== k) return;  // another iteration has been selected since
    view.detail = detail;
    view.detailOf = k;
  } catch (error) {
    if (LIVE) setTimeout(showDetail, 1000);  // the iteration may be being rewritten
    else throw error;
    return;
  }
  $("kept").hidden = k === view.k;
  $("kept").textContent = `This page holds the details of ${view.kept ? view.kept.length : ""} of ${view.pieces.length} iterations. ` +
    `The figures with trajectories, controllers, models and clusters show iteration ${k}, the nearest of them; gps view shows all.`;
  const left = view.facts.sizes.N - view.detail.samples.numbers.length;
  $("samples-left-out").textContent = left > 0 ? `(${left} of ${view.facts.sizes.N} samples are left out)` : "";
  $("plan").closest("figure").hidden = !view.detail.plan;
  $("plan-distance").closest("figure").hidden = !view.detail.plan?.planned;
  document.body.dataset.shown = `${view.k}-${view.m}`;
  showRoles();
  redraw(DETAIL);
}

function showWords() {
  const [status, ...rest] = view.piece.words[view.m];
  $("inside-title").textContent = `Inside iteration ${view.k}, ${label(view, view.m)}`;
  const good = view.piece.ok[view.m], {policy} = view.piece;
  $("words").replaceChildren(Object.assign(document.createElement("b"), {textContent: status, className: good ? "" : "bad"}), " " + rest.join(" "));
  const cost = view.piece.cost[view.m];
  const succeeded = view.piece.successes ? `${view.piece.successes[view.m]}/${view.piece.samples} succeeded · ` : "";
  $("selected-state").textContent = `${cost === null ? "" : `cost ${cost.toPrecision(4)} · `}${succeeded}${policy ? `policy ${policy.label} · ` : ""}${status}`;
  showModel(view.piece.model);
  const {optimisation} = view.piece;
  if (optimisation) Object.assign($("optimisation-status"), {textContent: optimisation.message || optimisation.sentence, className: optimisation.ok ? "" : "bad"});
  if (policy) Object.assign($("policy-status"), {textContent: policy.sentence, className: policy.ok ? "" : "bad"});
}

// Says what the global model is, how its last fit ended, and what to do about it.
function showModel(model) {
  const element = (tag, className, textContent) => Object.assign(document.createElement(tag), {className, textContent});
  const [named, ...rest] = view.piece.model_words;
  $("model-status").replaceChildren(...(named ? [named, " ", element("span", model.ok ? "" : "bad", rest.join(" ")), element("span", "muted", ` ${model.remedy}`)] : []));
}

// Says who was sampled, and what the two colours are.
function showRoles() {
  const piece = view.pieces[view.detailOf], {policy} = piece, {ran, beside} = view.detail;
  if (!policy) return;
  const player = playerOf(view, piece), teacher = teacherOf(view.facts);
  const words = [Object.assign(document.createElement("b"), {textContent: player.acted})];
  if (ran && player.has_policy) words.push(` Blue: the policy as it was. Purple: the ${teacher.one} that this iteration made around it, which taught it.`);
  else if (beside) words.push(` Blue: what the policy would have done at these samples, linearised. Purple: the ${player.one} that ran.`);
  if (!policy.existed) words.push(` There was no policy yet. ${policy.trained ? "It learned for the first time." : "It was not trained in this iteration either."}`);
  if (beside?.tube) words.push(" The model is not valid far from the samples: the figures are cut there.");
  $("roles").replaceChildren(...words);
  for (const element of document.querySelectorAll(".of-other-tube .teacher")) element.textContent = beside ? teacher.one : player.one;
  for (const element of document.querySelectorAll(".of-policy-tube")) element.hidden = !ran || !(beside || player.has_policy);
  for (const element of document.querySelectorAll(".of-other-tube")) element.hidden = !ran || !(beside || !player.has_policy);
}

// -- words and choices -----------------------------------------------------------------------------------------------

function options(select, names, values = names.map((_, i) => i)) {
  const chosen = select.value;
  select.replaceChildren(...names.map((name, i) => new Option(name, values[i])));
  if (values.map(String).includes(chosen)) select.value = chosen;
}

function showFacts() {
  const {facts} = view;
  document.title = `${facts.name}, seed ${facts.seed}`;
  $("name").replaceChildren(facts.name, " ", Object.assign(document.createElement("small"), {textContent: `seed ${facts.seed}`}));
  $("description").textContent = facts.description;
  $("origin").textContent = `${facts.environment} · ${facts.algorithm} · started ${facts.started.slice(0, 16).replace("T", " ")} UTC · ${facts.path}`;
  $("command").textContent = facts.command;
  $("experiment").textContent = facts.experiment;
  $("versions").textContent = Object.entries(facts.versions).map(([name, version]) => `${name} ${version}`).join("\n");
  for (const element of document.querySelectorAll(".teacher")) element.textContent = facts.policy ? teacherOf(facts).one : "";
  for (const element of document.querySelectorAll(".teachers")) element.textContent = facts.policy ? teacherOf(facts).all : "";
  $("main").hidden = !view.pieces.length;
}

// A sentence whose commands stand between backticks, as elements.
const marked = (text) => text.split("`").map((part, i) => (i % 2 ? Object.assign(document.createElement("code"), {textContent: part}) : part));

function showFindings() {
  const item = (finding) => {
    const element = document.createElement("li"), link = document.createElement("a");
    const {first, last, worst, conditions: [condition, ...others]} = finding, when = `iteration${last > first ? `s ${first} to ${last}` : ` ${first}`}:`;
    const which = others.length > 2 && others.length === view.facts.sizes.M - 1 ? "all others" : others.sort((a, b) => a - b).join(", ");
    const also = others.length ? ` (${which} too)` : "";
    link.textContent = condition === undefined ? `I${when.slice(1)}` : `Condition ${condition}${also}, ${when}`;
    link.href = "#inside";
    link.onclick = () => select(worst, condition ?? view.m);
    element.className = finding.severity;
    element.append(link, " ", ...(last > first ? [`worst in ${worst}: `] : []), ...marked(finding.text));
    if (finding.remedy) { const remedy = Object.assign(document.createElement("span"), {className: "muted remedy"}); remedy.append(...marked(finding.remedy)); element.append(" ", remedy); }
    return element;
  };
  const list = (findings) => { const element = document.createElement("ul"); element.append(...findings.map(item)); return element; };
  const first = view.findings.slice(0, 8), rest = view.findings.slice(8);
  $("findings").replaceChildren(list(first));
  if (rest.length) {
    const more = document.createElement("details"), open = $("findings").dataset.open === "yes";
    more.open = open;
    more.ontoggle = () => { $("findings").dataset.open = more.open ? "yes" : "no"; };
    more.append(Object.assign(document.createElement("summary"), {textContent: `${rest.length} more`}), list(rest));
    $("findings").append(more);
  }
}

function showChoices() {
  const {facts} = view, {M, du, dx} = facts.sizes, size = 12;
  $("iteration").max = view.pieces.length - 1;
  options($("condition"), range(M).map((m) => (facts.conditions[m] ? `${m} · ${facts.conditions[m]}` : `${m}`)));
  options($("group"), facts.groups.map((group) => group.name));
  options($("error-group"), facts.groups.map((group) => group.name));
  options($("action"), du > 1 ? ["all", ...facts.actions] : facts.actions, du > 1 ? ["all", ...range(du)] : [0]);
  view.action = $("action").value;
  const starts = range(Math.ceil(du / size)).map((i) => i * size);
  options($("action-group"), starts.map((i) => `${facts.actions[i]} to ${facts.actions[Math.min(i + size, du) - 1]}`));
  document.querySelector(".action-group").hidden = starts.length < 2;
  view.actionIndices = range(du).slice(size * Number($("action-group").value)).slice(0, size);
  options($("point"), facts.points.map((point) => point.name));
  $("space-figure").hidden = !facts.points.length;
  showPoint();
  for (const i of [0, 1]) {
    options($(`axis-${i}`), [...PRINCIPAL, ...facts.entries, ...facts.actions], [...PRINCIPAL, ...range(dx + du)]);
    $(`axis-${i}`).value = view.axes[i];
  }
  $("executed").textContent = facts.execute === "max_entropy" ? "" : `The samples were executed with execute = "${facts.execute}"; the tube is that of the controller itself.`;
}

// -- the ends --------------------------------------------------------------------------------------------------------

let shownEnds = "";

// The results of the policy and its teachers without noise; loaded again when they have changed.
async function showEnds() {
  const {facts} = view, known = Boolean(facts.policy) && facts.evaluation.length > 0;
  $("worth").hidden = !facts.policy;
  $("worth-none").hidden = known;
  $("worth-known").hidden = $("end").hidden = !known;
  if (!known) { view.ends = null; shownEnds = ""; return; }
  showTiles();
  for (const element of document.querySelectorAll(".learned")) element.textContent = learned(facts).one;
  for (const element of document.querySelectorAll(".of-taught")) element.hidden = !facts.policy.taught.length;
  $("map-figure").hidden = !facts.policy.places;
  const flat = facts.policy.places?.axes.length === 1;
  $("map-about").textContent = flat ? "The cost from each start." : "The place of each start.";
  $("map-local").textContent = `the ${teacherOf(facts).one}${flat ? "" : " succeeds"}`;
  $("map-ring").hidden = !facts.policy.taught.length || (!flat && !view.told);
  const now = JSON.stringify([facts.evaluation, facts.policy]);
  if (now === shownEnds) return;
  shownEnds = now;
  view.ends = await source.ends();
  if (!view.ends) { $("end").hidden = true; return; }
  const all = starts(facts), kept = (start) => view.ends[start.kind === "unseen" ? "unseen" : "final"]?.starts.includes(start.i);
  const shown = range(all.length).filter((i) => kept(all[i]));
  options($("start"), shown.map((i) => startLabel(all[i])), shown);
  $("end-left-out").textContent = shown.length < all.length ? `(${all.length - shown.length} of ${all.length} starts are left out)` : "";
  options($("end-group"), facts.groups.map((group) => group.name));
  options($("end-point"), facts.points.map((point) => point.name));
  $("end-space-figure").hidden = !facts.points.length;
  chooseStart(shown.includes(view.start) ? view.start : shown[0]);
}

function showTiles() {
  const {evaluation, policy} = view.facts, player = `The ${view.facts.players[evaluation[0].player].all}`;
  const tile = (title, items, kind) => {
    const element = document.createElement("div"), mean = (values) => (values.reduce((a, b) => a + b, 0) / values.length).toPrecision(4);
    const costs = items.map((item) => item.cost), returns = items.map((item) => item.returns);
    const parts = [...(returns.includes(null) ? [] : [`mean return ${mean(returns)}`]), costs.includes(null) ? "some episodes ended early" : `mean cost ${mean(costs)}`];
    const big = Object.assign(document.createElement("b"), {textContent: view.told ? `${items.filter(won).length} of ${items.length}` : parts[0]});
    const small = view.told ? ["succeed", ...parts] : [...parts.slice(1), `${items.length} starts`];
    element.className = `tile ${kind}`;
    element.append(Object.assign(document.createElement("span"), {textContent: title}), big, Object.assign(document.createElement("span"), {className: "muted", textContent: small.join(" · ")}));
    return element;
  };
  $("tiles").replaceChildren(tile(`${player}, from the training starts`, evaluation, ""), ...(policy.unseen.length ? [tile(`${player}, from unseen starts`, policy.unseen, "")] : []),
    ...(policy.taught.length ? [tile(`The ${teacherOf(view.facts).all}, from the training starts`, policy.taught, "local")] : []));
}

function showStarts() {
  const cell = (content, tag = "td") => { const element = document.createElement(tag); element.append(content); return element; };
  const mark = (item) => {
    if (!item) return "–";
    const element = document.createElement("span"), sign = view.told ? (won(item) ? "✓ " : "✕ ") : "";
    element.append(Object.assign(document.createElement("b"), {className: won(item) ? "good" : "bad", textContent: sign}), item.cost === null ? "ended early" : item.cost.toPrecision(4));
    return element;
  };
  const head = document.createElement("tr"), choices = Array.from($("start").options, (option) => Number(option.value));
  const taught = view.facts.policy.taught.length > 0;
  head.append(...["start", learned(view.facts).one, ...(taught ? [teacherOf(view.facts).one] : [])].map((name) => cell(name, "th")));
  $("starts").replaceChildren(head, ...starts(view.facts).map((start, i) => {
    const row = document.createElement("tr"), label = choices.includes(i) ? Object.assign(document.createElement("button"), {textContent: startLabel(start)}) : startLabel(start);
    if (choices.includes(i)) label.onclick = () => chooseStart(i);
    row.className = i === view.start ? "chosen" : "";
    row.append(cell(label), cell(mark(start.policy)), ...(taught ? [cell(mark(start.taught))] : []));
    return row;
  }));
}

function chooseStart(i) {
  if (!Array.from($("start").options).some((option) => Number(option.value) === i)) return;
  view.start = i;
  $("start").value = i;
  const {kind, policy, taught} = starts(view.facts)[i];
  $("end-words").textContent = `The ${learned(view.facts).one}: ${outcome(policy)}.${taught ? ` The ${teacherOf(view.facts).one}: ${outcome(taught)}.` : kind === "unseen" ? " It was not trained from this start." : ""}`;
  $("end-others").textContent = kind === "unseen" ? "unseen starts" : "training starts";
  showStarts();
  redraw(END);
}

// -- files -----------------------------------------------------------------------------------------------------------

// Shows the videos that lie in the run directory, and offers its last controllers for download.
async function showFiles() {
  const {controllers, about, videos} = await source.files();
  const address = ({kind, data}) => URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], {type: kind}));
  $("download").hidden = !controllers;
  if (controllers) Object.assign($("controllers"), {href: address(controllers), download: controllers.name, textContent: controllers.name});
  $("controllers-about").textContent = about;
  $("moves").hidden = !videos.length;
  $("videos").replaceChildren(...videos.map((video) => {
    const figure = document.createElement("figure"), still = video.kind.startsWith("image/"), moving = document.createElement(still ? "img" : "video");
    Object.assign(moving, {src: address(video), ...(still ? {alt: video.name} : {controls: true, loop: true, muted: true, autoplay: true})});
    figure.append(Object.assign(document.createElement("figcaption"), {textContent: video.name}), moving);
    return figure;
  }));
}

function showPoint() {
  const point = view.facts.points[view.point];
  const where = view.sides.dynamics ? "in the model" : "of the samples";
  const thick = !view.sides.local ? "" : view.facts.policy ? ` Thick: the means ${where}, for the policy (blue) and the ${teacherOf(view.facts).one} (purple).` : ` Blue: the mean ${where}.`;
  if (point) $("space-caption").textContent = point.relative ? `Paths of ${point.name}: the first relative to the second, so the target is the origin.${thick} Drag to turn.`
    : `Paths of ${point.name} in the world.${thick} Drag to turn.`;
}

function show(overview) {
  view.facts = {...overview.facts, ...overview.facts.axes};
  view.findings = overview.findings;
  view.kept = overview.kept ?? null;
  view.told = view.pieces.some((piece) => piece.successes !== null);
  document.body.classList.toggle("is-told", view.told);
  document.body.classList.toggle("has-limits", [...(view.facts.low ?? []), ...(view.facts.high ?? [])].some((limit) => limit !== null));
  for (const [name, has] of Object.entries(SIDES)) document.body.classList.toggle(`has-${name}`, view.sides[name] = view.pieces.some(has));
  $("model-title").textContent = [view.sides.mixture || view.sides.ahead || view.sides.fit ? "model" : "", view.sides.planner ? "plan" : "", view.sides.local ? "update" : ""].filter(Boolean).map((part) => `the ${part}`).join(", ").replace(/, ([^,]*)$/, " and $1").replace(/^t/, "T");
  showFacts();
  if (!view.pieces.length) return;
  $("summary").textContent = overview.summary.join(" ");
  showFindings();
  showChoices();
  showEnds();
  for (const id of Object.keys(FIGURES)) observer.observe($(id));
}

// Where costs span decades, a straight axis shows the first iteration and nothing else.
function suitLogarithm() {
  const costs = finite(view.pieces.flatMap((piece) => piece.cost));
  const positive = finite(view.pieces.flatMap((piece) => piece.costs.flat())).every((cost) => cost > 0);
  view.logCost = positive && costs.length > 0 && Math.max(...costs) / Math.min(...costs) > 30;
  $("log-cost").checked = view.logCost;
  $("log-cost").disabled = !positive;
}

// The iteration to open with: the one of the gravest finding, or the last.
const opening = () => (view.findings.length && view.findings[0].severity !== "note" ? [view.findings[0].worst, view.findings[0].conditions[0] ?? 0] : [view.pieces.length - 1, 0]);

// -- live ------------------------------------------------------------------------------------------------------------

const STATES = {starting: "starting", running: "running", pausing: "will pause before the next stage", paused: "paused", stopping: "will stop when this iteration is on disk",
  stopped: "stopped", finished: "finished"};
let stamps = [], shownState = "";

async function poll() {
  try {
    const version = await fetchJSON("version");
    showState(version);
    const news = String(version.stamps) !== String(stamps) || version.state !== shownState || !view.facts;
    if (news && version.state !== "starting") await update(version);
  } catch (error) {
    $("live").dataset.state = "away";
    $("live-state").textContent = error instanceof TypeError ? "the server has ended; this is its last state (gps view shows the rest)" : error.message;
    for (const name of ["pause", "resume", "stop"]) $(name).disabled = true;
  }
  setTimeout(poll, document.hidden ? 4000 : 1000);
}

function showState({state, at, stage, stamps: done, planned}) {
  $("live").dataset.state = state;
  const where = at ? ` before ${at}` : "", busy = stage && !["paused", "stopped", "finished"].includes(state);
  $("live-state").textContent = `${STATES[state]}${where}${busy ? ` · ${stage}` : ""}${planned === null ? "" : ` · ${done.length} of ${planned} iterations done`}`;
  $("waiting").hidden = view.pieces.length > 0;
  $("waiting").textContent = done.length ? "Reading the iterations …" : busy ? `No iteration is done yet: ${stage} …` : "Waiting for the first iteration …";
  $("pause").disabled = state !== "running";
  $("resume").disabled = !["pausing", "paused", "stopping"].includes(state);
  $("stop").disabled = !["running", "pausing", "paused"].includes(state);
}

async function update(version) {
  const same = version.stamps.findIndex((stamp, i) => stamp !== stamps[i]);
  const from = same < 0 ? version.stamps.length : same;
  const overview = await fetchJSON(`overview/${from}`);
  const opened = !view.pieces.length, following = opened || view.k === view.pieces.length - 1;
  view.pieces = [...view.pieces.slice(0, from), ...overview.pieces];
  stamps = [...version.stamps.slice(0, from), ...overview.stamps];
  shownState = version.state;
  for (const k of [...details.keys()]) if (k >= from - 1) details.delete(k);  // the model of the last one is tested on the new data
  show(overview);
  if (["stopped", "finished"].includes(version.state)) showFiles();
  $("waiting").hidden = view.pieces.length > 0;
  if (!view.pieces.length) return;
  if (opened) suitLogarithm();
  select(following ? view.pieces.length - 1 : view.k);
}

async function ask(what) {
  try {
    await fetchJSON("control", {method: "POST", headers: {"Content-Type": "application/json", "X-Gps-Token": TOKEN}, body: JSON.stringify({request: what})});
    showState(await fetchJSON("version"));
  } catch (error) {
    $("live-state").textContent = error.message;
  }
}

// -- wiring ----------------------------------------------------------------------------------------------------------

$("iteration").oninput = (event) => select(Number(event.target.value));
$("previous").onclick = () => select(view.k - 1);
$("next").onclick = () => select(view.k + 1);
$("condition").onchange = (event) => select(view.k, Number(event.target.value));
$("group").onchange = (event) => { view.group = Number(event.target.value); redraw({states, plan}); };
$("error-group").onchange = (event) => { view.errorGroup = Number(event.target.value); redraw({"one-step": oneStep, ahead}); };
$("action").onchange = (event) => { view.action = event.target.value; redraw({feedback}); };
$("action-group").onchange = () => { showChoices(); redraw({actions, "mean-action": meanAction, noise, "end-actions": endActions}); };
$("point").onchange = (event) => { view.point = Number(event.target.value); showPoint(); redraw({space}); };
$("start").onchange = (event) => chooseStart(Number(event.target.value));
$("end-group").onchange = (event) => { view.endGroup = Number(event.target.value); redraw({"end-states": endStates}); };
$("end-point").onchange = (event) => { view.endPoint = Number(event.target.value); redraw({"end-space": endSpace}); };
$("log-cost").onchange = (event) => { view.logCost = event.target.checked; redraw({cost}); };
for (const i of [0, 1]) $(`axis-${i}`).onchange = (event) => { view.axes[i] = event.target.value; redraw({mixture}); };
for (const name of ["pause", "resume", "stop"]) $(name).onclick = () => ask(name);
matchMedia("(prefers-color-scheme: dark)").onchange = () => redraw(FIGURES);
addEventListener("resize", () => redraw(FIGURES));
addEventListener("beforeprint", drawAll);
for (const element of document.querySelectorAll("details")) {
  element.ontoggle = () => { if (element.open) redraw(Object.fromEntries(Object.entries(FIGURES).filter(([id]) => element.contains($(id))))); };
}

if (LIVE) {
  $("live").hidden = false;
  poll();
} else {
  const overview = JSON.parse($("overview").textContent);
  view.pieces = overview.pieces;
  show(overview);
  suitLogarithm();
  select(...opening());
  showFiles();
}
