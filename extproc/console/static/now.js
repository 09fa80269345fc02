// Exchanges under way and the last 500, live. What is too much for the eye is sampled, and the count of all is said.

import { clock, count, day, el, fill, get, ms, n, short, state, table, trouble, w } from "./base.js";
import { why } from "./why.js";

const KEPT = 500, FIRST = 100;
const OTHERS = ["cut", "client_left"]; // whose doing it was is not known, or was the client's own
const failed = (row) => (row.status ?? 0) >= 400 || (row.error && !OTHERS.includes(row.error));
const tokens = (row) => (row.input === undefined && row.output === undefined ? "" : `${row.estimated ? "≈ " : ""}${count(row.input)} + ${count(row.output)}`);
const outcome = (row) => {
  const words = [row.status, row.error].filter((x) => x !== undefined).join(" ");
  if (!row.number) return state("idle", w("under way", "进行中"));
  return state(failed(row) ? "bad" : row.error ? "warn" : "good", words || "—");
};
const models = (row) => (row.upstream_model && row.model && row.upstream_model !== row.model ? `${row.model} → ${row.upstream_model}` : row.model ?? row.upstream_model ?? "");

function heads() {
  return [w("Time", "时间"), w("Client", "客户端"), w("Front", "接口"), w("Route", "路由"), w("Provider", "提供方"), w("Model → vendor's", "模型 → 厂商的"),
    w("Result", "结果"), { n: w("First chunk", "首块") }, { n: w("Took", "用时") }, { n: w("Tokens", "词元") }, { n: w("Cost", "费用") }];
}

function cells(row, open) {
  const about = [row.attempt > 1 && w(`attempt ${row.attempt}`, `第 ${row.attempt} 次`), row.key].filter(Boolean).join(" ");
  return el("tr", {}, el("th", { scope: "row" }, el("button", { class: "link", onclick: () => open(row) }, clock(row.began))),
    el("td", {}, short(row.client, 20)), el("td", {}, row.front), el("td", {}, short(row.route, 20)),
    el("td", {}, short(row.provider, 20), about && el("span", { class: "soft" }, ` ${about}`)), el("td", {}, short(models(row), 50)),
    el("td", {}, outcome(row)), n(ms(row.first_chunk_ms ?? row.first_byte_ms)), n(ms(row.duration_ms)), n(tokens(row)), n(row.cost ? `${row.cost} ${row.currency ?? ""}` : ""));
}

function timeline(attempts) {
  const start = Math.min(...attempts.map((a) => a.began)), steps = [[0, w("The request arrived", "请求到达")]];
  for (const a of attempts) {
    const from = (a.began - start) * 1000;
    const who = [a.provider, a.key && w(`with key ${a.key}`, `用密钥 ${a.key}`)].filter(Boolean).join(" ");
    if (a.provider) steps.push([from, w(`Attempt ${a.attempt}: ${who}`, `第 ${a.attempt} 次尝试：${who}`)]);
    if (a.first_byte_ms !== undefined) steps.push([from + a.first_byte_ms, w(`First byte: ${a.status ?? ""}`, `首字节：${a.status ?? ""}`), failed(a)]);
    if (a.first_chunk_ms !== undefined) steps.push([from + a.first_chunk_ms, w("First chunk to the client", "首块发给客户端")]);
    if (a.number) steps.push([from + a.duration_ms, a.error ? w(`It ended: ${a.error}`, `结束：${a.error}`) : w("It ended well", "正常结束"), failed(a)]);
  }
  steps.sort((x, y) => x[0] - y[0]);
  return el("ol", { class: "time" }, steps.map(([at, words, bad]) => el("li", { class: bad ? "bad" : null }, el("span", { class: "n" }, ms(at)), words)));
}

