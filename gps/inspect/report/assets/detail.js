// Figures of one iteration. `view.detail` holds its arrays, `view.piece` its numbers, `view.m` is the condition.

const heatmapHeight = (rows) => 90 + Math.min(Math.max(15 * rows, 110), 660);
const entryAxis = (c, names) => axis(c, {tickvals: range(names.length), ticktext: names, autorange: "reversed", showgrid: false, zeroline: false,
  automargin: true, tickfont: {size: names.length > 44 ? 8 : 10.5}});

// -- the policy and its teachers -------------------------------------------------------------------------------------

const isPolicy = (c) => ({colour: c.accent, fill: c.band, name: "policy"});
const isOther = (c, name) => ({colour: c.local, fill: c["local-band"], name});

// The controllers to draw: those that ran, on top, and the policy or its teachers below. Empty without local controllers.
function drawn(view, c) {
  const piece = view.pieces[view.detailOf], player = playerOf(view, piece), {ran, beside} = view.detail;
  if (!ran) return [];
  if (!piece.policy) return [{...ran, style: {}}];
  const below = beside ? [{...beside, style: player.has_policy ? isOther(c, teacherOf(view.facts).one) : isPolicy(c)}] : [];
  return [...below, {...ran, style: player.has_policy ? isPolicy(c) : isOther(c, player.one)}];
}

// Those of them that have a tube.
const drawnTubes = (view, c) => drawn(view, c).filter(({tube}) => tube);

// -- trajectories ----------------------------------------------------------------------------------------------------

// Samples over the tubes, a plot for each index, with the limits where there are some.
function trajectories(view, c, width, titles, indices, samples, tubes, limits = () => []) {
  const time = clock(view), {x} = time, won = view.detail.samples.succeeded[view.m];
  const seen = (i) => range(samples.shape[1]).flatMap((n) => samples.along(view.m, n, null, i));
  const y = (plot) => ({nticks: 5, range: room(seen(indices[plot]), tubes.flatMap((tube) => edges(tube, view.m, indices[plot])), limits(indices[plot]))});
  const grid = multiples(c, indices.map((i) => titles[i]), width, {row: 130, least: 210, x: time.axis, y});
  grid.layout.shapes = limitLines(c, grid.axes, indices, limits);
  const data = grid.axes.flatMap((axes, plot) => {
    const i = indices[plot];
    const lines = (which) => joined(range(won.length).filter((n) => Boolean(won[n]) === which).map((n) => ({x, y: samples.along(view.m, n, null, i)})));
    const sample = (which) => ({...lines(which), mode: "lines", line: {width: 0.9, color: which ? c.good : c.other}, opacity: 0.8,
      hovertemplate: `${time.hover}: %{y:.4g}<extra></extra>`, ...axes});
    const bands = tubes.flatMap(({mean, deviation, style}) => band(c, time, mean.along(view.m, null, i), deviation.along(view.m, null, i), axes, style));
    return [...bands, sample(false), sample(true)];
  });
  return {data, layout: {...grid.layout, uirevision: `${view.m} ${indices}`}};
}

// The lower and upper edge of a tube.
function edges({mean, deviation}, m, i) {
  const d = deviation.along(m, null, i);
  return mean.along(m, null, i).flatMap((value, t) => [value - 2 * d[t], value + 2 * d[t]]);
}

// The range of a plot: that of the samples, and of what else is near it. A tube is cut there: far from the samples the
// model is not valid. A limit that is far away is not drawn; the title says where it is.
function room(seen, tubes, limits = []) {
  const inner = finite(seen), [low, high] = [Math.min(...inner), Math.max(...inner)], more = spare(low, high);
  return within([...finite(tubes), ...finite(limits).filter((limit) => limit >= low - more && limit <= high + more)], inner);
}

// No less than a thousandth of the values: the labels of a shorter axis would need too many digits.
const spare = (low, high) => Math.max(0.5 * (high - low), 1e-3 * Math.max(Math.abs(low), Math.abs(high))) || 1;

// From the least to the greatest of both, but only so far beyond the second as half of what they span.
function within(wide, narrow) {
  const [low, high] = [Math.min(...narrow), Math.max(...narrow)], more = spare(low, high);
  const ends = [Math.max(Math.min(...wide, low), low - more), Math.min(Math.max(...wide, high), high + more)], rim = 0.04 * (ends[1] - ends[0]);
  const flat = high - low < more ? more : rim;
  return narrow.length ? [ends[0] - flat, ends[1] + flat] : undefined;
}

