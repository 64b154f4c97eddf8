// The dashboard: reads the REST API with a key that stays in this tab, and draws what it says.
// Money arrives as text and is only ever shown or drawn, never added up here.

const $ = (id) => document.getElementById(id);
const THIN = "\u2009";
let key = sessionStorage.getItem("tokenledger-key");

async function call(path, accept = "application/json") {
  const reply = await fetch(path, { headers: { Authorization: `Bearer ${key}`, Accept: accept } });
  if (reply.ok) return accept === "application/json" ? reply.json() : reply.blob();
  const problem = await reply.json().catch(() => ({ detail: reply.statusText }));
  throw Object.assign(new Error(problem.detail), { status: reply.status });
}

const query = (given) => new URLSearchParams(Object.entries(given).filter(([, v]) => v)).toString();
const group = (text) => {
  const [whole, rest] = String(text).replace("-", "\u2212").split(".");
  return whole.replace(/\B(?=(\d{3})+(?!\d))/g, THIN) + (rest === undefined ? "" : `.${rest}`);
};
// Two decimals, half up, on the digits themselves.
const cents = (text) => {
  if (text === null || text === undefined) return "–";
  const [whole, rest = ""] = String(text).replace("-", "").split(".");
  const digits = (rest + "000").slice(0, 3);
  const units = BigInt(whole + digits.slice(0, 2)) + (digits[2] >= "5" ? 1n : 0n);
  const shown = units.toString().padStart(3, "0");
  const sign = String(text).startsWith("-") && units > 0n ? "-" : "";
  return group(`${sign}${shown.slice(0, -2)}.${shown.slice(-2)}`);
};
const kwh = (mj) => mj === null || mj === undefined ? "–" : group((Number(mj) / 3.6e9).toFixed(3));
const percent = (text) => (text === null || text === undefined ? "–" : `${group(text)} %`);

function cell(text, kind = "") {
  const td = document.createElement("td");
  td.className = kind;
  if (text instanceof Node) td.append(text); else td.textContent = text;
  return td;
}

function fill(table, columns, rows, empty) {
  table.replaceChildren();
  if (!rows.length) {
    const note = document.createElement("caption");
    note.className = "empty";
    note.textContent = empty;
    table.append(note);
    return;
  }
  const head = table.createTHead().insertRow();
  for (const [name, kind] of columns) {
    const th = document.createElement("th");
    th.scope = "col";
    th.textContent = name;
    th.className = kind || "";
    head.append(th);
  }
  const body = table.createTBody();
  for (const { cells, total } of rows) {
    const row = body.insertRow();
    if (total) row.className = "total";
    cells.forEach((text, place) => row.append(cell(text, columns[place][1] || "")));
  }
}

function figure(name, value, unit = "") {
  const box = document.createElement("div");
  box.className = "figure";
  const label = document.createElement("span");
  label.textContent = name;
  const number = document.createElement("b");
  number.textContent = value;
  const small = document.createElement("small");
  small.textContent = unit;
  box.append(label, number, small);
  return box;
}

