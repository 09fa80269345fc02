// Copy and paste for what people use, filled in with this gateway's address and a model it takes.

import { copy, el, fill, get, w } from "./base.js";

const NOTES = {
  "claude-code": () => w("Any vendor answers: what Claude Code says is converted where the vendor does not speak it.", "任何厂商都可以：厂商不支持 Claude Code 的协议时会自动转换。"),
  codex: () => w("Codex speaks the Responses API, which is converted where the vendor has none.", "Codex 使用 Responses API，厂商没有时会自动转换。"),
  nextchat: () => w("On the same machine; elsewhere say the gateway's address instead.", "在同一台机器上；否则改成网关的地址。"),
  cursor: () => w("Custom keys serve Cursor's chat only.", "自定义密钥只用于 Cursor 的聊天。"),
};

export async function show(place, current) {
  const draw = async (route, model) => {
    const f = await get(`setup?route=${encodeURIComponent(route ?? "")}&model=${encodeURIComponent(model ?? "")}`);
    if (!current()) return;
    const routes = el("select", { id: "route", onchange: (e) => draw(e.target.value) }, f.routes.map((r) => el("option", { value: r, selected: r === f.route }, r)));
    const models = el("select", { id: "model", onchange: (e) => draw(f.route, e.target.value) }, f.models.map((m) => el("option", { value: m, selected: m === f.model }, m)));
    fill(place, el("h1", {}, w("Set up", "接入")),
      el("p", {}, w("Base URL for OpenAI's clients: ", "OpenAI 客户端的 Base URL："), el("code", {}, `${f.base}/v1`), w("; for Anthropic's: ", "；Anthropic 客户端的："), el("code", {}, f.base)),
      el("p", { class: "soft" }, f.clients ? w("In the place of YOUR_KEY goes the key of a client of the configuration.", "把 YOUR_KEY 换成配置中某个客户端的密钥。")
        : w("In the place of YOUR_KEY goes any text: no clients are configured.", "YOUR_KEY 可以是任意文本：没有配置 clients。")),
      !f.known && el("p", { role: "alert" }, w("Where the gateway listens is not known here; say it in the configuration: console: {gateway: http://HOST:PORT}.", "这里不知道网关的监听地址，请在配置中写明：console: {gateway: http://HOST:PORT}。")),
      el("div", { class: "row" }, el("div", {}, el("label", { for: "route" }, w("Route", "路由")), routes), el("div", {}, el("label", { for: "model" }, w("Model", "模型")), models)),
      f.snippets.map((s) => el("section", { class: "card", id: s.id }, el("h2", {}, s.title),
        s.file && el("p", {}, w("Into ", "写入 "), el("code", {}, s.file)),
        el("pre", { class: "code", tabindex: "0", "aria-label": s.title }, s.text),
        s.run && el("p", {}, w("Then: ", "然后："), el("code", {}, s.run)),
        NOTES[s.id] && el("p", { class: "soft" }, NOTES[s.id]()),
        el("button", { onclick: (e) => copy(s.text, e.target), "aria-label": w(`Copy: ${s.title}`, `复制：${s.title}`) }, w("Copy", "复制")))));
  };
  await draw();
}
