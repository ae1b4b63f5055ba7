// Figures of the whole run. `view.pieces` has an entry for each iteration, `view.k` and `view.m` are selected.

const column = (view, name, m) => view.pieces.map((piece) => piece[name][m]);
const localColumn = (view, name, m) => view.pieces.map((piece) => (piece.local ? piece.local[name][m] : null));
const numbers = (view) => view.pieces.map((piece) => piece.iteration);
const label = (view, m) => `condition ${m}` + (view.facts.conditions[m] ? ` · ${view.facts.conditions[m]}` : "");

// The words for who acted in an iteration, and for the teacher of the policy.
const playerOf = (view, piece) => view.facts.players[piece.player];
const teacherOf = ({players, policy}) => players[policy.teacher];
// Those whose final episodes are shown: the policy, or what taught it while it was not trained.
const learned = ({players, evaluation}) => players[evaluation[0].player];

// The iterations and conditions of a finding.
const places = (finding) => finding.conditions.flatMap((m) => range(finding.last - finding.first + 1).map((i) => ({k: finding.first + i, m})));

function glance(view, c, width) {
  const M = view.facts.sizes.M, change = range(M).map((m) => view.pieces.map((piece, k) => {
    const before = k ? view.pieces[k - 1].cost[m] : null;
    return piece.cost[m] === null || !before ? null : (piece.cost[m] - before) / Math.abs(before);
  }));
  const counts = range(M).map((m) => view.pieces.map((piece) => (piece.successes ? `${piece.successes[m]}/${piece.samples}` : "")));
  const policies = view.pieces.filter((piece) => piece.policy), rows = M + (policies.length > 0), narrow = width < 600;
  // A sign stands before the number of its cell; where there is no room for both, it stands alone.
  const signs = new Map(), errors = view.findings.filter((f) => f.severity !== "note").sort((a, b) => (a.severity === "error") - (b.severity === "error"));
  for (const finding of errors) for (const {k, m} of places(finding)) signs.set(`${k} ${m}`, finding.severity === "error" ? "✕" : "!");
  for (const {policy, iteration} of policies) if (!policy.ok) signs.set(`${iteration} ${M}`, policy.severity === "error" ? "✕" : "!");
  const room = (width - (narrow ? 78 : 160)) / view.pieces.length, most = Math.floor(room / 7);
  const written = (sign, text) => [[sign, text].filter(Boolean).join(" "), sign ?? text].find((said) => said.length <= most) ?? "";
  const cells = range(M).flatMap((m) => view.pieces.map(({iteration: k}, i) => ({k, m, text: written(signs.get(`${k} ${m}`), counts[m][i]), colour: legible(c, (change[m][i] ?? 0) / 0.5)})));
  cells.push(...policies.map(({policy, iteration: k}) => ({k, m: M, text: written(signs.get(`${k} ${M}`), policy.label), colour: policy.ok ? c.ink : policy.severity === "error" ? c.bad : c.warn, said: policy.sentence})));
  return {
    data: [
      {type: "heatmap", x: numbers(view), y: range(M), z: change, customdata: counts, colorscale: diverging(c), zmin: -0.5, zmax: 0.5,
        xgap: 2, ygap: 2, hoverongaps: false, hovertemplate: `iteration %{x}, condition %{y}: cost %{z:+.1%}${view.told ? ", %{customdata} succeeded" : ""}<extra></extra>`,
        showscale: !narrow && rows > 2, colorbar: colorbar("change of cost", {tickvals: [-0.5, 0, 0.5], ticktext: ["−50 %", "0", "+50 %"]})},
      {x: cells.map((cell) => cell.k), y: cells.map((cell) => cell.m), mode: "text", text: cells.map(({text}) => (/^[✕!]/.test(text) ? `<b>${text}</b>` : text)),
        textfont: {size: 10.5, color: cells.map((cell) => cell.colour)}, hoverinfo: "skip"},
      {x: policies.map((piece) => piece.iteration), y: policies.map(() => M), mode: "markers", marker: {size: 22, symbol: "square", opacity: 0}, customdata: policies.map(({policy}) => policy.sentence),
        hovertemplate: "iteration %{x}, the training of the policy: %{customdata}<extra></extra>"},
    ],
    layout: layout(c, {height: 74 + Math.max(30 * rows, 60), margin: {l: 78, r: 0, t: 6, b: 38}, xaxis: iterations(c, view, {showgrid: false, zeroline: false}),
      yaxis: axis(c, {tickvals: range(rows), ticktext: range(rows).map((m) => (m < M ? `condition ${m}` : "policy")), range: [rows - 0.5, -0.5], showgrid: false, zeroline: false}),
      shapes: [{type: "rect", x0: view.k - 0.5, x1: view.k + 0.5, y0: view.m - 0.5, y1: view.m + 0.5, line: {color: c.ink, width: 2}}]}),
  };
}

