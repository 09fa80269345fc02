// The frame: which page, which language, light or dark, and the login where there is one.

import { announce, el, fill, get, keep, post, settings, trouble, w } from "./base.js";

const PAGES = {
  well: ["Well?", "还好吗？"],
  now: ["Now", "此刻"],
  use: ["Use", "用量"],
  setup: ["Set up", "接入"],
  play: ["Playground", "试验台"],
  game: ["Blind game", "盲猜游戏"],
};
const root = document.documentElement, main = document.getElementById("main"), top = document.getElementById("top");
let leave = () => {}, turn = 0, session = {};

const here = () => { const name = location.hash.replace(/^#\/?/, "").split(/[/?]/)[0]; return PAGES[name] ? name : "well"; };

function frame() {
  root.lang = settings.language === "zh" ? "zh-CN" : "en";
  if (settings.theme === "auto") delete root.dataset.theme; else root.dataset.theme = settings.theme;
  document.getElementById("skip").textContent = w("Skip to content", "跳到正文");
  const current = here();
  fill(top,
    el("span", { class: "name" }, "AI proxy"),
    el("nav", { "aria-label": w("Pages", "页面") }, el("ul", {}, Object.entries(PAGES).map(([name, words]) =>
      el("li", {}, el("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, w(...words)))))),
    el("div", { class: "tools" },
      el("button", { id: "language", lang: w("zh-CN", "en"), onclick: () => { settings.language = w("zh", "en"); keep("language", settings.language); show(); } }, w("中文", "English")),
      el("label", { class: "line" }, el("span", { class: "unseen" }, w("Colours", "颜色")),
        el("select", { id: "theme", onchange: (e) => { settings.theme = e.target.value; keep("theme", settings.theme); frame(); } },
          [["auto", w("Auto", "自动")], ["light", w("Light", "浅色")], ["dark", w("Dark", "深色")]].map(([value, words]) =>
            el("option", { value, selected: value === settings.theme }, words)))),
      session.guarded && session.user && el("button", { onclick: async () => { await post("logout"); location.reload(); } }, w("Log out", "退出"))));
}

async function show() {
  const mine = ++turn;
  leave();
  leave = () => {};
  frame();
  const name = here();
  document.title = `${w(...PAGES[name])} · AI proxy`;
  const place = el("div", { class: "open" });
  fill(main, place);
  try {
    const page = await import(`./${name}.js`);
    const left = await page.show(place, () => mine === turn);
    if (mine === turn) leave = left ?? leave; else left?.();
  } catch (error) {
    if (mine === turn) fill(place, el("h1", {}, w(...PAGES[name])), trouble(error));
  }
}

function login(words = "") {
  leave();
  leave = () => {};
  turn += 1;
  const ways = session.ways ?? {}, problem = el("p", { role: "alert" }, words);
  const user = ways.users && el("input", { id: "user", autocomplete: "username", autofocus: true });
  const secret = el("input", { id: "secret", type: "password", autocomplete: "current-password" });
  const send = async (event) => {
    event.preventDefault();
    try { await post("login", { user: user ? user.value : "", secret: secret.value }); await start(); } catch (error) {
      problem.textContent = error.status === 401 ? w("That is not right.", "不正确。") : error.message;
      secret.value = "";
    }
  };
  fill(main, el("h1", {}, w("Who are you?", "请登录")),
    el("form", { class: "card", onsubmit: send },
      user && [el("label", { for: "user" }, ways.token ? w("User (none with the token)", "用户名（用令牌登录则留空）") : w("User", "用户名")), user],
      el("label", { for: "secret" }, user ? w("Password or token", "密码或令牌") : w("Token", "令牌")), secret,
      problem, el("button", { class: "main" }, w("Log in", "登录"))),
    !ways.users && !ways.token && el("p", {}, w("Open this page through the proxy at which you log in.", "请经由你登录的代理打开本页。")));
}

async function start() {
  session = await get("session");
  if (session.user === null) { frame(); login(); } else await show();
}

addEventListener("login", () => { session.user = null; start(); });
addEventListener("hashchange", async () => {
  if (session.user === null) return;
  await show();
  main.focus();
  announce(document.title);
});
document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
frame();
start().catch((error) => fill(main, trouble(error)));