function states(view, c, width) {
  const tubes = drawnTubes(view, c).map(({tube, style}) => ({mean: unpack(tube.state_mean), deviation: unpack(tube.state_std), style}));
  return trajectories(view, c, width, stateTitles(view.facts), view.facts.groups[view.group].indices, unpack(view.detail.samples.states), tubes);
}

function actions(view, c, width) {
  const tubes = drawnTubes(view, c).map(({tube, style}) => ({mean: unpack(tube.action_mean), deviation: unpack(tube.action_std), style}));
  return trajectories(view, c, width, limitedTitles(view.facts), view.actionIndices, unpack(view.detail.samples.actions), tubes, limitsOf(view.facts));
}

// -- limits of the actions -------------------------------------------------------------------------------------------

const limitsOf = ({low, high}) => (i) => finite([low[i], high[i]]);

// `elbow, N m (limits −2 to 2)`.
function limitedTitles(facts) {
  const {low, high} = facts, said = (value) => (value === null ? "none" : `${Number(value.toPrecision(4))}`.replace("-", "−"));
  return actionTitles(facts).map((title, i) => (low[i] === null && high[i] === null ? title : `${title} (limits ${said(low[i])} to ${said(high[i])})`));
}

// A dotted line at each limit, in the plot of its action.
const limitLines = (c, plots, indices, limits) => plots.flatMap(({xaxis, yaxis}, plot) => limits(indices[plot]).map((y) => ({type: "line", xref: `${xaxis} domain`, x0: 0, x1: 1,
  yref: yaxis, y0: y, y1: y, line: {color: c.bad, width: 1.2, dash: "dot"}})));

function space(view, c) {
  const {samples} = view.detail, point = view.facts.points[view.point], won = samples.succeeded[view.m], all = unpack(samples.states);
  const means = drawnTubes(view, c).map(({tube, style}) => ({path: path(point, unpack(tube.state_mean), view.m), style}));
  const mean3 = ({path, style}) => line3(path, style.colour ?? c.accent, 6, style.name ? `mean of the ${style.name}` : view.sides.dynamics ? "mean of the model" : "mean of the samples");
  const data = won.map((yes, n) => line3(path(point, all, view.m, n), yes ? c.good : c.other, 2.5, `sample ${samples.numbers[n]}`));
  data.push(...ends3(c, point, path(point, all, view.m, 0)));
  return scene(c, data, `${view.point}`, means.map(mean3));
}

// -- in space --------------------------------------------------------------------------------------------------------

const path = (point, tensor, ...index) => Object.fromEntries(["x", "y", "z"].map((name, i) => [name, tensor.along(...index, null, point.indices[i])]));
const line3 = (place, colour, width, name) => ({type: "scatter3d", mode: "lines", ...place, line: {color: colour, width}, name, hovertemplate: "%{x:.3f}, %{y:.3f}, %{z:.3f}<extra>" + name + "</extra>"});
const dot3 = (place, colour, symbol, name) => ({type: "scatter3d", mode: "markers", ...place, marker: {color: colour, size: 5, symbol}, name, hovertemplate: `${name}<extra></extra>`});

// Where a path starts and, if it is relative to it, where the target is.
function ends3(c, point, {x, y, z}) {
  const start = dot3({x: x.slice(0, 1), y: y.slice(0, 1), z: z.slice(0, 1)}, c.ink, "circle", "start");
  return point.relative ? [start, dot3({x: [0], y: [0], z: [0]}, c.bad, "diamond", "target")] : [start];
}

// Traces in a box of their own; `beside` may leave it, but not by far.
function scene(c, traces, uirevision, beside = []) {
  const data = [...beside, ...traces], inner = boxed(traces);
  const spans = beside.length ? Object.fromEntries(Object.entries(inner).map(([name, ends]) => [name, within(finite(beside.flatMap((trace) => trace[name])), ends)])) : inner;
  const side = (name) => ({title: {text: `${name} / m`}, range: spans[name], gridcolor: c.line, zerolinecolor: c.muted, color: c.muted, backgroundcolor: "rgba(0,0,0,0)", nticks: 6});
  return {data, layout: layout(c, {height: 460, margin: {l: 0, r: 0, t: 0, b: 0}, uirevision,
    scene: {xaxis: side("x"), yaxis: side("y"), zaxis: side("z"), aspectmode: "manual", aspectratio: proportions(spans), camera: {eye: {x: 1.35, y: -1.65, z: 0.7}, projection: {type: "orthographic"}}}})};
}