function cost(view, c, width) {
  const M = view.facts.sizes.M, limits = range(M).map((m) => costRange(view, m));
  const y = (m) => (view.logCost ? logAxis(limits[m], "~g", {range: limits[m].map(Math.log10)}) : {range: limits[m], nticks: 6});
  const grid = multiples(c, range(M).map((m) => (m === view.m ? `<b>${label(view, m)}</b>` : label(view, m))), width,
    {most: M <= 4 ? 2 : 4, least: 260, row: M <= 4 ? 210 : 140, x: iterations(c, view), y});
  grid.layout.shapes = grid.axes.map(({xaxis, yaxis}) => cursor(c, view, xaxis, yaxis));
  return {data: grid.axes.flatMap((axes, m) => costTraces(view, c, m, limits[m], axes)), layout: grid.layout};
}

// The range of the samples' costs, with some room; predictions may lie far outside.
function costRange(view, m) {
  const costs = finite(view.pieces.flatMap((piece) => piece.costs[m]));
  if (!costs.length) return view.logCost ? [0.1, 1] : [0, 1];
  const low = Math.min(...costs), high = Math.max(...costs);
  if (view.logCost) return [low / (high / low) ** 0.12 / 1.05, high * (high / low) ** 0.06 * 1.05];
  const room = high > low ? high - low : Math.abs(high) || 1;
  return [low - 0.12 * room, high + 0.06 * room];
}

function costTraces(view, c, m, [low, high], axes) {
  const points = view.pieces.flatMap((piece) => piece.costs[m].map((y, n) => ({x: piece.iteration, y, won: piece.succeeded[m][n]})));
  const dots = (won) => {
    const chosen = points.filter((point) => Boolean(point.won) === won);
    return {x: chosen.map((p) => p.x), y: chosen.map((p) => p.y), mode: "markers", hovertemplate: `iteration %{x}: %{y:.4g}${view.told ? `, ${won ? "success" : "no success"}` : ""}<extra></extra>`,
      marker: {size: 5.5, color: won ? c.good : c.card, line: {width: 1.2, color: won ? c.good : c.other}, opacity: 0.85}, ...axes};
  };
  const worse = view.findings.filter((f) => f.kind === "worse").flatMap(places).filter((place) => place.m === m).map((place) => place.k);
  return [
    {...predictions(view, m, low, high), line: {color: c.warn, width: 1, dash: "dot"}, ...axes},
    {x: numbers(view), y: column(view, "cost", m), mode: "lines", line: {color: c.accent, width: 2.2}, hovertemplate: "iteration %{x}: %{y:.4g} on average<extra></extra>", ...axes},
    dots(false), dots(true),
    {x: worse, y: worse.map((k) => view.pieces[k].cost[m]), mode: "markers", hoverinfo: "skip", marker: {symbol: "circle-open", size: 15, line: {width: 2}, color: c.bad}, ...axes},
  ];
}

// From each mean to the one that was predicted; a triangle at the edge where that is beyond it.
function predictions(view, m, low, high) {
  const steps = view.pieces.filter((piece, k) => k && piece.local && piece.local.expected[m] !== null && view.pieces[k - 1].cost[m] !== null);
  const shown = steps.map((piece) => Math.min(Math.max(piece.local.expected[m], low), high));
  const beyond = steps.map((piece, i) => piece.local.expected[m] !== shown[i]);
  const symbols = beyond.map((far, i) => (far ? (shown[i] === low ? "triangle-down" : "triangle-up") : "diamond-open"));
  return {...joined(steps.map((piece, i) => ({x: [piece.iteration - 1, piece.iteration], y: [view.pieces[piece.iteration - 1].cost[m], shown[i]]}))),
    mode: "lines+markers", cliponaxis: false, marker: {symbol: symbols.flatMap((symbol) => ["circle", symbol, "circle"]), color: colours().warn, size: steps.flatMap(() => [0, 7, 0])},
    customdata: steps.flatMap((piece) => [null, piece.local.expected[m], null]), hovertemplate: "iteration %{x}: %{customdata:.4g} predicted<extra></extra>"};
}

