"use strict";
// What all figures share: packed arrays, colours, axes, small multiples. A figure is a function of the view that
// returns {data, layout}; it changes nothing.

// -- arrays ----------------------------------------------------------------------------------------------------------

class Tensor {
  constructor(shape, data) { this.shape = shape; this.data = data; }
  at(...index) { return this.data[index.reduce((sum, i, axis) => sum * this.shape[axis] + i, 0)]; }
  // The values along the one axis whose index is null.
  along(...index) {
    const axis = index.indexOf(null);
    return Array.from({length: this.shape[axis]}, (_, i) => this.at(...index.map((at, a) => (a === axis ? i : at))));
  }
}

const UNPACKED = new WeakMap();

// The array that gps.inspect.report.packing.pack made into text; NaN where it was not finite.
function unpack(packed) {
  if (UNPACKED.has(packed)) return UNPACKED.get(packed);
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const wide = packed.bits === 16, features = packed.low.length, missing = wide ? 65535 : 255;
  const data = new Float64Array(wide ? bytes.length / 2 : bytes.length);
  for (let i = 0; i < data.length; i++) {
    const level = wide ? bytes[2 * i] + 256 * bytes[2 * i + 1] : bytes[i];
    data[i] = level === missing ? NaN : packed.low[i % features] + packed.step[i % features] * level;
  }
  const tensor = new Tensor(packed.shape, data);
  UNPACKED.set(packed, tensor);
  return tensor;
}

const range = (n) => Array.from({length: n}, (_, i) => i);
const finite = (values) => values.filter((value) => value !== null && Number.isFinite(value));

// -- colours and axes ------------------------------------------------------------------------------------------------

function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["card", "ink", "muted", "line", "accent", "good", "warn", "bad", "band", "other", "low", "middle", "high", "local", "local-band"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const diverging = (c) => [[0, c.low], [0.5, c.middle], [1, c.high]];
const rising = (c) => [[0, c.middle], [1, c.accent]];

// Black or white, whichever can be read on the colour of a value in -1 to 1 on the diverging scale.
function legible(c, value) {
  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255), far = channels(value < 0 ? c.low : c.high), share = Math.min(Math.abs(value), 1);
  const [red, green, blue] = channels(c.middle).map((near, i) => near + share * (far[i] - near)).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";  // equal contrast to both
}

function axis(c, extra = {}) {
  return {gridcolor: c.line, zerolinecolor: c.line, linecolor: c.line, tickcolor: c.line, ticks: "outside", ticklen: 3,
    automargin: false, showline: true, exponentformat: "e", ...extra, ...(extra.title ? {title: {standoff: 6, font: {size: 11.5}, ...extra.title}} : {})};
}

// A logarithmic axis for these values: a tick for each decade if there are many, at 1, 2 and 5 if there are few.
function logAxis(values, format = "~g", extra = {}) {
  const shown = finite(values).filter((value) => value > 0);
  const decades = shown.length ? Math.log10(Math.max(...shown) / Math.min(...shown)) : 0;
  if (decades < 0.5) return {type: "log", nticks: 5, tickformat: format, ...extra};  // 1, 2 and 5 may all lie outside
  return {type: "log", dtick: decades > 2 ? Math.ceil(decades / 6) : "D2", tickformat: decades > 3 && format === "~g" ? "~e" : format, ...extra};
}

const iterations = (c, view, extra = {}) => axis(c, {range: [-0.5, view.pieces.length - 0.5], title: {text: "iteration"},
  tickformat: "d", dtick: Math.max(1, Math.ceil(view.pieces.length / 10)), ...extra});

function layout(c, extra = {}) {
  return {font: {family: getComputedStyle(document.body).fontFamily, size: 11.5, color: c.ink}, height: 240,
    modebar: {bgcolor: "rgba(0,0,0,0)", color: c.muted, activecolor: c.ink},
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 54, r: 12, t: 8, b: 38},
    hovermode: "closest", hoverlabel: {font: {family: "inherit"}}, showlegend: false, bargap: 0.25, ...extra};
}