// True proportions. Plotly's own aspectmode "data" would keep those of the selection before.
function proportions(spans) {
  const sizes = Object.entries(spans).map(([name, [low, high]]) => [name, high - low]), mean = Math.cbrt(sizes.reduce((product, [, size]) => product * size, 1));
  const scale = Math.min(1 / mean, 1.4 / Math.max(...sizes.map(([, size]) => size)));  // no side too long for the figure
  return Object.fromEntries(sizes.map(([name, size]) => [name, size * scale]));
}

// Ranges that hold all traces, none much shorter than the longest: true proportions, and a box that can be turned.
function boxed(traces) {
  const limits = ["x", "y", "z"].map((name) => { const values = finite(traces.flatMap((trace) => trace[name])); return [Math.min(...values), Math.max(...values)]; });
  const longest = Math.max(...limits.map(([low, high]) => high - low), 1e-6);
  return Object.fromEntries(limits.map(([low, high], i) => {
    const half = 0.54 * Math.max(high - low, 0.55 * longest), middle = (low + high) / 2;
    return ["xyz"[i], [middle - half, middle + half]];
  }));
}

// -- controller ------------------------------------------------------------------------------------------------------

// One map, or two on one scale: of the controllers that ran, and of the policy or its teachers. A gain is multiplied by the
// spread of its entry of the state.
function feedback(view, c) {
  const {dx, du} = view.facts.sizes, all = view.action === "all", sides = drawn(view, c).reverse(), alone = sides.length < 2, time = clock(view);
  const spread = view.detail.samples.spread[view.m], plain = (K, t, i) => (all ? Math.hypot(...range(du).map((j) => K.at(view.m, t, j, i))) : K.at(view.m, t, Number(view.action), i));
  const gains = sides.map(({controller}) => { const K = unpack(controller.feedback); return range(dx).map((i) => view.facts.times.map((_, t) => plain(K, t, i))); });
  const maps = gains.map((rows) => rows.map((row, i) => row.map((gain) => gain * (spread[i] ?? NaN))));
  const most = Math.max(...finite(maps.flat(2)).map(Math.abs), 1e-12), unit = all ? "" : view.facts.action_units[view.action];
  const across = (domain) => axis(c, {...time.axis, domain, showgrid: false, zeroline: false});
  const said = (i) => `${view.facts.entries[i]}, spread ${(spread[i] ?? NaN).toPrecision(2)} ${view.facts.units[i]}`.trim();
  const data = maps.map((z, side) => ({type: "heatmap", x: time.x, y: range(dx), z, zmin: all ? 0 : -most, zmax: most, colorscale: all ? rising(c) : diverging(c), xaxis: side ? "x2" : "x",
    showscale: side === maps.length - 1, colorbar: colorbar(all ? "norm over the actions" : withUnit(view.facts.actions[view.action], unit)), customdata: gains[side].map((row, i) => row.map((gain) => [said(i), gain])),
    hovertemplate: `${time.hover}, %{customdata[0]}: %{z:.3g} (K = %{customdata[1]:.3g})<extra></extra>`}));
  const title = ({style}, side) => ({text: `the ${style.name}'s${side ? "" : ", which was sampled"}`, x: side * 0.515, y: 1, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false,
    font: {size: 11.5, color: style.colour}});
  return {data, layout: layout(c, {height: heatmapHeight(dx) + (alone ? 0 : 18), margin: {l: 60, r: 0, t: alone ? 6 : 24, b: 38}, xaxis: across(alone ? [0, 1] : [0, 0.485]),
    ...(alone ? {} : {xaxis2: across([0.515, 1]), annotations: sides.map(title)}), yaxis: entryAxis(c, view.facts.entries), uirevision: "feedback"})};
}