// A curve for each condition, the selected one on top.
function curves(view, c, values, {template = "%{y:.4g}", y = {}, more = [], shapes = []} = {}) {
  const order = range(view.facts.sizes.M).filter((m) => m !== view.m).concat(view.m);
  const data = order.map((m) => ({x: numbers(view), y: values(m), mode: m === view.m ? "lines+markers" : "lines",
    line: {color: m === view.m ? c.accent : c.other, width: m === view.m ? 2.2 : 0.9}, marker: {size: 5}, opacity: m === view.m ? 1 : 0.75,
    hovertemplate: `condition ${m}, iteration %{x}: ${template}<extra></extra>`}));
  return {data: [...more, ...data], layout: layout(c, {xaxis: iterations(c, view), yaxis: axis(c, y), shapes: [cursor(c, view), ...shapes]})};
}

const level = (c, y) => ({type: "line", x0: 0, x1: 1, xref: "paper", y0: y, y1: y, line: {color: c.muted, width: 1.2, dash: "dot"}});
const share = {tickformat: ".0%", range: [-0.04, 1.04]};

function success(view, c) {
  const rate = (piece, m) => (piece.successes ? piece.successes[m] / piece.samples : null);
  const M = view.facts.sizes.M;
  const mean = {x: numbers(view), y: view.pieces.map((piece) => (piece.successes ? range(M).reduce((sum, m) => sum + rate(piece, m), 0) / M : null)), mode: "lines",
    line: {color: c.good, width: 2, dash: "dash"}, hovertemplate: "all conditions, iteration %{x}: %{y:.0%}<extra></extra>"};
  return curves(view, c, (m) => view.pieces.map((piece) => rate(piece, m)), {template: "%{y:.0%}", y: share, more: M > 1 ? [mean] : []});
}

function kl(view, c) {
  const bound = {x: numbers(view), y: localColumn(view, "bound", view.m), mode: "lines", line: {color: c.bad, width: 1.5, dash: "dot"},
    hovertemplate: "iteration %{x}: bound %{y:.4g}<extra></extra>"};
  return curves(view, c, (m) => localColumn(view, "kl", m), {template: "%{y:.4g} nats", y: {rangemode: "tozero"}, more: [bound]});
}

function klSteps(view, c) {
  const time = clock(view);
  const z = view.facts.times.map((_, t) => view.pieces.map((piece) => (piece.local ? unpack(piece.local.kl_steps).at(view.m, t, 0) : null)));
  return {data: [{type: "heatmap", x: numbers(view), y: time.x, z, colorscale: rising(c), zmin: 0, colorbar: colorbar("nats"),
    hovertemplate: `iteration %{x}, ${time.hover.replace("%{x", "%{y")}: %{z:.3g} nats<extra></extra>`}],
    layout: layout(c, {margin: {l: 54, r: 0, t: 8, b: 38}, xaxis: iterations(c, view, {showgrid: false, zeroline: false}), yaxis: axis(c, {title: time.axis.title, showgrid: false, zeroline: false}), shapes: [{...cursor(c, view), layer: "above"}]})};
}

const everywhere = (view, name) => view.pieces.flatMap((piece) => piece[name]);
const localEverywhere = (view, name) => view.pieces.flatMap((piece) => (piece.local ? piece.local[name] : []));
const positive = (values) => values.map((value) => (value > 0 ? value : null));
const eta = (view, c) => curves(view, c, (m) => positive(localColumn(view, "eta", m)), {template: "η = %{y:.2e}", y: logAxis(localEverywhere(view, "eta"), "~e")});
const entropy = (view, c) => curves(view, c, (m) => localColumn(view, "entropy", m), {template: "%{y:.3f} nats"});
const multiplier = (view, c) => curves(view, c, (m) => localColumn(view, "multiplier", m), {template: "×%{y:.3g}", y: logAxis(localEverywhere(view, "multiplier"))});
const saturated = (view, c) => curves(view, c, (m) => column(view, "saturated", m), {template: "%{y:.1%}", y: {tickformat: ".0%", range: [-0.01, Math.max(0.25, 1.1 * Math.max(...everywhere(view, "saturated")))]}, shapes: [level(c, 0.2)]});
const modelError = (view, c) => curves(view, c, (m) => positive(localColumn(view, "model_error", m)),
  {template: "%{y:.1%} of the spread", y: logAxis(localEverywhere(view, "model_error").concat(1), "~%"), shapes: [level(c, 1)]});