// The axis of time: seconds where the control period is known, otherwise time steps. `hover` is the beginning of a label.
function clock({facts: {times, dt}}) {
  return dt ? {x: times.map((t) => t * dt), axis: {title: {text: "time, s"}, rangemode: "tozero"}, hover: "t = %{x:.4~g} s"}
    : {x: times, axis: {title: {text: "time step"}, rangemode: "tozero"}, hover: "t = %{x}"};
}

// `knee angle, rad`: an entry of the state or of the action with its unit.
const withUnit = (name, unit) => (unit ? `${name}, ${unit}` : name);
const stateTitles = ({entries, units}) => entries.map((name, i) => withUnit(name, units[i]));
const actionTitles = ({actions, action_units}) => actions.map((name, i) => withUnit(name, action_units[i]));

// The vertical line at the selected iteration.
const cursor = (c, view, x = "x", y = "y") => ({type: "line", x0: view.k, x1: view.k, y0: 0, y1: 1, xref: x, yref: `${y} domain`,
  line: {color: c.muted, width: 1, dash: "dot"}, layer: "below"});

const colorbar = (title, extra = {}) => ({title: {text: title, side: "right", font: {size: 11}}, thickness: 9, outlinewidth: 0,
  tickfont: {size: 10.5}, len: 1, ...extra});

// -- small multiples -------------------------------------------------------------------------------------------------

// A grid of plots with a title each: their axes' names, and the layout that places them within `width` pixels.
function multiples(c, titles, width, {most = 4, least = 230, row = 170, x = {}, y = {nticks: 5}, shapes = []} = {}) {
  const count = titles.length;
  const columns = Math.max(1, Math.min(count, most, Math.floor(width / least)));
  const rows = Math.ceil(count / columns);
  const margin = {l: 48, r: 10, t: 24, b: 38};
  const height = margin.t + margin.b + rows * row + (rows - 1) * 46;
  const inner = {width: Math.max(width - margin.l - margin.r, 100), height: height - margin.t - margin.b};
  const gap = {x: 50 / inner.width, y: 46 / inner.height};
  const size = {x: (1 - (columns - 1) * gap.x) / columns, y: (1 - (rows - 1) * gap.y) / rows};
  const result = layout(c, {height, margin, annotations: [], shapes});
  const axes = titles.map((title, i) => {
    const suffix = i ? i + 1 : "", column = i % columns, line = Math.floor(i / columns);
    const left = column * (size.x + gap.x), top = 1 - line * (size.y + gap.y);
    const bottomMost = i + columns >= count;
    result[`xaxis${suffix}`] = {...axis(c, x), domain: [left, Math.min(left + size.x, 1)], anchor: `y${suffix}`,
      ...(bottomMost ? {} : {title: undefined})};
    result[`yaxis${suffix}`] = {...axis(c, typeof y === "function" ? y(i) : y), domain: [Math.max(top - size.y, 0), top], anchor: `x${suffix}`};
    result.annotations.push({text: title, x: left, y: top, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom",
      yshift: 2, showarrow: false, font: {size: 11.5, color: c.ink}});
    return {xaxis: `x${suffix}`, yaxis: `y${suffix}`};
  });
  return {layout: result, axes};
}

// A line with a band around it: three traces.
function band(c, {x, hover}, mean, deviation, axes, {colour = c.accent, fill = c.band, name} = {}) {
  const bound = (sign) => mean.map((value, i) => value + sign * 2 * deviation[i]);
  const edge = {x, mode: "lines", line: {width: 0}, hoverinfo: "skip", ...axes};
  return [{...edge, y: bound(-1)}, {...edge, y: bound(1), fill: "tonexty", fillcolor: fill},
    {x, y: mean, mode: "lines", line: {color: colour, width: 1.8}, name, customdata: deviation,
      hovertemplate: `${hover}: %{y:.4g} ± %{customdata:.2g}<extra>${name ?? ""}</extra>`, ...axes}];
}

// Several curves as one trace, with gaps between them.
function joined(curves) {
  const flat = (pick) => curves.flatMap((curve) => [...pick(curve), null]);
  return {x: flat((curve) => curve.x), y: flat((curve) => curve.y)};
}
