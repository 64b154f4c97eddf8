// The dashboard: reads the REST API with a key that stays in this tab, and shows what it says.

import { agentFigures, agentsTable, budgetsTable, pageOf, runsTable } from "/web/agents.js";
import { cents, dayIn, exact, group, kwh, moment, monthStart, monthsBetween, percent, timeIn } from "/web/format.js";
import { chart, figure, make, section, table } from "/web/sections.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 60_000;
const DIMENSIONS = { house: ["tier", "customer", "model", "agent"], customer: ["model", "tier", "api_key", "agent", "project"] };
let key = sessionStorage.getItem("tokenledger-key");
let me;
let role = "house";
let zones = {};

async function call(path, accept = "application/json") {
  const reply = await fetch(path, { headers: { Authorization: `Bearer ${key}`, Accept: accept } });
  if (reply.ok) return accept === "application/json" ? reply.json() : reply.blob();
  const { detail } = await reply.json().catch(() => ({}));
  throw Object.assign(new Error(detail || `The ledger answered ${reply.status} ${reply.statusText}.`), { status: reply.status });
}

// All pages of a report, as known when the first was asked for.
async function every(path) {
  const items = [];
  let page = { next: "" };
  while (page.next !== null) {
    page = await call(page.next ? `${path}&cursor=${page.next}` : path);
    items.push(...page.items);
  }
  return { ...page, items };
}

const query = (given) => new URLSearchParams(Object.entries(given).filter(([, v]) => v)).toString();

async function openBooks() {
  me = await call("/v1/me");
  if (me.role === "ingest") throw new Error("A key of role ingest sends events and reads nothing: use one of role admin, finance or customer.");
  role = me.role === "customer" ? "customer" : "house";
  const { items } = await every("/v1/entities?limit=1000");
  zones = Object.fromEntries(items.map((each) => [each.entity_id, each.zone]));
  $("entity").replaceChildren(...items.map((each) => new Option(each.name, each.entity_id)));
  $("by").replaceChildren(...DIMENSIONS[role].map((name) => new Option(name.replace("_", " "), name)));
  $("door").hidden = true;
  $("books").hidden = $("leave").hidden = $("scope").hidden = false;
  await pickEntity();
}

// The months of this entity's usage, in its zone; nothing of the last entity's stays.
async function pickEntity() {
  const entity = $("entity").value;
  const zone = zones[entity];
  $("sections").replaceChildren();
  $("month").replaceChildren();
  $("zone").textContent = zone ?? "";
  const [{ since, until }, changes] = await Promise.all([
    call(`/v1/activity?${query({ entity })}`),
    role === "house" ? every(`/v1/closes?${query({ entity, limit: 1000 })}`) : { items: [] },
  ]);
  // Another was picked meanwhile: its own answer, which may have come first, is what counts.
  if ($("entity").value !== entity) return;
  const months = since ? monthsBetween(zone, since, new Date(Date.parse(until) - 1).toISOString()) : [];
  // The last change of a month is what it is; whoever knows of none says nothing.
  const states = Object.fromEntries(changes.items.map((each) => [each.month, each.state]));
  $("month").replaceChildren(...months.map(([year, month]) => {
    const name = `${year}-${String(month).padStart(2, "0")}`;
    return new Option((states[name] ?? "open") === "open" ? name : `${name}, ${states[name].replace("_", " ")}`, name);
  }));
  await show();
}

function period() {
  if (!$("month").value) return null;
  const zone = zones[$("entity").value];
  const [year, month] = $("month").value.split("-").map(Number);
  const since = monthStart(zone, year, month);
  const until = month === 12 ? monthStart(zone, year + 1, 1) : monthStart(zone, year, month + 1);
  return { entity: $("entity").value, zone, since, until };
}

// What a later round has drawn is not drawn over by an earlier one that took longer.
let round = 0;

async function show() {
  const mine = ++round;
  const asked = period();
  const begun = new Date().toLocaleTimeString();
  $("as-of").textContent = asked ? "Reading the books …" : "There is no usage yet: send events to POST /v1/events.";
  if (!asked && role === "customer") return;
  const open = asked && role === "house" ? pageOf(location.hash) : null;
  const parts = role === "customer" ? ofCustomer(asked) : open ? ofAgent(asked, open) : ofHouse(asked);
  await Promise.all(parts.map((part) => section($("sections"), ...part, () => mine === round)));
  if (asked && mine === round) $("as-of").textContent = `Days of ${asked.zone}. As of ${begun}, and again every minute.`;
}