function time(view, c) {
  const shades = [c.accent, c.good, c.warn], totals = view.pieces.map((piece) => piece.seconds.reduce((a, b) => a + b, 0));
  const data = ["sample", "fit", "improve"].map((name, i) => ({type: "bar", x: numbers(view), y: view.pieces.map((piece) => piece.seconds[i]), name,
    marker: {color: shades[i]}, hovertemplate: `iteration %{x}: %{y:.3f} s to ${name}<extra></extra>`}));
  // The first iteration may include compilation, which must not hide the others.
  const most = Math.max(...totals.slice(1)), cut = totals.length > 1 && totals[0] > 3 * most;
  const note = {x: 0.4, y: 1, yref: "paper", text: `${totals[0].toFixed(1)} s in the first`, showarrow: false, xanchor: "left", yanchor: "top", xshift: 2, font: {size: 10.5, color: c.muted}};
  return {data, layout: layout(c, {barmode: "stack", showlegend: true, legend: {orientation: "h", x: 1, xanchor: "right", y: 1.02, yanchor: "bottom", traceorder: "normal"},
    margin: {l: 54, r: 12, t: 26, b: 38}, xaxis: iterations(c, view), yaxis: axis(c, {ticksuffix: " s", ...(cut ? {range: [0, 1.4 * most]} : {})}), annotations: cut ? [note] : [], shapes: [cursor(c, view)]})};
}

// -- the global policy -----------------------------------------------------------------------------------------------

const ofPolicy = (view, pick) => view.pieces.map((piece) => (piece.policy ? pick(piece.policy) : null));

function policyKl(view, c) {
  const values = view.pieces.flatMap((piece) => (piece.policy ? piece.policy.kl : []));
  return curves(view, c, (m) => positive(ofPolicy(view, (policy) => policy.kl[m])), {template: "%{y:.3g} nats a step", y: logAxis(values)});
}

// From the loss before each training to the loss after it.
function policyLoss(view, c) {
  const losses = (i) => positive(ofPolicy(view, (policy) => policy.loss[i])), before = losses(0), after = losses(1);
  return drops(view, c, before, after, ofPolicy(view, (policy) => `${policy.steps} steps`), logAxis([...before, ...after]));
}

// Two values for each iteration, before and after something that `said` names, joined by a line.
function drops(view, c, before, after, said, y) {
  const x = numbers(view), lines = joined(x.map((k, i) => ({x: [k, k], y: [before[i], after[i]]})));
  const hover = (what) => ({customdata: said, hovertemplate: `iteration %{x}, ${what} %{customdata}: %{y:.4g}<extra></extra>`});
  return {data: [
    {...lines, mode: "lines", line: {color: c.other, width: 1}, hoverinfo: "skip"},
    {x, y: before, mode: "markers", marker: {size: 7, symbol: "circle-open", color: c.other, line: {width: 1.5}}, ...hover("before")},
    {x, y: after, mode: "lines+markers", line: {color: c.accent, width: 2.2}, marker: {size: 6}, ...hover("after")},
  ], layout: layout(c, {xaxis: iterations(c, view), yaxis: axis(c, y), shapes: [cursor(c, view)]})};
}

function policyNoise(view, c) {
  const {du} = view.facts.sizes, shade = (i) => (du < 2 ? 1 : 0.35 + (0.65 * i) / (du - 1));
  const data = range(du).map((i) => ({x: numbers(view), y: ofPolicy(view, (policy) => policy.deviation[i]), mode: "lines+markers", marker: {size: 4}, opacity: shade(i), name: view.facts.actions[i],
    line: {color: c.accent, width: 1.8}, hovertemplate: `${view.facts.actions[i]}, iteration %{x}: %{y:.3g} ${view.facts.action_units[i]}<extra></extra>`}));
  return {data, layout: layout(c, {xaxis: iterations(c, view), yaxis: axis(c, {rangemode: "tozero"}), shapes: [cursor(c, view)]})};
}