function bars(currency, hours) {
  const width = 960, height = 240, left = 58, bottom = 24, top = 8;
  const high = Math.max(...hours.flatMap((h) => [Number(h.revenue), Number(h.cost)]), 1e-9);
  const step = (width - left) / hours.length;
  const y = (value) => top + (height - top - bottom) * (1 - Math.max(Number(value), 0) / high);
  const base = y(0);
  const bar = (x, value, kind) =>
    `<rect class="${kind}" x="${x.toFixed(1)}" width="${(step * 0.36).toFixed(1)}" y="${y(value).toFixed(1)}" height="${(base - y(value)).toFixed(1)}"/>`;
  const marks = [0, 0.5, 1].map((part) => {
    const at = y(high * part);
    return `<line class="grid" x1="${left}" x2="${width}" y1="${at}" y2="${at}"/><text x="${left - 6}" y="${at + 3}" text-anchor="end">${group((high * part).toFixed(high < 20 ? 2 : 0))}</text>`;
  });
  const every = Math.ceil(hours.length / 12);
  const drawn = hours.map((hour, place) => {
    const x = left + place * step + step * 0.1;
    const title = `${hour.hour}: revenue ${cents(hour.revenue)} ${currency}, cost ${hour.cost === null ? "unknown" : `${cents(hour.cost)} ${currency}, of it idle ${cents(hour.idle)}`}`;
    const label = place % every ? "" : `<text x="${x}" y="${height - 8}">${hour.hour.slice(11, 16)}</text>`;
    return `<g><title>${title}</title>${bar(x, hour.revenue, "bar-revenue")}${bar(x + step * 0.4, hour.cost, "bar-cost")}${bar(x + step * 0.4, hour.idle, "bar-idle")}${label}</g>`;
  });
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Revenue and cost of each hour in ${currency}">${marks.join("")}${drawn.join("")}</svg>
    <div class="legend"><span><i class="key-revenue"></i>revenue</span><span><i class="key-cost"></i>cost</span><span><i class="key-idle"></i>of it idle</span><span>${currency}</span></div>`;
}

function field(moment) { return moment.slice(0, 16); }
function instant(id) { return `${$(id).value}:00Z`; }

async function openBooks() {
  const role = await findRole();
  $("door").hidden = true;
  $("books").hidden = $("leave").hidden = $("scope").hidden = false;
  const { items } = await call("/v1/entities");
  $("entity").replaceChildren(...items.map((e) => new Option(e.name, e.entity_id)));
  $("state-card").hidden = $("chart-card").hidden = role === "customer";
  $("entity").onchange = () => findPeriod().then(() => show(role)).catch(fail);
  $("scope").onsubmit = (event) => { event.preventDefault(); show(role).catch(fail); };
  await findPeriod();
  await show(role);
}

async function findRole() {
  try { await call("/v1/status"); return "house"; } catch (error) {
    if (error.status === 403) return "customer";
    throw error;
  }
}

async function findPeriod() {
  const { since, until } = await call(`/v1/activity?${query({ entity: $("entity").value })}`);
  if (since) { $("since").value = field(since); $("until").value = field(until); }
}

function fail(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

async function show(role) {
  $("problem").hidden = true;
  const within = { entity: $("entity").value, since: instant("since"), until: instant("until") };
  if (!$("since").value) {
    fail(new Error("There is no usage yet: send events to POST /v1/events."));
    return;
  }
  const drawn = [showInvoices(within.entity)];
  drawn.push(role === "customer" ? showUsage(within) : showMargin(within));
  if (role !== "customer") drawn.push(showState(), showHours(within));
  for (const done of await Promise.allSettled(drawn)) if (done.status === "rejected") fail(done.reason);
}

const known = (...counts) => (counts.includes(null) ? "unknown" : group(counts.reduce((sum, count) => sum + count, 0)));
const MARKS = { estimated: "estimated", incomplete: "incomplete", input_unknown: "of unknown input", output_unknown: "of unknown output" };
const marks = (row) => Object.entries(MARKS).filter(([name]) => row[name]).map(([name, text]) => `${group(row[name])} ${text}`).join(", ");

async function showUsage(within) {
  const { items } = await call(`/v1/usage?${query({ since: within.since, until: within.until, by: "model,tier" })}`);
  $("table-title").textContent = "Your usage by model and tier";
  $("figures").replaceChildren();
  fill($("tiers"), [["model"], ["tier"], ["requests", "n"], ["input", "n"], ["cached", "n"], ["output", "n"], ["not final"]],
    items.map((row) => ({ cells: [row.model, row.tier, group(row.requests), known(row.uncached, row.cache_read, row.cache_write), known(row.cache_read), known(row.visible, row.reasoning), marks(row)] })),
    "No usage in this period.");
}

async function showMargin(within) {
  let report;
  try { report = await call(`/v1/margins?${query({ ...within, by: "tier" })}`); } catch (error) {
    $("figures").replaceChildren();
    fill($("tiers"), [], [], "No margin can be shown for this period.");
    throw error;
  }
  const total = report.total, unit = report.currency;
  $("figures").replaceChildren(
    figure("Revenue", cents(total.revenue), unit), figure("Cost, idle included", cents(total.cost), unit),
    figure("Gross margin before idle", percent(total.gross_margin_before_idle_pct)),
    figure("after idle", percent(total.gross_margin_pct)),
    figure("Tokens", group(total.input_tokens + total.output_tokens)),
    figure("Energy", kwh(report.energy_mj), "kWh"), figure("Idle cost", cents(report.idle_cost), unit));
  const columns = [["tier"], ["tokens", "n"], ["kWh", "n"], ["electricity", "n"], ["GPU", "n"], ["idle", "n"], ["revenue", "n"], ["before idle", "n"], ["after idle", "n"]];
  const line = (row, name) => [name, group(row.input_tokens + row.output_tokens), kwh(row.energy_mj), cents(row.electricity), cents(row.gpu_cost), cents(row.idle_share), cents(row.revenue), percent(row.gross_margin_before_idle_pct), percent(row.gross_margin_pct)];
  $("table-title").textContent = `By tier, ${unit}`;
  const rows = report.rows.map((row) => ({ cells: line(row, row.tier) }));
  if (rows.length) rows.push({ cells: line(total, "total"), total: true });
  fill($("tiers"), columns, rows, "No usage in this period.");
  $("policy").textContent = report.missing ? `Cost and margin are unknown. ${report.missing}` : rows.length ? `After idle: ${report.idle_policy}.` : "";
}

async function showHours(within) {
  const { items } = await call(`/v1/hourly?${query(within)}`);
  // Amounts of two currencies never share an axis.
  const currencies = [...new Set(items.map((hour) => hour.currency))];
  const of = (currency) => bars(currency, items.filter((hour) => hour.currency === currency));
  $("chart").innerHTML = items.length ? currencies.map(of).join("") : '<p class="empty">Nothing to draw in this period.</p>';
}

async function showInvoices(entity) {
  const { items } = await call(`/v1/invoices?${query({ entity, limit: 12 })}`);
  fill($("invoices"), [["number"], ["customer"], ["issued"], ["payable", "n"]],
    items.map((row) => ({ cells: [pdfLink(row), row.customer_id, row.issued_at.slice(0, 10), `${cents(row.payable)} ${row.currency}`] })),
    "No invoice yet.");
}

function pdfLink(row) {
  const link = document.createElement("a");
  link.href = "#";
  link.textContent = row.number;
  link.onclick = async (event) => {
    event.preventDefault();
    const pdf = await call(`/v1/invoices/${row.invoice_id}/pdf`, "application/pdf");
    window.open(URL.createObjectURL(pdf), "_blank", "noopener");
  };
  return link;
}

async function showState() {
  const [status, unpriced] = await Promise.all([call("/v1/status"), call("/v1/unpriced")]);
  const tags = document.createElement("div");
  tags.className = "tags";
  for (const [name, count] of [["in suspense", status.suspense.length], ["unpriced", unpriced.items.length], ["quarantined", status.quarantined], ["sequence gaps", status.sequence_gaps.length]]) {
    const tag = document.createElement("span");
    tag.className = count ? "tag bad" : "tag";
    tag.textContent = `${group(count)} ${name}`;
    tags.append(tag);
  }
  $("waiting").replaceChildren(tags);
  fill($("sources"), [["source"], ["last event"], ["counted", "n"], ["duplicate", "n"]],
    status.sources.map((s) => ({ cells: [s.source, (s.last_event_at || "–").slice(0, 16).replace("T", " "), group(s.counted ?? 0), group(s.duplicate ?? 0)] })),
    "Nothing was ever received.");
}

$("door").onsubmit = (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  sessionStorage.setItem("tokenledger-key", key);
  enter();
};
$("leave").onclick = () => { sessionStorage.removeItem("tokenledger-key"); location.reload(); };

function enter() {
  openBooks().catch((error) => {
    if (error.status !== 401) { fail(error); return; }
    sessionStorage.removeItem("tokenledger-key");
    $("refused").textContent = error.message;
    $("refused").hidden = false;
  });
}
if (key) enter();