const within = ({ entity, since, until }, more = {}) => query({ entity, since, until, ...more });

function ofHouse(asked) {
  const margin = asked && marginOf(asked);
  const drawn = asked ? [
    ["figures", "Key figures", () => figures(asked, margin)],
    ["days", "Revenue and cost by day", () => days(asked)],
    ["groups", `By ${$("by").selectedOptions[0].text}`, () => groups(asked, margin)],
    ["kinds", "Cost by kind", () => kinds(asked)],
    ["producers", "Producers, least cost first", () => producers(asked)],
    ["extras", "Counted beside tokens", () => extras(asked)],
    ["agents", "Agents", async () => agentsTable(await call(`/v1/agents?${within(asked)}`))],
  ] : [];
  return [...drawn,
    ["invoices", "Invoices", () => invoices($("entity").value)],
    ["ingest", "State of ingest", ingest]];
}

// The page of one agent of a customer.
function ofAgent(asked, open) {
  const report = call(`/v1/agent?${within(asked, open)}`);
  return [
    ["agent", `Agent ${open.agent} of ${open.customer}`, async () => agentFigures(await report)],
    ["days", "Revenue by day", () => spendByDay(asked, open)],
    ["extras", "Counted beside tokens", () => extras(asked, open)],
    ["runs", "Runs, those used last first", async () => runsTable(await report)],
    ["budgets", "Budgets", async () => budgetsTable(await report)],
  ];
}

function ofCustomer(asked) {
  const by = $("by").value;
  return [
    ["coming", "Invoice to come", () => coming(asked)],
    ["days", "Spend by day", () => spendByDay(asked)],
    ["groups", `Usage by ${$("by").selectedOptions[0].text}`, () => usageBy(asked, by, by)],
    ["usage-days", "Usage by day", () => usageBy(asked, "day", "day")],
    ["extras", "Counted beside tokens", () => extras(asked)],
    ["invoices", "Invoices", () => invoices($("entity").value)],
  ];
}

// The margin where every cost is known; else what is known, and what is missing by its name.
async function marginOf(asked) {
  try {
    const report = await call(`/v1/margins?${within(asked, { by: $("by").value })}`);
    return report.missing ? { report: null, missing: report.missing } : { report, missing: null };
  } catch (error) {
    if (error.status === 401) throw error;
    return { report: null, missing: error.message };
  }
}

async function figures(asked, margin) {
  const [{ report, missing }, { items }] = await Promise.all([
    margin, every(`/v1/charges?${within(asked, { by: "," })}`)]);
  const boxes = items.filter((row) => row.currency).map((row) => figure("Revenue", cents(row.amount), row.currency));
  const waiting = items.reduce((sum, row) => sum + row.unpriced_quantity, 0);
  if (waiting) boxes.push(figure("Waits for a price", group(waiting), "units"));
  if (report) {
    const { total, currency } = report;
    boxes.push(
      figure("Cost, idle included", cents(total.cost), currency), figure("Idle cost", cents(report.idle_cost), currency),
      figure("Gross margin before idle", percent(total.gross_margin_before_idle_pct)),
      figure("Gross margin after idle", percent(total.gross_margin_pct)));
    if (report.energy_mj) boxes.push(figure("Energy", kwh(report.energy_mj), "kWh"));
  }
  const nodes = [make("div", { className: "figures" }, ...boxes)];
  if (!boxes.length) nodes[0] = make("p", { className: "empty", textContent: "Nothing was charged in this month." });
  if (missing) nodes.push(make("p", { className: "missing", textContent: `Cost and margin are not known: ${missing}` }));
  return nodes;
}

async function days(asked) {
  const { items } = await call(`/v1/hourly?${within(asked, { step: "day" })}`);
  const currencies = [...new Set(items.map((row) => row.currency))];
  if (!currencies.length) return [make("p", { className: "empty", textContent: "Nothing to draw in this month." })];
  return currencies.flatMap((currency) => {
    const rows = items.filter((row) => row.currency === currency).map((row) => ({ ...row, day: dayIn(asked.zone, row.hour) }));
    const costs = rows.some((row) => row.cost !== null);
    const series = [{ name: "revenue", of: (row) => row.revenue, side: -1, colour: "--accent" }];
    if (costs) series.push({ name: "cost", of: (row) => row.cost, side: 1, colour: "--cost" }, { name: "of it idle", of: (row) => row.idle, side: 1, colour: "--idle" });
    const columns = [{ name: "day", of: (row) => row.day }, { name: `revenue ${currency}`, n: true, of: (row) => cents(row.revenue), raw: (row) => row.revenue },
      { name: `cost ${currency}`, n: true, of: (row) => cents(row.cost), raw: (row) => row.cost }, { name: `idle ${currency}`, n: true, of: (row) => cents(row.idle), raw: (row) => row.idle }];
    return [chart(asked, currency, rows, series), folded(table(`days-${currency}`, columns, rows, ""))];
  });
}

