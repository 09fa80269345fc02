// What was used, by whom, and what is left of limits. Charts are drawn from the same sums that the tables show.

import { clock, count, day, el, fill, get, ms, n, settings, short, span, state, table, trouble, w } from "./base.js";

const PERIODS = { hour: ["the last hour", "最近一小时"], day: ["the last day", "最近一天"], month: ["the last 30 days", "最近 30 天"] };
const APART = { client: ["client", "客户端"], model: ["model", "模型"], provider: ["provider", "提供方"], route: ["route", "路由"] };
const COLOURS = ["a", "b", "c", "d", "e", "f"].map((letter) => `var(--${letter})`);
const WIDE = 400, HIGH = 170, LEFT = 54, BELOW = 24, ABOVE = 8;

const named = (name, what) => (name === "" ? w(`(no ${APART[what][0]})`, `（无${APART[what][1]}）`) : name === "other" ? w("others", "其他") : name);
const money = (cost) => Object.entries(cost).map(([currency, amount]) => `${amount.includes(".") ? amount.replace(/\.?0+$/, "") : amount} ${currency}`).join(" + ");
const when = (f, at) => (f.period === "month" ? new Date(at * 1000).toLocaleDateString(settings.language === "zh" ? "zh-CN" : "en-GB", { timeZone: "UTC" }) : f.period === "hour" ? clock(at).slice(0, -3) : day(at).slice(0, -3));

/** A number for an axis: 1.2k, 3.4M. */
const brief = (value, unit) => (unit === "ms" ? ms(value) : value >= 1e6 ? `${+(value / 1e6).toPrecision(3)}M` : value >= 1e4 ? `${+(value / 1e3).toPrecision(3)}k` : value && value < 0.001 ? value.toExponential(0) : `${+value.toPrecision(3)}`);

