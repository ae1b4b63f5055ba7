// Draws each plot from its description: an element .plot with a script of JSON in it.
// A description has the colours by name (@ink, @group-0, @group-0/0.2), so that a plot follows the theme; and, where both
// scales are possible, the range and the heights of the labels on each.
const dark = matchMedia("(prefers-color-scheme: dark)"), narrow = matchMedia("(max-width: 40rem)");
const plots = [...document.querySelectorAll(".plot")].map((element) => {
  const text = element.querySelector("script");
  const description = JSON.parse(text.textContent);
  text.remove();
  return {element, description, log: description.log};
});

function paint(value, style) {
  if (Array.isArray(value)) return value.map((item) => paint(item, style));
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, paint(item, style)]));
  const named = typeof value === "string" && /^@([\w-]+)(?:\/([\d.]+))?$/.exec(value);
  if (!named) return value;
  const hex = style.getPropertyValue(`--${named[1]}`).trim();
  const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return named[2] ? `rgba(${parts.join(",")},${named[2]})` : hex;
}

function draw({element, description, log}) {
  const {data, layout, scales} = paint(description, getComputedStyle(document.documentElement));
  if (scales) {
    const scale = scales[log ? "log" : "linear"];
    const few = log && scale.range[1] - scale.range[0] < 3;  // decades: ticks at 1, 2 and 5
    Object.assign(layout.yaxis, {type: log ? "log" : "linear", range: scale.range, ...(few ? {dtick: "D2"} : {})});
    data.filter((trace) => trace.meta === "label").forEach((trace, i) => { trace.y = [scale.labels[i]]; });
  }
  const labelled = data.some((trace) => trace.meta === "label");
  const legend = narrow.matches || !labelled;
  layout.showlegend = legend && data.some((trace) => trace.showlegend);
  if (legend) layout.margin.r = 12;
  if (layout.showlegend) layout.margin.t += 18 * Math.ceil(data.filter((trace) => trace.showlegend).length / (narrow.matches ? 1 : 4));
  layout.height += layout.showlegend ? layout.margin.t : 0;
  if (narrow.matches) layout.margin.l = Math.min(layout.margin.l, 46);
  const shown = legend ? data.filter((trace) => trace.meta !== "label") : data;
  Plotly.react(element, shown, layout, {displayModeBar: false, responsive: true});
}

const drawAll = () => plots.forEach(draw);
for (const plot of plots) {
  const box = plot.element.closest("figure")?.querySelector("input.log");
  if (!box) continue;
  box.checked = plot.log;
  box.addEventListener("change", () => { plot.log = box.checked; draw(plot); });
}
drawAll();
dark.addEventListener("change", drawAll);
narrow.addEventListener("change", drawAll);
// A plot is drawn in pixels, so it is drawn again for the width of the paper.
addEventListener("beforeprint", () => plots.forEach(({element}) => Plotly.relayout(element, {width: Math.min(element.clientWidth, 660)})));
addEventListener("afterprint", () => plots.forEach(({element}) => Plotly.relayout(element, {width: null, autosize: true})));