// -- the global model and the planner --------------------------------------------------------------------------------

// From the held-out loss before each training to the lowest one.
function modelLoss(view, c) {
  const losses = view.pieces.map((piece) => finite(piece.model?.held_out ?? []));
  return drops(view, c, losses.map((loss) => loss[0] ?? null), losses.map((loss) => (loss.length ? Math.min(...loss) : null)), losses.map(() => "training"), {});
}

// The global model's error on new samples, for each entry of the chosen part of the state.
function oneStep(view, c, width) {
  const {indices} = view.facts.groups[view.errorGroup], errors = (i) => view.pieces.map((piece) => piece.model?.one_step?.[i] ?? null);
  const grid = multiples(c, indices.map((i) => stateTitles(view.facts)[i]), width, {row: 120, least: 210, x: iterations(c, view), y: (plot) => logAxis(errors(indices[plot]))});
  grid.layout.shapes = grid.axes.map(({xaxis, yaxis}) => cursor(c, view, xaxis, yaxis));
  const data = grid.axes.map((axes, plot) => ({x: numbers(view), y: positive(errors(indices[plot])), mode: "lines+markers", marker: {size: 4}, line: {color: c.accent, width: 1.8},
    hovertemplate: `iteration %{x}: %{y:.3g} ${view.facts.units[indices[plot]]}<extra></extra>`, ...axes}));
  return {data, layout: {...grid.layout, uirevision: `${indices}`}};
}

// The share of new states within one and two standard deviations of the prediction, and the shares of a Gaussian.
function coverage(view, c) {
  const share = (sigma) => view.pieces.map((piece) => piece.model?.coverage?.[sigma - 1] ?? null);
  const line = (sigma, colour) => ({x: numbers(view), y: share(sigma), mode: "lines+markers", marker: {size: 5}, line: {color: colour, width: 1.8}, hovertemplate: `iteration %{x}: %{y:.1%} within ${sigma}σ<extra></extra>`});
  return {data: [line(2, c.local), line(1, c.accent)], layout: layout(c, {xaxis: iterations(c, view), yaxis: axis(c, {range: [0, 1.04], tickformat: ".0%"}),
    shapes: [level(c, 0.683), level(c, 0.954), cursor(c, view)]})};
}

const planTime = (view, c) => curves(view, c, (m) => view.pieces.map((piece) => (piece.planner?.seconds == null ? null : 1000 * piece.planner.seconds)), {template: "%{y:.3g} ms", y: {rangemode: "tozero", ticksuffix: " ms"}});

function planner(view, c) {
  const costs = (name) => view.pieces.map((piece) => (piece.planner ? piece.planner[name][view.m] : null)), x = numbers(view);
  return {data: [
    {x, y: costs("predicted"), mode: "lines+markers", line: {color: c.warn, width: 1, dash: "dot"}, marker: {size: 7, symbol: "diamond-open", color: c.warn}, hovertemplate: "iteration %{x}: %{y:.4g} planned<extra></extra>"},
    {x, y: costs("actual"), mode: "lines+markers", line: {color: c.accent, width: 2.2}, marker: {size: 6}, hovertemplate: "iteration %{x}: %{y:.4g}<extra></extra>"},
  ], layout: layout(c, {xaxis: iterations(c, view), shapes: [cursor(c, view)]})};
}

// -- a policy that is optimised through a model ----------------------------------------------------------------------

// From the policy's cost in the new model before each optimisation to the lowest one.
function modelCost(view, c) {
  const costs = (i) => view.pieces.map((piece) => piece.optimisation?.loss[i] ?? null);
  return drops(view, c, costs(0), costs(1), view.pieces.map((piece) => piece.optimisation?.label ?? ""), {});
}

// The size of the gradient a few steps ahead, in the course of the run: pale far ahead.
function gradientCourse(view, c) {
  const most = Math.max(...view.pieces.map((piece) => piece.optimisation?.gradients?.length ?? 0)) - 1;
  const ahead = [1, 3, 10, 30, 100, 300].filter((h) => h <= most), x = numbers(view);
  const at = (h) => positive(view.pieces.map((piece) => piece.optimisation?.gradients?.[h] ?? null));
  const data = ahead.map((h, i) => ({x, y: at(h), mode: "lines+markers", marker: {size: 4}, opacity: 1 - (0.75 * i) / Math.max(ahead.length - 1, 1), line: {color: c.accent, width: 1.8},
    hovertemplate: `iteration %{x}, ${h} step${h === 1 ? "" : "s"} ahead: %{y:.3g}<extra></extra>`}));
  return {data, layout: layout(c, {xaxis: iterations(c, view), yaxis: axis(c, logAxis(ahead.flatMap(at))), shapes: [cursor(c, view)]})};
}