// The mean action along the mean of the states, and the noise around it.
function meanAction(view, c, width) {
  const parts = drawnTubes(view, c).map(({controller, tube, style}) => ({mean: unpack(tube.action_mean), deviation: unpack(controller.noise_std), style})), time = clock(view);
  const limits = limitsOf(view.facts), samples = unpack(view.detail.samples.actions), seen = (i) => range(samples.shape[1]).flatMap((n) => samples.along(view.m, n, null, i));
  const y = (plot) => ({nticks: 5, range: room(seen(view.actionIndices[plot]), parts.flatMap((part) => edges(part, view.m, view.actionIndices[plot])), limits(view.actionIndices[plot]))});
  const grid = multiples(c, view.actionIndices.map((i) => limitedTitles(view.facts)[i]), width, {row: 120, least: 210, x: time.axis, y});
  grid.layout.shapes = limitLines(c, grid.axes, view.actionIndices, limits);
  const data = grid.axes.flatMap((axes, plot) => {
    const i = view.actionIndices[plot];
    return parts.flatMap(({mean, deviation, style}) => band(c, time, mean.along(view.m, null, i), deviation.along(view.m, null, i), axes, style));
  });
  return {data, layout: {...grid.layout, uirevision: `${view.m}`}};
}

// The noise of two actions about their means, from the first step (pale) to the last.
function noise(view, c) {
  const {at, covariance} = view.detail.ran.controller.noise, {du} = view.facts.sizes, [i, j] = view.actionIndices;
  const mean = unpack(view.detail.ran.tube.action_mean), whole = unpack(covariance), names = actionTitles(view.facts), {x} = clock(view);
  const data = at.map((t, n) => {
    const rows = whole.along(view.m, n, null), middle = [mean.at(view.m, t, i), mean.at(view.m, t, j)];
    return {...ellipse(rows[i * du + i], rows[i * du + j], rows[j * du + j], middle), mode: "lines", line: {color: c.accent, width: 1.6}, opacity: 0.2 + (0.8 * n) / Math.max(at.length - 1, 1),
      hoverinfo: "text", text: view.facts.dt ? `t = ${x[t].toPrecision(3)} s` : `t = ${x[t]}`, hoveron: "points"};
  });
  data.unshift({x: mean.along(view.m, null, i), y: mean.along(view.m, null, j), mode: "lines", line: {color: c.muted, width: 1, dash: "dot"}, hoverinfo: "skip"});
  return {data, layout: layout(c, {height: 380, margin: {l: 60, r: 12, t: 8, b: 42}, showlegend: false, xaxis: axis(c, {title: {text: names[i]}}), yaxis: axis(c, {title: {text: names[j]}}), uirevision: `${view.m} ${i} ${j}`})};
}

// The ellipse of two standard deviations of a Gaussian in the plane.
function ellipse(xx, xy, yy, middle) {
  const l11 = Math.sqrt(Math.max(xx, 0)), l21 = l11 > 0 ? xy / l11 : 0, l22 = Math.sqrt(Math.max(yy - l21 * l21, 0));
  const angles = range(49).map((i) => (2 * Math.PI * i) / 48);
  return {x: angles.map((a) => middle[0] + 2 * l11 * Math.cos(a)), y: angles.map((a) => middle[1] + 2 * (l21 * Math.cos(a) + l22 * Math.sin(a)))};
}

// -- model and update ------------------------------------------------------------------------------------------------

function model(view, c) {
  const {by_step, by_entry} = view.detail.model, {dx} = view.facts.sizes, logs = unpack(by_step), names = view.facts.entries, time = clock(view);
  const times = time.x.slice(0, logs.shape[1]);
  const z = range(dx).map((i) => logs.along(view.m, null, i));
  const ticks = {tickvals: [-3, -2, -1, 0, 1], ticktext: ["0.1 %", "1 %", "10 %", "100 %", "1000 %"]};
  const y = entryAxis(c, names);
  return {data: [
    {type: "heatmap", x: times, y: range(dx), z, zmin: -2.5, zmax: 0.5, colorscale: [[0, c.middle], [0.8333, c.warn], [1, c.bad]], colorbar: colorbar("of the spread", ticks),
      text: z.map((row) => row.map((value) => (Number.isFinite(value) ? `${(100 * 10 ** value).toPrecision(2)} %` : "no spread"))), customdata: names.map((name) => times.map(() => name)),
      hovertemplate: `${time.hover}, %{customdata}: %{text}<extra></extra>`},
    {type: "bar", orientation: "h", y: range(dx), x: by_entry[view.m].map((value) => value), xaxis: "x2", marker: {color: by_entry[view.m].map((value) => (value > 1 ? c.bad : c.warn))},
      hovertemplate: "%{x:.1%} over all steps<extra></extra>"},
  ], layout: layout(c, {height: heatmapHeight(dx), margin: {l: 60, r: 0, t: 6, b: 38}, xaxis: axis(c, {...time.axis, domain: [0, 0.84], showgrid: false, zeroline: false}),
    xaxis2: axis(c, {domain: [0.86, 1], tickformat: ".0%", nticks: 3, rangemode: "tozero", title: {text: "all steps"}}), yaxis: y,
    shapes: [{type: "line", xref: "x2", yref: "paper", x0: 1, x1: 1, y0: 0, y1: 1, line: {color: c.muted, width: 1, dash: "dot"}}]})};
}

