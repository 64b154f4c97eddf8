// A section of the page: a heading, a table with its file, a chart, or what went wrong with it.

import uPlot from "/web/vendor/uPlot.js";
import { cents, dayIn, group } from "/web/format.js";

const HALF_DAY = 43_200;

export const make = (name, given = {}, ...children) => {
  const node = Object.assign(document.createElement(name), given);
  node.append(...children);
  return node;
};

// Draws one section by `work`, which gives its nodes; an error stands where its figures would.
export async function section(holder, id, title, work, fresh) {
  const card = holder.querySelector(`#${id}`) ?? holder.appendChild(make("section", { id, className: "card", hidden: true }));
  let nodes;
  try {
    nodes = await work();
  } catch (error) {
    if (error.status === 401) throw error;
    nodes = [make("p", { className: "error", textContent: error.message })];
    nodes[0].setAttribute("role", "alert");
  }
  if (!fresh()) return;
  card.hidden = nodes === null;
  card.replaceChildren(make("h2", { textContent: title }), ...(nodes ?? []));
}

// Columns are {name, n: a number, of: row => what is shown, raw: row => what the file says, filed: only there}.
export function table(file, columns, rows, empty) {
  if (!rows.length) return [make("p", { className: "empty", textContent: empty })];
  const seen = columns.filter(({ filed }) => !filed);
  const head = seen.map(({ name, n }) => make("th", { scope: "col", className: n ? "n" : "", textContent: name }));
  const body = rows.map((row) => make("tr", { className: row.total ? "total" : "" },
    ...seen.map(({ n, of }) => make("td", { className: n ? "n" : "" }, of(row)))));
  const shown = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
  return [make("div", { className: "scroll" }, shown), save(file, columns, rows)];
}

function save(file, columns, rows) {
  const quoted = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    // A text that a spreadsheet would take for a formula is no formula of ours.
    const safe = /^[=+@\t\r]|^-(?![\d.])/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const button = make("button", { type: "button", className: "quiet file", textContent: "CSV" });
  button.onclick = () => {
    const lines = [columns.map(({ name }) => name), ...rows.filter((row) => !row.total).map((row) => columns.map(({ of, raw }) => (raw ?? of)(row)))];
    const text = lines.map((line) => line.map(quoted).join(",")).join("\r\n");
    const link = make("a", { download: `${file}.csv`, href: URL.createObjectURL(new Blob([`${text}\r\n`], { type: "text/csv" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  return button;
}

export function figure(name, value, unit = "") {
  return make("div", { className: "figure" }, make("span", { textContent: name }),
    make("b", { textContent: value }), make("small", { textContent: unit }));
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// One chart a currency: amounts of two never share an axis. A gap is where nothing is known.
export function chart({ zone, since, until }, currency, days, series) {
  const box = make("div", { className: "chart" });
  const at = days.map((day) => Date.parse(day.hour) / 1000);
  const values = series.map(({ of }) => days.map((day) => (of(day) === null ? null : Number(of(day)))));
  const sides = series.length > 1;
  const drawn = series.map(({ name, of, side, colour: token }) => ({
    label: name, stroke: colour(token), fill: colour(token), width: 0, points: { show: false },
    paths: uPlot.paths.bars({ size: [sides ? 0.4 : 0.8, 26], align: sides ? side : 0 }),
    value: (_, __, ___, place) => (place === null ? "" : `${cents(of(days[place]))} ${currency}`),
  }));
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const named = (_, splits) => splits.map((seconds) => dayIn(zone, seconds * 1000).slice(5));
  const grouped = (_, splits) => splits.map((amount) => (amount === null ? "" : group(amount)));
  const broad = (_, shown) => Math.max(64, 26 + 7 * Math.max(0, ...(shown ?? []).map((text) => text.length)));
  const plot = new uPlot({
    width: 600, height: 240, tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
    scales: {
      x: { time: true, range: [Date.parse(since) / 1000 - HALF_DAY, Date.parse(until) / 1000 - HALF_DAY] },
      y: { range: (_, low, high) => [Math.min(low, 0) * 1.05, Math.max(high, 0) * 1.05 || 1] },
    },
    axes: [{ ...axis, values: named, incrs: [1, 2, 7, 14].map((days) => days * 2 * HALF_DAY) }, { ...axis, values: grouped, size: broad, label: currency, labelSize: 18 }],
    series: [{ label: "day", value: (_, __, ___, place) => (place === null ? "" : days[place].day) }, ...drawn],
  }, [at, ...values], box);
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${series.map(({ name }) => name).join(", ")} by day in ${currency}`);
  new ResizeObserver(() => box.clientWidth && plot.setSize({ width: box.clientWidth, height: 240 })).observe(box);
  return box;
}
