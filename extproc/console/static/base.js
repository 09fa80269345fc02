// What every page needs: two languages, elements made without markup in strings, the API.
// Rule: whatever comes from outside becomes text, never markup.

const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
export const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* a private window */ } };

const wanted = stored("language") ?? (navigator.languages ?? [navigator.language]).find((l) => /^(zh|en)\b/i.test(l)) ?? "en";
export const settings = { language: wanted.toLowerCase().startsWith("zh") ? "zh" : "en", theme: stored("theme") ?? "auto" };

/** The words of the language that is shown. */
export const w = (english, chinese) => (settings.language === "zh" ? chinese : english);

/** An element: attributes, `on…` listeners, children (text, elements, nothing, lists of these). */
export function el(name, attributes, ...children) {
  const made = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "disabled") made[key] = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  add(made, children);
  return made;
}

function add(to, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(to, child);
    else if (child !== undefined && child !== null && child !== false) to.append(child);
  }
}

export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

/** A long name, cut for the eye; the whole of it is in its title. */
export const short = (text, most = 60) =>
  String(text ?? "").length <= most ? String(text ?? "") : el("span", { title: text }, `${String(text).slice(0, most)}…`);

export class Refused extends Error {
  constructor(status, words) { super(words); this.status = status; }
}

async function answered(response) {
  if (response.ok) return response;
  let words = response.statusText;
  try { words = (await response.json()).error ?? words; } catch { /* not ours */ }
  if (response.status === 401) dispatchEvent(new Event("login"));
  throw new Refused(response.status, words);
}

export const get = async (path) => (await answered(await fetch(`api/${path}`))).json();

export const post = async (path, body, signal) => answered(await fetch(`api/${path}`, {
  method: "POST", headers: { "Content-Type": "application/json", "X-Console": "1" }, body: JSON.stringify(body ?? {}), signal,
}));

/** The events of a streamed answer, as they come. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      let end;
      while ((end = rest.indexOf("\n\n")) >= 0) {
        const data = rest.slice(0, end).replace(/^data: /, "");
        rest = rest.slice(end + 2);
        if (data) yield JSON.parse(data);
      }
    }
  } finally { reader.cancel().catch(() => {}); }
}

/** Say something to who cannot see the page change. */
export const announce = (text) => { document.getElementById("status").textContent = text; };

const SIGNS = { good: "✓", bad: "✕", warn: "!", idle: "·" };
export const state = (kind, words) => el("span", { class: `state ${kind}` }, `${SIGNS[kind]} ${words}`);

export const count = (n) => (n ?? 0).toLocaleString(settings.language === "zh" ? "zh-CN" : "en-US");
export const ms = (n) => (n === undefined || n === null ? "" : n < 10000 ? `${Math.round(n)} ms` : `${(n / 1000).toFixed(1)} s`);
export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString(settings.language === "zh" ? "zh-CN" : "en-GB");
export const day = (seconds) => new Date(seconds * 1000).toLocaleString(settings.language === "zh" ? "zh-CN" : "en-GB");
export const size = (bytes) => `${Math.round(bytes / 1048576)} MiB`;

/** How long, in words. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return w(`${s} s`, `${s} 秒`);
  if (s < 7200) return w(`${Math.round(s / 60)} min`, `${Math.round(s / 60)} 分钟`);
  if (s < 172800) return w(`${Math.round(s / 3600)} h`, `${Math.round(s / 3600)} 小时`);
  return w(`${Math.round(s / 86400)} days`, `${Math.round(s / 86400)} 天`);
}

/** A table that a screen reader can name; wider than the page, it scrolls, also by the keyboard. */
export const table = (caption, heads, rows, more) => el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
  el("table", more, el("caption", {}, caption),
    el("thead", {}, el("tr", {}, heads.map((h) => el("th", { scope: "col", class: h.n ? "n" : null }, h.n ?? h)))),
    rows instanceof Element ? rows : el("tbody", {}, rows)));

export const line = (first, ...cells) => el("tr", {}, el("th", { scope: "row" }, first), cells.map((c) => (c instanceof Element && c.tagName === "TD" ? c : el("td", {}, c))));
export const n = (...children) => el("td", { class: "n" }, children);

/** What goes wrong on a page, where the page stands. */
export const trouble = (error) => el("p", { class: "card banner bad", role: "alert" }, el("span", { "aria-hidden": "true" }, "✕"), el("span", {}, w(`This could not be had: ${error.message}`, `无法取得：${error.message}`)));

export async function copy(text, button) {
  try { await navigator.clipboard.writeText(text); } catch {
    const box = el("textarea", { value: text, class: "unseen" });
    document.body.append(box); box.select(); document.execCommand("copy"); box.remove();
  }
  const before = button.textContent;
  button.textContent = w("Copied", "已复制");
  announce(w("Copied", "已复制"));
  setTimeout(() => { button.textContent = before; }, 1500);
}