function search(view, c) {
  const {T} = view.facts.sizes, {local} = view.piece, bound = local.per_step ? local.bound[view.m] / T : local.bound[view.m];
  const usable = (trace) => trace.filter(([eta, kl]) => eta > 0 && kl > 0);
  const path = (piece) => ({x: usable(piece.local.trace[view.m]).map(([eta]) => eta), y: usable(piece.local.trace[view.m]).map(([, kl]) => kl)});
  const others = joined(view.pieces.filter((piece) => piece.local && piece !== view.piece).slice(-60).map(path));
  const trace = local.trace[view.m], infeasible = trace.filter(([, kl]) => kl === null).map(([eta]) => eta);
  const tried = trace.map(([eta, kl], i) => [eta, kl, i + 1]).filter(([eta, kl]) => eta > 0 && kl > 0);
  return {data: [
    {...others, mode: "lines+markers", line: {color: c.other, width: 1}, marker: {size: 3, color: c.other}, opacity: 0.4, hoverinfo: "skip"},
    {x: tried.map(([eta]) => eta), y: tried.map(([, kl]) => kl), text: tried.map(([, , i]) => i), mode: "lines+markers+text", textposition: "top right", line: {color: c.accent, width: 1.5},
      marker: {size: 7, color: tried.map((_, i) => (i === tried.length - 1 ? c.good : c.accent))}, hovertemplate: "evaluation %{text}: η = %{x:.2e}, KL = %{y:.4g}<extra></extra>"},
    {x: infeasible, y: infeasible.map(() => bound), mode: "markers", marker: {symbol: "x", color: c.bad, size: 8}, hovertemplate: "η = %{x:.2e}: no controller<extra></extra>"},
  ], layout: layout(c, {height: 260, xaxis: axis(c, logAxis(others.x.concat(tried.map(([eta]) => eta)), "~e", {title: {text: "η"}})), yaxis: axis(c, logAxis(others.y.concat(bound, tried.map(([, kl]) => kl)), "~g", {title: {text: "KL, nats"}})),
    shapes: bound > 0 ? [level(c, bound)] : []})};
}

function klNow(view, c) {
  const {bound: bounds, kl_steps} = view.piece.local, bound = bounds[view.m], time = clock(view);
  return {data: [{x: time.x, y: unpack(kl_steps).along(view.m, null, 0), mode: "lines", fill: "tozeroy", fillcolor: c.band, line: {color: c.accent, width: 1.5},
    hovertemplate: `${time.hover}: %{y:.3g} nats<extra></extra>`}],
    layout: layout(c, {height: 260, xaxis: axis(c, time.axis), yaxis: axis(c, {rangemode: "tozero"}), shapes: bound === null ? [] : [level(c, bound / view.facts.sizes.T)]})};
}

// The global model's error, by steps ahead, for each entry of the chosen part of the state.
function ahead(view, c, width) {
  const {horizon, one_step} = view.piece.model ?? {}, errors = horizon ?? (one_step ? [one_step] : []), {indices} = view.facts.groups[view.errorGroup], x = errors.map((_, i) => i + 1);
  const grid = multiples(c, indices.map((i) => stateTitles(view.facts)[i]), width, {row: 120, least: 210, x: {title: {text: "steps ahead"}, rangemode: "tozero"}, y: {rangemode: "tozero", nticks: 4}});
  const data = grid.axes.map((axes, plot) => ({x, y: errors.map((error) => error[indices[plot]]), mode: "lines+markers", marker: {size: 4}, line: {color: c.accent, width: 1.8}, hovertemplate: "%{x} steps ahead: %{y:.3g}<extra></extra>", ...axes}));
  return {data, layout: {...grid.layout, uirevision: `${indices}`}};
}

// -- the planner -----------------------------------------------------------------------------------------------------

