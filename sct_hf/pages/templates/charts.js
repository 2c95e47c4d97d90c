"use strict";
// Charts of Bokeh. Its axes have the program's words only; names of users are in the legend, as text.
const dark = matchMedia("(prefers-color-scheme: dark)");
const colours = {
  false: ["#2a6fdb", "#d9480f", "#2b8a3e", "#9c36b5", "#b08900", "#0b7285", "#c2255c", "#5c636a"],
  true: ["#74a9ff", "#ff9a62", "#6fd08c", "#d48ae8", "#e0c04f", "#5cc3d6", "#f783ac", "#adb5bd"],
};
const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function draw(figure, chart, curves) {
  const { figure: newFigure, show } = Bokeh.Plotting;
  const ink = theme("--ink"), faint = theme("--faint");
  const plot = newFigure({
    height: 300, sizing_mode: "stretch_width", toolbar_location: null, tools: "",
    x_axis_label: chart.x, y_axis_label: chart.y, y_axis_type: chart.log ? "log" : "linear",
    ...(chart.x_range ? { x_range: chart.x_range } : {}), ...(chart.y_range ? { y_range: chart.y_range } : {}),
    background_fill_color: null, border_fill_color: null, outline_line_color: null, min_border_right: 12,
  });
  for (const axis of [plot.xaxis, plot.yaxis]) {
    Object.assign(axis, {
      axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: faint, major_tick_line_color: faint,
      minor_tick_line_color: null, axis_label_text_font_style: "normal", axis_label_text_font_size: "13px",
      major_label_text_font_size: "12px",
    });
  }
  for (const grid of [plot.xgrid, plot.ygrid]) grid.grid_line_color = faint;
  if (chart.diagonal) plot.line([0, 1], [0, 1], { line_color: ink, line_dash: [2, 4], line_alpha: 0.6 });
  const legend = figure.querySelector(".legend");
  legend.replaceChildren();
  const drawn = [];
  curves.forEach((curve, place) => {
    const color = colours[dark.matches][place % 8];
    const source = new Bokeh.ColumnDataSource({ data: { x: curve.x, y: curve.y.map((y) => y ?? NaN) } });
    const x = { field: "x" }, y = { field: "y" };
    if (curve.kind === "bars") {
      const width = curve.x.length > 1 ? curve.x[1] - curve.x[0] : 1;
      drawn.push(plot.vbar(x, width, y, 0, { source, fill_color: color, line_color: null, fill_alpha: 0.55 }));
    } else {
      const dash = curve.kind === "dashed" ? [6, 4] : [];
      drawn.push(plot.line(x, y, { source, line_color: color, line_width: 2, line_dash: dash }));
      if (curve.kind === "dots" || curve.x.length === 1) {
        drawn.push(plot.scatter(x, y, { source, size: 6, fill_color: color, line_color: null }));
      }
    }
    const item = document.createElement("li");
    const mark = document.createElement("i");
    mark.style.background = color;
    const name = document.createElement("bdi");
    name.textContent = curve.name;
    item.append(mark, name);
    legend.append(item);
  });
  plot.add_tools(new Bokeh.HoverTool({ renderers: drawn, mode: "mouse", tooltips: [["", "@x{0.[0000]}, @y{0.[0000]}"]] }));
  const place = figure.querySelector(".plot");
  place.replaceChildren();
  show(plot, place);
}

document.querySelectorAll(".charts").forEach((group) => {
  const charts = [...group.querySelectorAll(".chart")].map((figure) => [
    figure, JSON.parse(figure.querySelector("script").textContent),
  ]);
  const select = group.querySelector("select");
  const redraw = () => {
    for (const [figure, chart] of charts) draw(figure, chart, [...chart.curves, ...(chart.choices[select?.value ?? -1] ?? [])]);
  };
  select?.addEventListener("change", redraw);
  dark.addEventListener("change", redraw);
  redraw();
});