/** The least round number that is not below. */
function round(value) {
  if (!(value > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * ten).find((most) => most >= value * 0.999999) ?? 10 * ten;
}

const steps = (f) => { const at = []; for (let t = f.since; t <= f.now; t += f.width) at.push(t); return at; };

function axes(f, times, most, unit) {
  const y = (value) => HIGH - BELOW - (value / most) * (HIGH - BELOW - ABOVE), every = Math.ceil(times.length / 5), step = (WIDE - LEFT) / times.length;
  return [[0, most / 2, most].map((value) => [el("svg:line", { class: "grid", x1: LEFT, x2: WIDE, y1: y(value), y2: y(value) }), el("svg:text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, brief(value, unit))]),
    times.map((at, i) => i % every === 0 && el("svg:text", { x: LEFT + i * step, y: HIGH - 6 }, when(f, at).split(" ").pop()))];
}

/** Bars on each other. `rows`: {at, name, value}. */
function bars(f, names, rows, unit) {
  const times = steps(f), at = new Map(times.map((t) => [t, new Map()]));
  for (const row of rows) at.get(row.at)?.set(row.name, (at.get(row.at).get(row.name) ?? 0) + row.value);
  const most = round(Math.max(...times.map((t) => [...at.get(t).values()].reduce((sum, value) => sum + value, 0))));
  const step = (WIDE - LEFT) / times.length, high = HIGH - BELOW - ABOVE, drawn = [];
  times.forEach((t, i) => {
    let base = HIGH - BELOW;
    names.forEach((name, place) => {
      const size = ((at.get(t).get(name) ?? 0) / most) * high;
      if (size > 0) { base -= size; drawn.push(el("svg:rect", { x: LEFT + i * step + 0.5, y: base, width: Math.max(1, step - 1), height: size, fill: COLOURS[place % COLOURS.length] })); }
    });
  });
  return [axes(f, times, most, unit), drawn];
}

/** Lines with gaps where nothing is known, the second one dashed. */
function lines(f, names, rows, unit) {
  const times = steps(f), step = (WIDE - LEFT) / times.length;
  const most = round(Math.max(...rows.map((row) => row.value ?? 0)));
  const y = (value) => HIGH - BELOW - (value / most) * (HIGH - BELOW - ABOVE);
  return [axes(f, times, most, unit), names.map((name, place) => {
    const known = new Map(rows.filter((row) => row.name === name && row.value !== null).map((row) => [row.at, row.value]));
    let path = "", pen = "M";
    times.forEach((t, i) => { if (!known.has(t)) { pen = "M"; return; } path += `${pen}${(LEFT + (i + 0.5) * step).toFixed(1)} ${y(known.get(t)).toFixed(1)}`; pen = "L"; });
    const dots = times.map((t, i) => known.has(t) && el("svg:circle", { cx: LEFT + (i + 0.5) * step, cy: y(known.get(t)), r: 2.5, fill: COLOURS[place] }));
    return [el("svg:path", { d: path || "M0 0", fill: "none", stroke: COLOURS[place], "stroke-width": 2, "stroke-dasharray": place ? "6 4" : null }), dots];
  })];
}

/** A chart with its legend, and the same numbers as a table. `draw`: bars or lines. */
function chart(f, title, draw, names, rows, { unit, label = (name) => name, tell = count, sum } = {}) {
  if (!rows.some((row) => row.value)) return el("section", { class: "card" }, el("h2", {}, title), el("p", { class: "soft" }, w("Nothing yet.", "还没有数据。")));
  const numbers = new Map(rows.map((row) => [`${row.at} ${row.name}`, row]));
  const times = steps(f).filter((t) => names.some((name) => numbers.has(`${t} ${name}`)));
  return el("section", { class: "card" }, el("h2", {}, title),
    el("svg:svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": w(`${title}; the numbers are in the table below`, `${title}；数字见下表`) }, draw(f, names, rows, unit)),
    el("p", { class: "legend" }, names.map((name, place) => el("span", {}, swatch(place), " ", short(label(name), 40), sum && el("span", { class: "soft" }, ` ${sum(name)}`)))),
    el("details", {}, el("summary", {}, w("As a table", "以表格显示")), table(title, [w("From", "开始"), ...names.map((name) => ({ n: label(name) }))],
      times.map((t) => el("tr", {}, el("th", { scope: "row" }, when(f, t)), names.map((name) => { const row = numbers.get(`${t} ${name}`); return n(row ? tell(row.told ?? row.value) : ""); }))))));
}

const swatch = (place) => el("svg:svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" }, el("svg:rect", { width: 10, height: 10, fill: COLOURS[place % COLOURS.length] }));

function charts(f) {
  const label = (name) => named(name, f.split), of = (value, told) => f.series.map((row) => ({ at: row.at, name: row.name, value: value(row), told: told?.(row) }));
  const currencies = [...new Set(f.series.flatMap((row) => Object.keys(row.cost)))].sort();
  const good = w("good", "成功"), bad = w("failed", "失败"), half = w("half were faster (P50)", "一半快于 (P50)"), most = w("19 of 20 were faster (P95)", "95% 快于 (P95)");
  const spans = (kind) => f.course.flatMap((row) => [{ at: row.at, name: half, value: row[kind][0] }, { at: row.at, name: most, value: row[kind][1] }]);
  return el("div", { class: "cards" },
    chart(f, w("Tokens", "词元"), bars, f.names, of((row) => row.input + row.output), { label }),
    currencies.map((c) => chart(f, w(`Cost in ${c}`, `费用（${c}）`), bars, f.names, of((row) => Number(row.cost[c] ?? 0), (row) => row.cost[c] ?? ""), { label, tell: String })),
    chart(f, w("Requests", "请求"), bars, [good, bad], f.course.flatMap((row) => [{ at: row.at, name: good, value: row.requests - row.errors }, { at: row.at, name: bad, value: row.errors }])),
    chart(f, w("Duration", "用时"), lines, [half, most], spans("duration"), { unit: "ms", tell: ms }),
    chart(f, w("Until the first chunk", "首块时间"), lines, [half, most], spans("first"), { unit: "ms", tell: ms }));
}

const pair = (values) => (values[0] === null ? "" : `${ms(values[0])} / ${ms(values[1])}`);
const numbers = (row) => [n(count(row.requests)), n(count(row.errors)), n(count(row.input)), n(count(row.cached)), n(count(row.output)), n(`${row.estimated ? "≈ " : ""}${count(row.input + row.output)}`), n(money(row.cost)), n(pair(row.duration)), n(pair(row.first))];

function sums(f) {
  const heads = [...f.by.map((name) => w(...APART[name])), ...[[w("Requests", "请求")], [w("Errors", "错误")], [w("Input", "输入")], [w("of it cached", "其中缓存")], [w("Output", "输出")], [w("Tokens", "词元")], [w("Cost", "费用")], [w("P50 / P95", "P50 / P95")], [w("First chunk P50 / P95", "首块 P50 / P95")]].map(([words]) => ({ n: words }))];
  const rows = f.rows.map((row) => el("tr", {}, f.by.map((name, i) => el(i ? "td" : "th", { scope: i ? null : "row" }, short(named(row[name], name), 40))), numbers(row)));
  if (f.rows.length > 1) rows.push(f.total.map((row) => el("tr", { class: "sum" }, el("th", { scope: "row" }, w("all", "合计")), f.by.slice(1).map(() => el("td", {})), numbers(row))));
  return table(w("What was used; ≈ where a part of it is an estimate", "用量；≈ 表示部分为估计值"), heads, el("tbody", { id: "sums" }, rows));
}

function limits(f) {
  if (!f.limits.length) return el("p", { class: "soft" }, w("Nothing is used of any limit, or there is none.", "没有设置限额，或尚未使用。"));
  return table(w("Limits of which something is used", "已使用的限额"), [w("Limit", "限额"), w("Whose", "属于"), { n: w("Used", "已用") }, { n: w("Left", "剩余") }, { n: w("Share", "占比") }, { n: w("Unused again in", "恢复时间") }],
    f.limits.map((one) => { const share = Number(one.amount) ? Number(one.used) / Number(one.amount) : 1; return el("tr", {}, el("th", { scope: "row" }, short(one.limit, 80), one.shadow && el("span", { class: "soft" }, w(" (refuses nothing)", "（只观察，不拒绝）"))),
      el("td", {}, short(one.whose ?? "", 40)), n(count(Number(one.used))), n(count(Number(one.left))), n(state(share >= 1 ? "bad" : share >= 0.8 ? "warn" : "good", `${Math.round(share * 100)} %`)), n(span(one.reset))); }));
}

export async function show(place, current) {
  const asked = { period: "day", by: ["client", "model", "provider"], split: "model" };
  const out = el("div", {}), link = el("a", { id: "csv", download: "" }, "CSV");
  const pick = (id, words, options, chosen, change) => el("div", {}, el("label", { for: id }, words), el("select", { id, onchange: (e) => { change(e.target.value); look(); } },
    Object.entries(options).map(([value, name]) => el("option", { value, selected: value === chosen }, w(...name)))));
  const by = el("fieldset", { class: "inline" }, el("legend", {}, w("Rows by", "按此分行")), Object.entries(APART).map(([name, words]) => el("label", { class: "line" },
    el("input", { type: "checkbox", value: name, checked: asked.by.includes(name), onchange: (e) => { asked.by = Object.keys(APART).filter((one) => (one === name ? e.target.checked : asked.by.includes(one))); if (!asked.by.length) { asked.by = [name]; e.target.checked = true; } look(); } }), w(...words))));
  const query = () => `period=${asked.period}&by=${asked.by.join(",")}&split=${asked.split}`;
  let turn = 0;
  async function look() {
    const mine = ++turn;
    link.setAttribute("href", `api/use.csv?${query()}`);
    const found = await get(`use?${query()}`).catch((error) => error);
    if (mine !== turn || !current()) return;
    if (found instanceof Error) { fill(out, trouble(found)); return; }
    const open = [...out.querySelectorAll("details")].map((one) => one.open); // what somebody opened stays open
    fill(out, charts(found), el("h2", {}, w("Sums", "合计")), sums(found), el("h2", {}, w("What is left of limits", "限额余量")), limits(found));
    out.querySelectorAll("details").forEach((one, i) => { one.open = open[i] ?? false; });
  }
  fill(place, el("h1", {}, w("Use", "用量")), el("div", { class: "row" },
    pick("period", w("When", "时间"), PERIODS, asked.period, (value) => { asked.period = value; }),
    pick("split", w("Charts by", "图表按"), APART, asked.split, (value) => { asked.split = value; }), by, link), out);
  await look();
  const timer = setInterval(() => { if (!document.hidden && !out.contains(document.activeElement)) look(); }, 30000);
  return () => clearInterval(timer);
}