// The states that the planner expected in the first sample, with two deviations where it says them, and those that came.
function plan(view, c, width) {
  const {indices} = view.facts.groups[view.group], time = clock(view), {x} = time, planned = unpack(view.detail.plan.states), came = unpack(view.detail.samples.states);
  const doubt = view.detail.plan.deviations && unpack(view.detail.plan.deviations);
  const around = (i, axes) => doubt ? band(c, time, Array.from(planned.along(view.m, null, i)), doubt.along(view.m, null, i), axes, {fill: c["local-band"]}).slice(0, 2) : [];
  const grid = multiples(c, indices.map((i) => stateTitles(view.facts)[i]), width, {row: 130, least: 210, x: time.axis, y: (plot) => ({nticks: 5, ...fitted(planned, came, view.m, indices[plot])})});
  const data = grid.axes.flatMap((axes, plot) => [
    ...around(indices[plot], axes),
    {x, y: came.along(view.m, 0, null, indices[plot]), mode: "lines", line: {color: c.accent, width: 1.8}, hovertemplate: `${time.hover}: %{y:.4g}<extra>came</extra>`, ...axes},
    {x, y: planned.along(view.m, null, indices[plot]), mode: "lines", line: {color: c.warn, width: 1.8, dash: "dot"}, hovertemplate: `${time.hover}: %{y:.4g}<extra>planned</extra>`, ...axes},
  ]);
  return {data, layout: {...grid.layout, uirevision: `${view.m} ${indices}`}};
}

// A plan may leave the page; what came may not.
const fitted = (planned, came, m, i) => ({range: within(finite(planned.along(m, null, i)), finite(came.along(m, 0, null, i)))});

// How far the plan, and what came of it, are from the data of earlier iterations.
function planDistance(view, c) {
  const {planned, actual} = view.detail.plan, time = clock(view), {x} = time, lines = [["came", actual, c.accent], ["planned", planned, c.warn]].map(([name, packed, colour]) => ({
    x, y: unpack(packed).along(view.m, null, 0), mode: "lines", line: {color: colour, width: 1.8, dash: name === "planned" ? "dot" : "solid"}, hovertemplate: `${time.hover}: %{y:.2g} deviations<extra>${name}</extra>`}));
  return {data: lines, layout: layout(c, {height: 260, xaxis: axis(c, time.axis), yaxis: axis(c, {rangemode: "tozero"}), shapes: [level(c, 1)]})};
}

// The number of candidates that weigh in each plan of the selected iteration.
function effective(view, c) {
  const packed = view.piece.planner?.effective, time = clock(view), {x} = time;
  if (!packed) return {data: [], layout: layout(c, {height: 260})};
  const values = unpack(packed), others = joined(range(view.facts.sizes.M).filter((m) => m !== view.m).map((m) => ({x, y: values.along(m, null, 0)})));
  return {data: [{...others, mode: "lines", line: {color: c.other, width: 0.8}, opacity: 0.5, hoverinfo: "skip"},
    {x, y: values.along(view.m, null, 0), mode: "lines", line: {color: c.accent, width: 1.8}, hovertemplate: `${time.hover}: %{y:.3g} candidates<extra></extra>`}],
    layout: layout(c, {height: 260, xaxis: axis(c, time.axis), yaxis: axis(c, {rangemode: "tozero"})})};
}

// -- the policy's training -------------------------------------------------------------------------------------------

function policyKlNow(view, c) {
  const kl = unpack(view.piece.policy.kl_steps), time = clock(view), {x} = time;
  const others = joined(range(view.facts.sizes.M).filter((m) => m !== view.m).map((m) => ({x, y: kl.along(m, null, 0)})));
  return {data: [{...others, mode: "lines", line: {color: c.other, width: 0.8}, opacity: 0.5, hoverinfo: "skip"},
    {x, y: kl.along(view.m, null, 0), mode: "lines", line: {color: c.accent, width: 1.8}, hovertemplate: `${time.hover}: %{y:.3g} nats<extra></extra>`}],
    layout: layout(c, {height: 260, xaxis: axis(c, time.axis), yaxis: axis(c, logAxis(Array.from(kl.data)))})};
}

