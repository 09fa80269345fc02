// The playground: one prompt to up to three models, and for each what went over the wires.

import { announce, count, el, events, fill, get, ms, post, trouble, w } from "./base.js";

/** Lines of both texts: what only the left has, what only the right has, what both have. */
function diff(left, right) {
  const a = left.split("\n").slice(0, 600), b = right.split("\n").slice(0, 600);
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const out = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    if (i < a.length && j < b.length && a[i] === b[j]) { out.push(`  ${a[i]}\n`); i++; j++; }
    else if (j >= b.length || (i < a.length && length[i + 1][j] >= length[i][j + 1])) out.push(el("del", { class: "del" }, `- ${a[i++]}\n`));
    else out.push(el("ins", { class: "add" }, `+ ${b[j++]}\n`));
  }
  return out;
}

const whole = (m) => (m ? [m.first, ...m.headers, "", m.body].join("\n") : "");

function columns(end) {
  const attempts = end.attempts, last = attempts.at(-1);
  const none = w("nothing: it was answered here", "没有：网关自己应答了");
  const several = (pick) => (attempts.length ? attempts.map((a) => (attempts.length > 1 ? `# ${w("attempt", "尝试")} ${a.attempt}\n` : "") + (whole(a[pick]) || none)).join("\n\n") : w("not known", "未知"));
  const column = (title, text, note) => el("section", {}, el("h3", {}, title), note && el("p", { class: "soft" }, note), el("pre", { tabindex: "0", "aria-label": title }, text));
  const passed = last?.passed ? w("It went through unchanged: its bytes were not even looked at here.", "原样通过：网关没有读它的内容。") : "";
  const text = el("div", { class: "four" },
    column(w("The client sent", "客户端发出"), whole(end.sent)), column(w("The vendor was sent", "发给厂商"), several("to"), last?.cut && w("Cut: it is longer than 256 KiB.", "已截断：超过 256 KiB。")),
    column(w("The vendor said", "厂商应答"), several("from"), passed), column(w("The client got", "客户端收到"), whole(end.got)));
  const two = el("div", { class: "cards", hidden: true },
    column(w("From what the client sent to what the vendor was sent", "从客户端发出的到发给厂商的"), last?.to ? diff(end.sent.body, last.to.body) : none),
    column(w("From what the vendor said to what the client got", "从厂商应答到客户端收到"), last?.from ? diff(last.from.body, end.got.body) : none));
  const button = el("button", { "aria-pressed": "false", onclick: () => { const on = two.hidden; two.hidden = !on; text.hidden = on; button.setAttribute("aria-pressed", on); } }, w("As a difference", "看差异"));
  return [el("p", {}, button), text, two];
}