// -- every start, without noise --------------------------------------------------------------------------------------

const won = (item) => item.successes === item.rollouts;

// The training starts and the unseen starts, each with the results of the policy and of its teacher.
function starts(facts) {
  const {evaluation, conditions, policy} = facts, at = (kind, i) => (policy.places ? policy.places[kind][i] : null);
  const known = (item, kind, i, name) => ({kind, i, name, place: at(kind, i), policy: item, taught: kind === "trained" ? policy.taught[i] ?? null : null});
  return [...evaluation.map((item, i) => known(item, "trained", i, conditions[i])), ...policy.unseen.map((item, i) => known(item, "unseen", i, policy.starts[i]))];
}

const startLabel = ({kind, i, name}) => `${kind === "unseen" ? "unseen " : ""}${i}${name ? ` · ${name}` : ""}`;

function map(view, c) {
  const all = starts(view.facts), flat = view.facts.policy.places.axes.length === 1, [across, up] = view.facts.policy.places.axes;
  const y = (start) => (flat ? start.policy.cost : start.place[1]);
  const tone = all.map((start) => (won(start.policy) ? c.good : c.bad)), hollow = all.map((start, i) => (won(start.policy) ? tone[i] : c.card));
  const byCost = {color: all.map((start) => start.policy.cost), line: {width: 1, color: c.other}, colorscale: rising(c), showscale: true, colorbar: colorbar("cost")};
  const marker = view.told ? {color: hollow, line: {width: 2.2, color: tone}} : flat ? {color: c.accent} : byCost;
  const said = ({policy, taught: by, ...start}) => `${startLabel(start)}: ${outcome(policy)}${by ? `; ${teacherOf(view.facts).one} ${outcome(by)}` : ""}`;
  // With one axis the teachers have points of their own; on a map, a ring marks the starts at which they succeed.
  const taught = all.filter((start) => start.taught && (flat || (view.told && won(start.taught)))), chosen = all[view.start];
  return {data: [
    {x: taught.map((s) => s.place[0]), y: taught.map((s) => (flat ? s.taught.cost : y(s))), mode: "markers", hoverinfo: "skip", marker: {size: flat ? 9 : 21, symbol: "circle-open", color: c.local, line: {width: flat ? 1.5 : 2.5}}},
    {x: all.map((s) => s.place[0]), y: all.map(y), mode: "markers", customdata: range(all.length), text: all.map(said), hovertemplate: "%{text}<extra></extra>",
      marker: {size: 12, symbol: all.map((s) => (s.kind === "unseen" ? "diamond" : "circle")), ...marker}},
    {x: [chosen.place[0]], y: [y(chosen)], mode: "markers", hoverinfo: "skip", marker: {size: 31, symbol: "square-open", color: c.ink, line: {width: 1.5}}},
  ], layout: layout(c, {height: 380, margin: {l: 62, r: 12, t: 8, b: 44}, xaxis: axis(c, {title: {text: across}, zeroline: false}),
    yaxis: axis(c, {title: {text: flat ? "cost" : up}, zeroline: false, ...(flat ? {} : {scaleanchor: "x", scaleratio: ratio(all)})})})};
}

// The ratio of the axes' units: 1 where the spans are similar, so that distances on the map are true.
function ratio(all) {
  const span = (axis) => Math.max(...all.map((s) => s.place[axis])) - Math.min(...all.map((s) => s.place[axis]));
  return span(1) > 0 && Math.abs(Math.log10(span(0) / span(1))) < 0.5 ? 1 : (0.7 * span(0)) / (span(1) || 1);
}

const outcome = (item) => [item.cost === null ? "ended early" : `cost ${item.cost.toPrecision(4)}`, ...(item.distance === null ? [] : [`${(1000 * item.distance).toPrecision(3)} mm from the goal`]),
  ...(item.successes === null ? [] : [won(item) ? "success" : "no success"])].join(", ");