const folded = (nodes) => make("details", {}, make("summary", { textContent: "as a table" }), ...nodes);

const tokens = (row) => (row.input_tokens === null || row.output_tokens === null ? null : row.input_tokens + row.output_tokens);

async function groups(asked, margin) {
  const by = $("by").value;
  const { report } = await margin;
  if (!report) return chargesBy(asked, by);
  const unit = report.currency;
  const money = (name, field) => ({ name: `${name} ${unit}`, n: true, of: (row) => cents(row[field]), raw: (row) => row[field] });
  const columns = [{ name: by, of: (row) => (row.total ? "total" : row[by] || "–"), raw: (row) => row[by] },
    { name: "tokens", n: true, of: (row) => (tokens(row) === null ? "unknown" : group(tokens(row))), raw: (row) => tokens(row) ?? "unknown" },
    { name: "kWh", n: true, of: (row) => kwh(row.energy_mj) }, money("electricity", "electricity"), money("GPU", "gpu_cost"), money("idle", "idle_share"), money("site", "site_share"), money("revenue", "revenue"),
    { name: "margin before idle", n: true, of: (row) => percent(row.gross_margin_before_idle_pct), raw: (row) => row.gross_margin_before_idle_pct },
    { name: "margin after idle", n: true, of: (row) => percent(row.gross_margin_pct), raw: (row) => row.gross_margin_pct }];
  const rows = report.items.length ? [...report.items, { ...report.total, total: true }] : [];
  const note = rows.length ? [make("p", { className: "dim", textContent: `After idle: ${report.idle_policy}.` })] : [];
  return [...table(`margin-by-${by}`, columns, rows, "No usage in this month."), ...note];
}

// What a cost lacks stands among the key figures.
async function kinds(asked) {
  const { kinds, currency } = await call(`/v1/costs?${within(asked)}`);
  if (!kinds) return null;
  const columns = [{ name: "kind", of: (row) => (row.facility_id ? `${row.kind} of ${row.facility_id}` : row.kind), raw: (row) => row.kind },
    { name: "site", filed: true, of: (row) => row.facility_id }, { name: `cost ${currency}`, n: true, of: (row) => cents(row.amount), raw: (row) => row.amount },
    { name: "of all", n: true, of: (row) => percent(row.percent), raw: (row) => row.percent }];
  return table("cost-by-kind", columns, kinds, "Nothing was spent in this month.");
}

async function producers(asked) {
  const report = await call(`/v1/producers?${within(asked)}`).catch((error) => { if (error.status === 401) throw error; });
  if (!report?.items.length) return null;
  const number = (name, field, shown) => ({ name, n: true, of: (row) => (row[field] === null ? "–" : shown(row[field])), raw: (row) => row[field] });
  const columns = [{ name: report.by, of: (row) => row.name }, number("output tokens", "output_tokens", group), number("GPU hours", "gpu_hours", cents),
    number("used", "utilisation_percent", percent), number("J an output token", "joules_per_output_token", cents), number("tokens a kWh", "output_tokens_per_kwh", cents),
    number(`cost ${report.currency} a million output`, "cost_per_million_output", cents), number(`revenue ${report.currency} a GPU hour`, "revenue_per_gpu_hour", cents)];
  return table("producers", columns, report.items, "");
}

async function chargesBy(asked, by) {
  const { items } = await every(`/v1/charges?${within(asked, { by })}`);
  const columns = [{ name: by.replace("_", " "), of: (row) => row[by] || "–", raw: (row) => row[by] },
    { name: "units", n: true, of: (row) => group(row.quantity), raw: (row) => row.quantity },
    { name: "wait for a price", n: true, of: (row) => group(row.unpriced_quantity), raw: (row) => row.unpriced_quantity },
    { name: "revenue", n: true, of: (row) => `${cents(row.amount)} ${row.currency ?? ""}`, raw: (row) => row.amount },
    { name: "currency", filed: true, of: (row) => row.currency }];
  return table(`revenue-by-${by}`, columns, items, "Nothing was charged in this month.");
}