function training(view, c) {
  const {policy} = view.piece, looks = Math.max(policy.training.length, 1), at = (i) => (policy.steps * i) / looks;
  const batches = positive(policy.training), seen = positive(policy.held_out);
  return {data: [
    {x: batches.map((_, i) => at(i + 0.5)), y: batches, mode: "lines", line: {color: c.other, width: 1.1}, hovertemplate: "mini-batches about step %{x:d}: %{y:.4g}<extra></extra>"},
    {x: seen.map((_, i) => at(i)), y: seen, mode: "lines+markers", line: {color: c.accent, width: 1.8}, marker: {size: 4}, hovertemplate: "step %{x:d}: %{y:.4g}<extra></extra>"},
  ], layout: layout(c, {height: 260, xaxis: axis(c, {title: {text: "step of the training"}, rangemode: "tozero"}), yaxis: axis(c, logAxis([...batches, ...seen]))})};
}

// -- a policy that is optimised through a model ----------------------------------------------------------------------

// The size of the slope of the cost h steps ahead in the first action; grey: the other iterations.
function gradient(view, c) {
  const slopes = (piece) => positive(piece.optimisation?.gradients ?? []), curve = (piece) => ({x: slopes(piece).map((_, h) => h), y: slopes(piece)});
  const others = view.pieces.filter((piece) => piece.optimisation?.gradients && piece !== view.piece).slice(-30).map(curve), {x, y} = curve(view.piece);
  return {data: [{...joined(others), mode: "lines", line: {color: c.other, width: 0.9}, opacity: 0.45, hoverinfo: "skip"},
    {x, y, mode: "lines", line: {color: c.accent, width: 2.2}, hovertemplate: "%{x} steps ahead: %{y:.3g}<extra></extra>"}],
    layout: layout(c, {height: 320, xaxis: axis(c, {title: {text: "steps ahead"}, rangemode: "tozero"}),
      yaxis: axis(c, {title: {text: "cost per half the range of the action"}, ...logAxis([...y, ...others.flatMap((other) => other.y)])})})};
}

function optimising(view, c) {
  const losses = view.piece.optimisation?.losses ?? [];
  return {data: [{x: range(losses.length), y: losses, mode: "lines+markers", line: {color: c.accent, width: 1.8}, marker: {size: 4}, hovertemplate: "look %{x}: %{y:.4g}<extra></extra>"}],
    layout: layout(c, {height: 320, xaxis: axis(c, {title: {text: "look"}, rangemode: "tozero", dtick: Math.max(1, Math.ceil(losses.length / 8))}), yaxis: axis(c)})};
}

// -- one start, without noise ----------------------------------------------------------------------------------------

// The episodes of the policy from the chosen start, of the policy from the other starts of its kind, and of its teacher.
function episodes(view, what) {
  const {kind, i} = starts(view.facts)[view.start], of = view.ends[kind === "unseen" ? "unseen" : "final"], {taught} = view.ends;
  const at = of.starts.indexOf(i), beside = kind === "trained" && taught ? taught.starts.indexOf(i) : -1;
  return {policy: unpack(of[what]), at, others: range(of.starts.length).filter((other) => other !== at), taught: beside < 0 ? null : unpack(taught[what]), beside};
}

function endLines(view, c, width, what, titles, indices, limits = () => []) {
  const {policy, at, others, taught, beside} = episodes(view, what), name = teacherOf(view.facts).one, time = clock(view), {x} = time;
  const shown = (i) => [...policy.along(at, null, i), ...(taught ? taught.along(beside, null, i) : [])];
  const y = (plot) => ({nticks: 5, range: room(shown(indices[plot]), others.flatMap((other) => policy.along(other, null, indices[plot])), limits(indices[plot]))});
  const grid = multiples(c, indices.map((i) => titles[i]), width, {row: 130, least: 210, x: time.axis, y});
  grid.layout.shapes = limitLines(c, grid.axes, indices, limits);
  const line = (y, colour, name, axes) => ({x, y, mode: "lines", line: {color: colour, width: 2}, hovertemplate: `${time.hover}: %{y:.4g}<extra>${name}</extra>`, ...axes});
  const data = grid.axes.flatMap((axes, plot) => {
    const i = indices[plot], rest = joined(others.map((other) => ({x, y: policy.along(other, null, i)})));
    return [{...rest, mode: "lines", line: {color: c.other, width: 0.7}, opacity: 0.45, hoverinfo: "skip", ...axes},
      ...(taught ? [line(taught.along(beside, null, i), c.local, name, axes)] : []), line(policy.along(at, null, i), c.accent, learned(view.facts).one, axes)];
  });
  return {data, layout: {...grid.layout, uirevision: `${indices}`}};
}

const endStates = (view, c, width) => endLines(view, c, width, "states", stateTitles(view.facts), view.facts.groups[view.endGroup].indices);
const endActions = (view, c, width) => endLines(view, c, width, "actions", limitedTitles(view.facts), view.actionIndices, limitsOf(view.facts));

