// How numbers and times are shown. Money arrives as text and is only ever shown, never added up here.

const THIN = "\u2009";
export const MINUS = "\u2212";

export const group = (text) => {
  const [whole, rest] = String(text).replace("-", MINUS).split(".");
  return whole.replace(/\B(?=(\d{3})+(?!\d))/g, THIN) + (rest === undefined ? "" : `.${rest}`);
};

// Two decimals, half up, on the digits themselves; what is not known is a dash.
export const cents = (text) => {
  if (text === null || text === undefined) return "–";
  const [whole, rest = ""] = String(text).replace("-", "").split(".");
  const digits = `${rest}000`.slice(0, 3);
  const units = BigInt(whole + digits.slice(0, 2)) + (digits[2] >= "5" ? 1n : 0n);
  const shown = units.toString().padStart(3, "0");
  const sign = String(text).startsWith("-") && units > 0n ? "-" : "";
  return group(`${sign}${shown.slice(0, -2)}.${shown.slice(-2)}`);
};

// All digits that mean something.
export const exact = (text) => group(String(text).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, ""));

export const kwh = (mj) => group((Number(mj) / 3.6e9).toFixed(3));
export const percent = (text) => (text === null || text === undefined ? "–" : `${group(text)} %`);
export const moment = (text) => (text ? text.slice(0, 16).replace("T", " ") : "–");

// The day of an instant in a zone, as 2024-10-27.
export const dayIn = (zone, instant) =>
  new Intl.DateTimeFormat("en-CA", { timeZone: zone, dateStyle: "short" }).format(new Date(instant));

// The same with the time of day.
export const timeIn = (zone, instant) =>
  `${dayIn(zone, instant)} ${new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeStyle: "short" }).format(new Date(instant))}`;

// Milliseconds by which a zone's clock is ahead of UTC at an instant.
const ahead = (zone, instant) => {
  const parts = Object.fromEntries(
    new Intl.DateTimeFormat("en-US", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
      hour: "numeric", minute: "numeric", second: "numeric",
    }).formatToParts(new Date(instant)).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second) - instant;
};

// The first instant of a month in a zone: where midnight is left out, that of the next clock time.
export const monthStart = (zone, year, month) => {
  const wall = Date.UTC(year, month - 1, 1);
  const first = wall - ahead(zone, wall);
  return new Date(wall - ahead(zone, first)).toISOString();
};

// Months as [2024, 10] from one instant to another, latest first.
export const monthsBetween = (zone, since, until) => {
  const [first, last] = [since, until].map((at) => dayIn(zone, at).split("-").map(Number));
  const months = [];
  for (let [year, month] = last; year > first[0] || (year === first[0] && month >= first[1]);) {
    months.push([year, month]);
    [year, month] = month === 1 ? [year - 1, 12] : [year, month - 1];
  }
  return months;
};