async function coming(asked) {
  const at = Date.parse(asked.until) <= Date.now() ? new Date(Date.parse(asked.until) - 1000).toISOString() : "";
  const [{ items }, charged] = await Promise.all([
    call(`/v1/invoices/coming?${query({ at })}`), every(`/v1/charges?${within(asked, { by: "," })}`)]);
  const spent = charged.items.filter((row) => row.currency).map((row) => figure("Spend this month so far", cents(row.amount), row.currency));
  const waiting = charged.items.reduce((sum, row) => sum + row.unpriced_quantity, 0);
  if (waiting) spent.push(figure("Waits for a price", group(waiting), "units"));
  if (charged.rated_to) spent.push(figure("Charged up to what came until", timeIn(asked.zone, charged.rated_to)));
  const drafts = items.flatMap((draft) => {
    const columns = [{ name: "what", of: (line) => line.description }, { name: "model", filed: true, of: (line) => line.model }, { name: "tier", filed: true, of: (line) => line.tier },
      { name: "meter", filed: true, of: (line) => line.meter }, { name: "quantity", n: true, of: (line) => group(line.quantity), raw: (line) => line.quantity },
      { name: `price ${draft.priced_in}`, n: true, of: (line) => `${exact(line.unit_amount)} per ${group(line.per)}`, raw: (line) => line.unit_amount }, { name: "per", filed: true, of: (line) => line.per },
      { name: `amount ${draft.currency}`, n: true, of: (line) => cents(line.amount), raw: (line) => line.amount }];
    const name = draft.run_no > 1 ? "Beyond what was invoiced" : "Invoice to come, as it stands";
    const until = dayIn(asked.zone, Date.parse(draft.period_end) - 1);
    const boxes = [figure(name, cents(draft.payable), draft.currency), figure("Billing period", `${dayIn(asked.zone, draft.period_start)} to ${until}`)];
    return [make("div", { className: "figures" }, ...boxes), ...table(`invoice-to-come-${draft.subscription_id}`, columns, draft.lines, "Nothing to pay yet.")];
  });
  if (!items.length) drafts.push(make("p", { className: "empty", textContent: "There is no subscription in this month." }));
  return [make("div", { className: "figures" }, ...spent), ...drafts];
}

// Of an agent where one is open, else of all that the key sees.
async function spendByDay(asked, open = null) {
  const by = open ? "customer,agent,day" : "day";
  const all = await every(`/v1/charges?${within(asked, { by, time_zone: asked.zone })}`);
  const items = all.items.filter((row) => !open || (row.customer === open.customer && row.agent === open.agent));
  const currencies = [...new Set(items.filter((row) => row.currency).map((row) => row.currency))];
  if (!currencies.length) return [make("p", { className: "empty", textContent: "Nothing was charged in this month." })];
  return currencies.map((currency) => {
    const rows = items.filter((row) => row.currency === currency).map((row) => ({ ...row, hour: row.day, day: dayIn(asked.zone, row.day) }));
    return chart(asked, currency, rows, [{ name: open ? "revenue" : "spend", of: (row) => row.amount, colour: "--accent" }]);
  });
}

// A count that nobody knows is unknown, never nothing; what is not final says of how many requests.
const MARKS = { estimated: "estimated", incomplete: "incomplete", input_unknown: "of unknown input", output_unknown: "of unknown output",
  cached_unknown: "of unknown cache reads", written_unknown: "of unknown cache writes", reasoning_unknown: "of unknown reasoning" };
const marks = (row) => Object.entries(MARKS).filter(([name]) => row[name]).map(([name, text]) => `${group(row[name])} ${text}`).join(", ");