function endSpace(view, c) {
  const {policy, at, others, taught, beside} = episodes(view, "states"), point = view.facts.points[view.endPoint];
  const {kind} = starts(view.facts)[view.start], of = view.ends[kind === "unseen" ? "unseen" : "final"], chosen = path(point, policy, at);
  const items = kind === "unseen" ? view.facts.policy.unseen : view.facts.evaluation, fine = (other) => won(items[of.starts[other]]);
  const data = others.map((other) => line3(path(point, policy, other), fine(other) ? c.good : c.other, 1.5, `start ${of.starts[other]}`));
  if (taught) data.push(line3(path(point, taught, beside), c.local, 6, teacherOf(view.facts).one));
  return scene(c, [...data, line3(chosen, c.accent, 6, learned(view.facts).one), ...ends3(c, point, chosen)], `${view.endPoint}`);
}

// -- mixture ---------------------------------------------------------------------------------------------------------

// Two directions in the scaled space of [x; u], each with the factor and offset that give it back its units.
function directions(view) {
  const mixture = view.detail.mixture, dz = mixture.center.length;
  return view.axes.map((chosen) => {
    if (chosen.startsWith("principal")) {
      const i = Number(chosen.slice(-1)) - 1;
      return {vector: mixture.axes[i], scale: 1, center: 0, title: `principal axis ${i + 1} (${Math.round(100 * mixture.explained[i])} % of the variance)`};
    }
    const i = Number(chosen);
    return {vector: range(dz).map((j) => Number(i === j)), scale: mixture.scale[i], center: mixture.center[i], title: [...stateTitles(view.facts), ...actionTitles(view.facts)][i]};
  });
}

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

function mixture(view, c) {
  const {weights, center, scale} = view.detail.mixture, means = unpack(view.detail.mixture.means), covariances = unpack(view.detail.mixture.covariances);
  const sides = directions(view), dz = center.length, most = Math.max(...weights);
  const place = (scaled) => sides.map((side) => side.center + side.scale * dot(side.vector, scaled));
  const outline = (k) => {
    const rows = range(dz).map((i) => covariances.along(k, i, null));
    const cov = (a, b) => a.scale * b.scale * dot(a.vector, rows.map((row) => dot(row, b.vector)));
    const [s, t] = sides;
    return ellipse(cov(s, s), cov(s, t), cov(t, t), place(means.along(k, null)));
  };
  const clusters = weights.map((weight, k) => ({...outline(k), mode: "lines", fill: "toself", fillcolor: c.band, line: {color: c.accent, width: 1.4}, opacity: 0.25 + 0.75 * weight / most,
    hoverinfo: "text", text: `cluster ${k}: weight ${(100 * weight).toFixed(0)} %`, hoveron: "fills"}));
  const {x, y, owner} = samplePoints(view, (z) => place(z.map((value, i) => (value - center[i]) / scale[i])));
  const marks = (chosen, colour, size) => ({x: x.filter((_, i) => chosen(i)), y: y.filter((_, i) => chosen(i)), mode: "markers", marker: {color: colour, size}, hoverinfo: "skip"});
  return {data: [marks((i) => owner[i] !== view.m, c.line, 3), ...clusters, marks((i) => owner[i] === view.m, c.ink, 3)],
    layout: layout(c, {height: 420, margin: {l: 60, r: 12, t: 8, b: 42}, xaxis: axis(c, {title: {text: sides[0].title}}), yaxis: axis(c, {title: {text: sides[1].title}}), uirevision: view.axes.join()})};
}

// At most about 2000 of the samples' [x; u], evenly spread, projected, and the condition of each.
function samplePoints(view, project) {
  const states = unpack(view.detail.samples.states), actions = unpack(view.detail.samples.actions), [M, N, T] = states.shape;
  const stride = Math.max(1, Math.ceil((M * N * T) / 2000)), points = [], owner = [];
  for (let i = 0; i < M * N * T; i += stride) {
    const index = [Math.floor(i / (N * T)), Math.floor(i / T) % N, i % T];
    const z = [...states.along(...index, null), ...actions.along(...index, null)];
    if (Number.isFinite(z[0])) { points.push(project(z)); owner.push(index[0]); }
  }
  return {x: points.map((p) => p[0]), y: points.map((p) => p[1]), owner};
}
