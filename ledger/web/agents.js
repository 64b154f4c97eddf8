// Agents: those of an entity, and the page of one: its share, its runs, and what it may use.

import { cents, group, moment, percent } from "/web/format.js";
import { figure, make, table } from "/web/sections.js";

// A run this many times as long as the agent's middle one is worth a look.
const LONG_TIMES = 5;
const NEAR_PERCENT = 80;

// Whose page is open, as the address says it: #agent=customer/agent.
export function pageOf(hash) {
  const said = /^#agent=([^/]+)\/(.+)$/.exec(hash);
  return said && { customer: decodeURIComponent(said[1]), agent: decodeURIComponent(said[2]) };
}

const address = (row) => `#agent=${encodeURIComponent(row.customer_id)}/${encodeURIComponent(row.agent_id)}`;

const lasted = (seconds) => {
  if (seconds === null) return "–";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
};

const share = (part) => (part === null ? "unknown" : percent(part));
const known = (count) => (count === null ? "unknown" : group(count));
const cost = (row) => (row.cost === null ? "unknown" : cents(row.cost));

export function agentsTable({ agents, currency }) {
  const named = agents.filter((row) => row.agent_id);
  const columns = [
    { name: "agent", of: (row) => make("a", { href: address(row), textContent: row.agent_id }), raw: (row) => row.agent_id },
    { name: "customer", of: (row) => row.customer_id },
    { name: "of all tokens", n: true, of: (row) => share(row.demand_pct), raw: (row) => row.demand_pct },
    { name: `revenue ${currency}`, n: true, of: (row) => cents(row.revenue), raw: (row) => row.revenue },
    { name: `cost ${currency}`, n: true, of: cost, raw: (row) => row.cost ?? "unknown" },
    { name: "of all cost", n: true, of: (row) => share(row.cost_pct), raw: (row) => row.cost_pct },
    { name: "runs", n: true, of: (row) => group(row.runs), raw: (row) => row.runs },
    { name: "running", n: true, of: (row) => group(row.running), raw: (row) => row.running },
    { name: "longest", n: true, of: (row) => (row.runs ? lasted(row.longest_s) : "–"), raw: (row) => (row.runs ? row.longest_s : null) }];
  return table("agents", columns, named, "No agent was named in this month.");
}

export function agentFigures({ agent, currency, missing }) {
  const boxes = [
    figure("Requests", group(agent.requests)), figure("Input", known(agent.input_tokens), "tokens"), figure("Output", known(agent.output_tokens), "tokens"),
    figure("Of all tokens", share(agent.demand_pct)), figure("Revenue", cents(agent.revenue), currency),
    figure("Cost", cost(agent), currency), figure("Of all cost", share(agent.cost_pct)),
    figure("Runs", group(agent.runs)), figure("Running", group(agent.running))];
  const nodes = [make("p", {}, make("a", { href: "#", textContent: "← all agents" })), make("div", { className: "figures" }, ...boxes)];
  if (missing) nodes.push(make("p", { className: "missing", textContent: `Cost is not known: ${missing}` }));
  return nodes;
}

const extras = (run) => Object.entries(run.extras).sort().map(([meter, count]) => `${group(count)} ${meter}`).join(", ");

export function runsTable({ latest_runs: runs }) {
  const sorted = runs.map((run) => run.lasted_s ?? 0).sort((a, b) => a - b);
  const usual = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const length = (run) => (run.lasted_s > LONG_TIMES * usual && usual
    ? make("span", { className: "tag bad", textContent: lasted(run.lasted_s) }) : lasted(run.lasted_s));
  const columns = [
    { name: "run", of: (run) => run.agent_run_id }, { name: "started by", of: (run) => run.parent_run_id ?? "–", raw: (run) => run.parent_run_id },
    { name: "first (UTC)", of: (run) => moment(run.first_at), raw: (run) => run.first_at }, { name: "last (UTC)", of: (run) => moment(run.last_at), raw: (run) => run.last_at },
    { name: "lasted", n: true, of: length, raw: (run) => run.lasted_s }, { name: "steps", n: true, of: (run) => group(run.steps), raw: (run) => run.steps },
    { name: "requests", n: true, of: (run) => group(run.requests), raw: (run) => run.requests },
    { name: "input", n: true, of: (run) => group(run.input_tokens), raw: (run) => run.input_tokens }, { name: "output", n: true, of: (run) => group(run.output_tokens), raw: (run) => run.output_tokens },
    { name: "beside tokens", of: (run) => extras(run) || "–", raw: extras }];
  return table("runs", columns, runs, "None of its usage names a run.");
}

export function budgetsTable({ budgets }) {
  const shown = (each, field) => (each.currency ? cents(each[field]) : group(each[field]));
  const amount = (name, field) => ({ name, n: true, of: (each) => shown(each, field), raw: (each) => each[field] });
  const part = (each) => (Number(each.ceiling) ? (100 * (Number(each.used) + Number(each.held))) / Number(each.ceiling) : 100).toFixed(1);
  const tag = (each) => make("span", { className: part(each) >= NEAR_PERCENT ? "tag bad" : "tag", textContent: percent(part(each)) });
  const columns = [
    { name: "budget", of: (each) => each.budget_id }, { name: "of run", of: (each) => each.agent_run_id || "–", raw: (each) => each.agent_run_id },
    { name: "a", of: (each) => each.period }, { name: "since (UTC)", of: (each) => moment(each.period_start), raw: (each) => each.period_start },
    { name: "in", of: (each) => each.currency ?? each.unit }, amount("used", "used"), amount("held", "held"), amount("at most", "ceiling"),
    { name: "taken", n: true, of: tag, raw: part }, { name: "beyond it", of: (each) => (each.hard ? "refused" : "told") }];
  return table("budgets", columns, budgets, "It has no budget of its own.");
}