async function usageBy(asked, by, name) {
  const more = { by, time_zone: asked.zone };
  const [{ items }, charged] = await Promise.all([every(`/v1/usage?${within(asked, more)}`), every(`/v1/charges?${within(asked, more)}`)]);
  const amounts = (row) => charged.items.filter((each) => each[by] === row[by] && each.currency).map((each) => `${cents(each.amount)} ${each.currency}`).join(", ") || "–";
  const label = (row) => (by === "day" ? dayIn(asked.zone, row.day) : row[by] || "–");
  const count = (title, of) => ({ name: title, n: true, of: (row) => (of(row) === null ? "unknown" : group(of(row))), raw: (row) => of(row) ?? "unknown" });
  const columns = [{ name: name.replace("_", " "), of: label }, count("requests", (row) => row.requests), count("input", (row) => row.input_tokens),
    count("cached", (row) => row.cache_read), count("output", (row) => row.output_tokens), { name: "not final", of: marks, filed: !items.some(marks) }, { name: "spend", n: true, of: amounts }];
  return table(`usage-by-${by}`, columns, items, "No usage in this month.");
}

// Searches, images, audio and the like; parts of tokens are in the tokens as well.
async function extras(asked, open = null) {
  const { items } = await every(`/v1/extras?${within(asked, { by: open ? "customer,agent" : "," })}`);
  const rows = items.filter((row) => !open || (row.customer === open.customer && row.agent === open.agent));
  const columns = [{ name: "meter", of: (row) => row.meter }, { name: "count", n: true, of: (row) => group(row.quantity), raw: (row) => row.quantity }];
  return rows.length ? table("extras", columns, rows) : null;
}

async function invoices(entity) {
  const { items } = await call(`/v1/invoices?${query({ entity, limit: 50 })}`);
  const columns = [{ name: "number", of: pdfLink, raw: (row) => row.number }, { name: "customer", of: (row) => row.customer_id },
    { name: "issued", of: (row) => dayIn(zones[entity] ?? "UTC", row.issued_at) },
    { name: "payable", n: true, of: (row) => `${cents(row.payable)} ${row.currency}`, raw: (row) => row.payable }, { name: "currency", filed: true, of: (row) => row.currency }];
  return table("invoices", columns, items, "No invoice yet.");
}

function pdfLink(row) {
  const link = make("a", { href: "#", textContent: row.number });
  link.onclick = async (event) => {
    event.preventDefault();
    const pdf = await call(`/v1/invoices/${row.invoice_id}/pdf`, "application/pdf").catch((error) => { link.title = error.message; });
    if (pdf) window.open(URL.createObjectURL(pdf), "_blank", "noopener");
  };
  return link;
}

async function ingest() {
  // A key of one entity sees nothing of the others' sources.
  if (me.entity_id !== null) return null;
  const status = await call("/v1/status");
  const counts = { "in suspense": status.suspense.length, quarantined: status.quarantined, "sequence gaps": status.sequence_gaps.length };
  const tags = Object.entries(counts).map(([name, count]) => make("span", { className: count ? "tag bad" : "tag", textContent: `${group(count)} ${name}` }));
  const columns = [{ name: "source", of: (row) => row.source }, { name: "last event (UTC)", of: (row) => moment(row.last_event_at), raw: (row) => row.last_event_at },
    { name: "counted", n: true, of: (row) => group(row.counted ?? 0), raw: (row) => row.counted ?? 0 }, { name: "duplicate", n: true, of: (row) => group(row.duplicate ?? 0), raw: (row) => row.duplicate ?? 0 },
    { name: "refused", n: true, of: (row) => group(row.quarantined ?? 0), raw: (row) => row.quarantined ?? 0 }];
  return [make("div", { className: "tags" }, ...tags), ...table("sources", columns, status.sources, "Nothing was ever received.")];
}

function refuse(error) {
  sessionStorage.removeItem("tokenledger-key");
  $("books").hidden = $("leave").hidden = $("scope").hidden = true;
  $("door").hidden = $("refused").hidden = false;
  $("refused").textContent = error.message;
}

const again = (work) => work().catch((error) => { if (error.status === 401) refuse(error); else $("as-of").textContent = error.message; });
$("entity").onchange = () => { history.replaceState(null, "", location.pathname); again(pickEntity); };
$("month").onchange = $("by").onchange = () => again(show);
window.onhashchange = () => { $("sections").replaceChildren(); again(show); };
$("scope").onsubmit = (event) => { event.preventDefault(); again(show); };
$("leave").onclick = () => { sessionStorage.removeItem("tokenledger-key"); location.reload(); };
$("door").onsubmit = (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  sessionStorage.setItem("tokenledger-key", key);
  $("refused").hidden = true;
  openBooks().catch(refuse);
};
setInterval(() => { if (!$("books").hidden && !document.hidden) again(show); }, REFRESH_MS);
if (key) openBooks().catch(refuse);
