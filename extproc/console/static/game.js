// The blind game. This page knows no names until the reveal: they are asked for only when a person wants to choose.

import { announce, count, el, events, fill, get, ms, post, settings, trouble, w } from "./base.js";

const FACES = ["🌝", "🌚"];
const face = (i) => el("span", { role: "img", "aria-label": i ? w("dark moon", "黑月亮") : w("bright moon", "白月亮") }, FACES[i]);
const VERDICTS = [["left", () => w("🌝 is better", "🌝 更好")], ["right", () => w("🌚 is better", "🌚 更好")], ["both", () => w("Both good", "都好")], ["neither", () => w("Neither", "都不好")]];

export async function show(place, current) {
  let abort = null, chosen = [], key = "";
  const away = () => abort?.abort();
  const tally = (t) => w(`${count(t.games)} games so far, ${count(t.votes)} votes, ${count(t.right)} of ${count(t.guesses)} guesses right.`, `已玩 ${count(t.games)} 局，投票 ${count(t.votes)} 次，猜对 ${count(t.right)} / ${count(t.guesses)}。`);

  async function lobby() {
    const table = await get("game");
    if (!current()) return;
    const problem = el("div", {}), choice = el("div", {});
    const box = el("input", { id: "key", type: "password", autocomplete: "off" });
    const start = async (kind) => {
      fill(problem);
      key = box.value;
      try {
        const { game } = await (await post("game/start", { kind, language: settings.language, chosen, key })).json();
        (kind === "duel" ? duel : dialogue)(game);
      } catch (error) { fill(problem, trouble(error)); }
    };
    const choose = async () => {
      const f = await get("ways");
      fill(choice, el("fieldset", {}, el("legend", {}, w("Who may play (two at least; two are drawn)", "谁可以参加（至少两个，从中抽两个）")),
        f.ways.flatMap((way) => way.models.slice(0, 8).map((model) => el("p", {}, el("label", { class: "line" },
          el("input", { type: "checkbox", onchange: (e) => { chosen = e.target.checked ? [...chosen, [way.route, model]] : chosen.filter(([r, m]) => r !== way.route || m !== model); } }), `${model} (${way.route})`))))));
    };
    fill(place, el("h1", {}, w("The blind game", "盲猜游戏")),
      el("p", {}, w("Two models answer behind the faces 🌝 and 🌚. Ask, compare, vote, and guess who is who; then the page tells.", "两个模型躲在 🌝 和 🌚 后面回答。提问、比较、投票，猜猜谁是谁，然后揭晓。")),
      el("div", { class: "cards" },
        el("section", { class: "card" }, el("h2", {}, w("Duel", "对决")), el("p", {}, w("You ask, both answer side by side.", "你来提问，两边同时回答。")), el("button", { class: "main", id: "duel", onclick: () => start("duel") }, w("Play a duel", "开始对决"))),
        el("section", { class: "card" }, el("h2", {}, w("Dialogue", "对话")), el("p", {}, w("They talk to each other: one asks three questions, then they change places.", "它们互相聊天：一方问三个问题，然后交换。")), el("button", { class: "main", id: "dialogue", onclick: () => start("dialogue") }, w("Let them talk", "让它们聊")))),
      problem,
      el("details", {}, el("summary", {}, w("Who plays, and with which key", "谁来玩、用哪个密钥")), el("p", {}, w("Without a choice two are drawn from all routes.", "不选的话，从所有路由中抽两个。")),
        el("p", {}, el("button", { onclick: choose }, w("Choose (shows names)", "自己选（会显示名字）"))), choice,
        el("label", { for: "key" }, w("Client key, where clients are configured", "客户端密钥（配置了 clients 时需要）")), box),
      el("h2", {}, w("So far", "战绩")), el("p", { id: "tally" }, tally(table)),
      el("p", { class: "row" }, el("a", { href: "api/game/export", download: "games.json" }, w("Export as JSON", "导出 JSON")),
        table.games > 0 && el("button", { onclick: async () => { await post("game/clear"); lobby(); } }, w("Clear all games", "清空战绩"))));
  }

  // The end of every game: vote, guess, reveal.
  function judge(game, into) {
    const votes = el("div", { class: "row", role: "group", "aria-label": w("Your vote", "你的投票") }, VERDICTS.map(([verdict, words]) => {
      const button = el("button", { id: verdict, "aria-pressed": "false", onclick: async () => {
        await post("game/vote", { game, verdict });
        for (const other of votes.children) other.setAttribute("aria-pressed", other === button);
      } }, words());
      return button;
    }));
    const guesses = [0, 1].map((i) => el("input", { id: `guess${i}`, autocomplete: "off", list: "names", "aria-label": w(`Who is ${FACES[i]}?`, `${FACES[i]} 是谁？`), placeholder: w("a name, a maker …", "名字、厂商……") }));
    const names = el("datalist", { id: "names" }), hint = el("p", { class: "soft" });
    const help = el("button", { onclick: async () => {
      const all = [...new Set((await get("ways")).ways.flatMap((way) => way.providers))].sort();
      fill(names, all.map((name) => el("option", { value: name })));
      hint.textContent = w(`Among: ${all.join(", ")}`, `候选：${all.join("、")}`);
    } }, w("Show names to choose from", "显示候选名字"));
    const tell = el("button", { class: "main", id: "reveal", onclick: async () => {
      tell.disabled = true;
      try { reveal(await (await post("game/reveal", { game, guess: guesses.map((g) => g.value.trim()) })).json(), into); } catch (error) { tell.disabled = false; into.append(trouble(error)); }
    } }, w("Who is who?", "揭晓"));
    fill(into, el("section", { class: "card" }, el("h2", {}, w("Which is better?", "哪个更好？")), votes, el("h2", {}, w("Who is who?", "谁是谁？")),
      el("div", { class: "row" }, guesses.map((g, i) => el("div", {}, el("span", { "aria-hidden": "true" }, `${FACES[i]} `), g)), names, help), hint, el("p", {}, tell)));
  }

  function reveal(r, into) {
    const fact = (k, v) => v && [el("dt", {}, k), el("dd", {}, v)];
    fill(into, el("h2", { class: "reveal", id: "revealed", tabindex: "-1" }, r.guessed === null ? w("This is who they are", "揭晓") : r.guessed ? w("Right! You knew them.", "猜对了！") : w("No, not quite.", "没猜对。")),
      el("div", { class: "faces" }, r.faces.map((p, i) => el("section", { class: "card face" }, el("h3", { class: "moon" }, face(i), ` ${p.upstream_model ?? p.model}`), el("dl", {},
        fact(w("Provider", "提供方"), p.provider), fact(w("Asked for as", "请求时的名字"), p.model), fact(w("Tokens", "词元"), p.tokens && count(p.tokens)), fact(w("Cost", "费用"), p.cost && `${p.cost} ${p.currency ?? ""}`),
        fact(w("First byte", "首字节"), p.first_ms.map(ms).join(", ")), fact(w("Took", "用时"), p.total_ms.map(ms).join(", ")), fact(w("Went wrong", "出错"), p.errors.join("; "))),
        p.texts.length > 0 && el("details", {}, el("summary", {}, w("Its own words, nothing blanked", "原话（未遮盖）")), p.texts.map((t) => el("p", { class: "said" }, t)))))),
      r.ratings.length > 0 && el("section", { class: "card" }, el("h2", {}, w("Elo, from all votes", "Elo（根据全部投票）")), el("p", { class: "soft" }, w("± is where it lies 95 times of 100.", "± 为 95% 区间。")), ratings(r.ratings)),
      el("p", {}, tally(r)), el("p", {}, el("button", { class: "main", id: "again", onclick: lobby }, w("Another game", "再来一局"))));
    document.getElementById("revealed").focus();
  }

  function ratings(rows) {
    const low = Math.min(...rows.map((r) => r.elo - r.margin)) - 20, high = Math.max(...rows.map((r) => r.elo + r.margin)) + 20;
    const x = (v) => 300 + ((v - low) / (high - low)) * 400, height = rows.length * 28 + 8;
    return el("svg:svg", { viewBox: `0 0 720 ${height}`, role: "img", "aria-label": rows.map((r) => `${r.name}: ${Math.round(r.elo)} ± ${Math.round(r.margin)} (${r.games})`).join("; ") },
      rows.map((r, i) => { const y = i * 28 + 18; return [
        el("svg:text", { x: 0, y: y + 4 }, r.name.length > 34 ? `${r.name.slice(0, 33)}…` : r.name),
        el("svg:line", { x1: x(r.elo - r.margin), x2: x(r.elo + r.margin), y1: y, y2: y, stroke: "var(--b)", "stroke-width": 3 }),
        el("svg:circle", { cx: x(r.elo), cy: y, r: 6, fill: "var(--a)" }),
        el("svg:text", { x: x(r.elo) + 10, y: y - 5 }, `${Math.round(r.elo)} ± ${Math.round(r.margin)}`)]; }));
  }

  const failedWords = () => w("(no answer)", "（没有回答）");

  function duel(game) {
    const rounds = el("div", { id: "rounds" }), end = el("div", {});
    const box = el("textarea", { id: "question", rows: 2, "aria-label": w("Your question", "你的问题") }, w("What makes a good question?", "用三句话介绍杭州。"));
    const ask = el("button", { class: "main", id: "ask" }, w("Ask both", "同时提问")), stop = el("button", { disabled: true, onclick: away }, w("Stop", "停止"));
    ask.addEventListener("click", async () => {
      const question = box.value.trim();
      if (!question) return;
      box.value = "";
      const texts = [el("div", { class: "said" }), el("div", { class: "said" })];
      rounds.append(el("p", {}, el("strong", {}, question)), el("div", { class: "faces" }, texts.map((t, i) => el("section", { class: "card face" }, el("h2", { class: "moon" }, face(i)), t))));
      ask.disabled = true; stop.disabled = false;
      abort = new AbortController();
      try {
        for await (const piece of events(await post("game/ask", { game, text: question }, abort.signal))) {
          if (piece.text) texts[piece.face].append(piece.text);
          if (piece.failed) texts[piece.face].append(el("span", { class: "soft" }, failedWords()));
        }
        announce(w("Both have answered.", "两边都回答了。"));
      } catch (error) { if (error.name !== "AbortError") rounds.append(trouble(error)); }
      ask.disabled = false; stop.disabled = true;
      if (!end.childElementCount) judge(game, end);
    });
    fill(place, el("h1", {}, w("Duel", "对决")), rounds, el("section", { class: "card" }, el("h2", {}, w("Ask", "提问")), box, el("div", { class: "row" }, ask, stop)), end);
    box.focus();
  }

  async function dialogue(game) {
    const talk = el("div", { id: "rounds" }), end = el("div", {}), stop = el("button", { onclick: away }, w("Stop", "停止"));
    fill(place, el("h1", {}, w("Dialogue", "对话")), talk, el("p", {}, stop), end);
    let last = null;
    abort = new AbortController();
    try {
      for await (const piece of events(await post("game/talk", { game }, abort.signal))) {
        if (piece.begins) { last = el("span", {}); talk.append(el("div", { class: piece.face ? "right" : "left" }, face(piece.face), " ", last)); }
        if (piece.text) last.append(piece.text);
        if (piece.failed) last.append(failedWords());
      }
    } catch (error) { if (error.name !== "AbortError") talk.append(trouble(error)); }
    stop.disabled = true;
    if (current()) judge(game, end);
  }

  await lobby();
  return away;
}