export async function show(place, current) {
  let rows = [], waiting = [], ended = 0, shown = 0, paused = false, all = false, source = null, rate = 0, lastAt = 0;
  const text = el("input", { id: "text", type: "search", placeholder: w("client, route, model, error, id …", "客户端、路由、模型、错误、请求号……") });
  const which = el("select", { id: "which" }, [["", w("all", "全部")], ["bad", w("failed", "失败的")], ["good", w("good", "成功的")]].map(([value, words]) => el("option", { value }, words)));
  const total = el("p", { class: "soft", id: "total" }), body = el("tbody", { id: "rows" }), under = el("div", {}), dialog = el("dialog", { "aria-labelledby": "one" });
  const pause = el("button", { "aria-pressed": "false", onclick: () => { paused = !paused; pause.setAttribute("aria-pressed", paused); pause.textContent = paused ? w("Go on", "继续") : w("Pause", "暂停"); if (!paused) { rows = [...waiting.reverse(), ...rows].slice(0, KEPT); waiting = []; again(); } } }, w("Pause", "暂停"));
  const more = el("button", { onclick: () => { all = !all; more.textContent = all ? w(`Show the last ${FIRST}`, `只看最近 ${FIRST} 条`) : w(`Show all ${KEPT}`, `显示全部 ${KEPT} 条`); again(); } }, w(`Show all ${KEPT}`, `显示全部 ${KEPT} 条`));

  const fits = (row) => {
    if (which.value === "bad" && !failed(row)) return false;
    if (which.value === "good" && (failed(row) || row.error)) return false;
    const words = text.value.toLowerCase();
    return !words || [row.client, row.front, row.route, row.provider, row.model, row.upstream_model, row.error, row.status, row.request_id, row.path].some((v) => v !== undefined && String(v).toLowerCase().includes(words));
  };
  const most = () => (all ? KEPT : FIRST);
  const say = () => {
    total.textContent = w(`${count(ended)} exchanges since this console looked first${rate > 1 ? `, ${count(Math.round(rate))} per second` : ""}; ${count(shown)} shown${ended > rows.length ? " (a sample, newest first)" : ", newest first"}.`,
      `自控制台开始查看以来共 ${count(ended)} 个请求${rate > 1 ? `，每秒 ${count(Math.round(rate))} 个` : ""}；显示 ${count(shown)} 个${ended > rows.length ? "（抽样，最新的在前）" : "，最新的在前"}。`);
  };
  const again = () => { const fitting = rows.filter(fits).slice(0, most()); fill(body, fitting.map((row) => cells(row, open))); shown = fitting.length; say(); };
  const follow = (batch) => {
    ended += batch.ended;
    const now = performance.now();
    rate = lastAt ? 0.6 * rate + 0.4 * (batch.ended * 1000 / Math.max(1, now - lastAt)) : 0;
    lastAt = now;
    if (paused) { waiting = [...waiting, ...batch.rows].slice(-KEPT); say(); return; }
    const fresh = batch.rows.slice().reverse();
    rows = [...fresh, ...rows].slice(0, KEPT);
    const fitting = fresh.filter(fits);
    body.prepend(...fitting.map((row) => cells(row, open)));
    while (body.rows.length > most()) body.lastChild.remove();
    shown = body.rows.length;
    say();
    opened(batch);
  };
  const opened = (batch) => fill(under, batch.open > 0 && [el("h2", {}, w(`Under way: ${count(batch.open)}`, `进行中：${count(batch.open)}`)),
    table(w("Exchanges under way", "进行中的请求"), heads(), batch.under_way.slice(-20).map((row) => cells(row, open)), { class: "live" })]);

  async function open(row) {
    let attempts = [row];
    if (row.request_id) { try { const found = (await get(`now/request?id=${encodeURIComponent(row.request_id)}`)).attempts; if (found.length) attempts = found; } catch { /* what is known is shown */ } }
    const facts = [[w("Began", "开始"), day(row.began)], [w("Path", "路径"), `${row.method} ${row.path}`], [w("Client", "客户端"), row.client], [w("Front", "接口"), row.front + (row.converted ? w(" (converted)", "（已转换）") : "")],
      [w("Route", "路由"), row.route], [w("Provider", "提供方"), row.provider], [w("Model", "模型"), row.model], [w("Vendor's model", "厂商的模型"), row.upstream_model], [w("Key", "密钥"), row.key],
      [w("Tokens", "词元"), tokens(row)], [w("Cost", "费用"), row.cost && `${row.cost} ${row.currency ?? ""}`], [w("Not sent to the vendor", "没有发给厂商的参数"), row.dropped], [w("Envoy's details", "Envoy 的说明"), row.details],
      [w("Request id", "请求号"), row.request_id], [w("Vendor's request id", "厂商的请求号"), row.upstream_request_id]];
    fill(dialog, el("h2", { id: "one" }, w("One request", "一个请求")), el("p", {}, outcome(row)), why(row) && el("p", {}, why(row)),
      el("h3", {}, w("What happened when", "时间线")), timeline(attempts),
      el("dl", {}, facts.filter(([, v]) => v).map(([k, v]) => [el("dt", {}, k), el("dd", {}, v)])),
      el("button", { class: "main", onclick: () => dialog.close() }, w("Close", "关闭")));
    if (!dialog.open) dialog.showModal();
  }

  text.addEventListener("input", again);
  which.addEventListener("change", again);
  fill(place, el("h1", {}, w("Now", "此刻")),
    el("div", { class: "row" }, el("div", { class: "grow" }, el("label", { for: "text" }, w("Find", "查找")), text), el("div", {}, el("label", { for: "which" }, w("Which", "哪些")), which), pause, more),
    total, under, el("h2", {}, w("The last ones", "最近的请求")), table(w("The last exchanges; press the time for all of one", "最近的请求；点时间查看详情"), heads(), body, { class: "live" }), dialog);
  const first = await get("now");
  if (!current()) return undefined;
  rows = first.rows.slice(-KEPT).reverse();
  ended = first.ended;
  again();
  opened(first);
  source = new EventSource("api/now/live");
  source.onmessage = (event) => follow(JSON.parse(event.data));
  source.onerror = () => { if (source.readyState === 2 && current()) place.append(trouble(new Error(w("the live view ended", "实时连接已断开")))); };
  return () => source.close();
}