export async function show(place, current) {
  const f = await get("ways"), choices = f.ways.flatMap((way) => way.models.map((m) => [way.route, m]));
  const option = ([route, model], i) => el("option", { value: i }, `${model} (${route})`);
  const pickers = [0, 1, 2].map((i) => el("select", { id: `model${i}`, "aria-label": w(`Model ${i + 1}`, `模型 ${i + 1}`) }, i > 0 && el("option", { value: "" }, w("— none —", "— 无 —")), choices.map(option)));
  const other = el("input", { id: "other", placeholder: w("as in the lists", "同列表") });
  const system = el("textarea", { id: "system", rows: 2 }), text = el("textarea", { id: "prompt", rows: 4 }, "你好！Who are you?");
  const tools = el("textarea", { id: "tools", rows: 3, class: "mono" }), more = el("textarea", { id: "more", rows: 2, class: "mono" }, '{"temperature": 0.7}');
  const image = el("input", { id: "image", type: "file", accept: "image/*" }), streamed = el("input", { type: "checkbox", id: "streamed", checked: true });
  const key = el("input", { id: "key", type: "password", autocomplete: "off" }), out = el("div", { id: "out" }), problem = el("p", { role: "alert", id: "problem" });
  const stop = el("button", { disabled: true }, w("Stop", "停止")), send = el("button", { class: "main", id: "send" }, w("Send", "发送"));
  let abort = null;

  const picture = () => new Promise((done, failed) => {
    const [file] = image.files;
    if (!file) { done(""); return; }
    if (file.size > 4e6) { failed(new Error(w("The picture is larger than 4 MB.", "图片超过 4 MB。"))); return; }
    const reader = new FileReader();
    reader.onload = () => done(reader.result); reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });
  const json = (box, empty, name) => { if (!box.value.trim()) return empty; try { return JSON.parse(box.value); } catch (error) { throw new Error(w(`${name}: not JSON: ${error.message}`, `${name}：不是 JSON：${error.message}`)); } };

  async function one(choice, base, signal) {
    const [route, listed] = choice, model = other.value.trim() || listed;
    const said = el("div", { class: "said" }), facts = el("p", { class: "soft" }), wires = el("div", {});
    const card = el("section", { class: "card" }, el("h2", {}, `${model} (${route})`), said, facts, wires);
    out.append(card);
    try {
      for await (const event of events(await post("play", { ...base, route, model }, signal))) {
        if (!current()) return;
        if (event.text) said.append(event.text);
        if (!event.end) continue;
        const e = event.end, u = e.facts;
        if (e.error) said.append(el("p", { class: "state bad" }, `✕ ${e.status || ""} ${e.error}`));
        for (const call of e.calls) said.append(el("pre", {}, `${call.name}(${call.arguments})`));
        fill(facts, [`${e.status}`, u.provider && `${u.provider}${u.upstream_model ? ` · ${u.upstream_model}` : ""}`, e.first_ms != null && w(`first byte ${ms(e.first_ms)}`, `首字节 ${ms(e.first_ms)}`), w(`all ${ms(e.total_ms)}`, `共 ${ms(e.total_ms)}`),
          u.total != null && w(`${count(u.input)} + ${count(u.output)} tokens`, `${count(u.input)} + ${count(u.output)} 词元`), u.cost && `${u.cost} ${u.currency}`, e.attempts.length > 1 && w(`${e.attempts.length} attempts`, `${e.attempts.length} 次尝试`)].filter(Boolean).join(" · "));
        if (e.thinking) wires.append(el("details", {}, el("summary", {}, w("Thinking", "思考")), el("pre", {}, e.thinking)));
        wires.append(el("details", { open: true }, el("summary", {}, w("What went over the wires", "线路上传了什么")), columns(e)));
      }
    } catch (error) { if (error.name !== "AbortError") card.append(trouble(error)); }
  }

  send.addEventListener("click", async () => {
    problem.textContent = "";
    let base;
    try { base = { text: text.value, system: system.value, image: await picture(), tools: json(tools, [], w("Tools", "工具")), parameters: json(more, {}, w("Parameters", "参数")), stream: streamed.checked, key: key.value }; } catch (error) { problem.textContent = error.message; return; }
    fill(out);
    abort = new AbortController();
    send.disabled = true; stop.disabled = false;
    await Promise.all(pickers.filter((p) => p.value !== "").map((p) => one(choices[Number(p.value)], base, abort.signal)));
    send.disabled = false; stop.disabled = true;
    announce(w("All have answered.", "都已应答。"));
  });
  stop.addEventListener("click", () => abort?.abort());

  const field = (id, words, box) => [el("label", { for: id }, words), box];
  fill(place, el("h1", {}, w("Playground", "试验台")),
    el("p", { class: "soft" }, w("A chat through the gateway, and what became of it on the way: what was sent here, what the vendor was sent, what it said, and what came back. Only chats of this page are shown; nothing is kept.", "经网关发一次对话，看它一路上变成了什么：这里发出的、发给厂商的、厂商说的、最后收到的。只显示本页发出的对话，什么都不保存。")),
    el("fieldset", {}, el("legend", {}, w("To whom", "发给谁")), el("div", { class: "row" }, pickers), field("other", w("Another model name (optional)", "其他模型名（可不填）"), other),
      f.clients && field("key", w("Your client key: clients are configured here", "你的客户端密钥：这里配置了 clients"), key)),
    el("fieldset", {}, el("legend", {}, w("What", "发什么")), field("prompt", w("Prompt", "提示词"), text), field("system", w("System message", "系统消息"), system),
      el("details", {}, el("summary", {}, w("Picture, tools, parameters", "图片、工具、参数")), field("image", w("Picture", "图片"), image), field("tools", w("Tools (JSON list, as chat has them)", "工具（JSON 列表，chat 的写法）"), tools), field("more", w("Parameters (JSON object; further members of the body)", "参数（JSON 对象；请求体的其他成员）"), more)),
      el("p", {}, el("label", { class: "line" }, streamed, w("streamed", "流式")))),
    problem, el("div", { class: "row" }, send, stop), out);
  return () => abort?.abort();
}
