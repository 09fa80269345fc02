// Is it well? What is wrong comes first, with what to do about it.

import { clock, day, el, fill, get, line, n, short, size, span, state, table, trouble, w } from "./base.js";

const WRONG = {
  not_ready: (x) => w(`Requests are not served: ${x}`, `现在不能处理请求：${x}`),
  refused: (x) => w(`A change of the configuration was refused, the former one is served: ${x}`, `配置的修改被拒绝，仍按原配置服务：${x}`),
  trouble: (x) => w(`It is being tried again: ${x}`, `正在重试：${x}`),
  failing: (x) => w(`The last exchange with ${x} failed. Why: see Now.`, `与 ${x} 的最近一次请求失败。原因见“此刻”。`),
  unreachable: (x) => w(`${x} cannot be reached from this machine.`, `从本机连不上 ${x}。`),
  out: (x) => w(`Envoy leaves ${x} out for now, since it failed several times in a row.`, `${x} 连续失败，Envoy 暂时不用它。`),
  no_key: (x) => w(`No key of ${x} is in use now: all rest or are set aside.`, `${x} 没有可用的密钥：都在休息或被搁置。`),
  key_aside: (x) => w(`A key was set aside after repeated failures: ${x}`, `一个密钥因多次失败被搁置：${x}`),
  redis: (x) => w(`Redis does not answer (${x}): what is known of keys is not shared meanwhile.`, `Redis 没有应答（${x}）：密钥状态暂不共享。`),
  certificate: (x) => w(`The certificate of ${x} ends soon, or has ended.`, `${x} 的证书即将到期或已到期。`),
  retired: (x) => w(`The vendor has switched a model off: ${x}`, `厂商已下线的模型：${x}`),
  retires: (x) => w(`The vendor will soon switch a model off: ${x}`, `厂商即将下线的模型：${x}`),
};

const VENDOR = {
  answering: () => state("good", w("answers", "正常应答")), failing: () => state("bad", w("fails", "失败")),
  unreachable: () => state("bad", w("out of reach", "连不上")), out: () => state("bad", w("left out by Envoy", "被 Envoy 暂停")),
  idle: () => state("idle", w("nothing asked lately", "近来没有请求")),
};
const KEY = {
  serving: () => state("good", w("serves", "使用中")), resting: () => state("warn", w("rests", "休息中")), aside: () => state("bad", w("set aside", "被搁置")),
};

function draw(place, f) {
  const wrong = f.wrong;
  fill(place,
    el("div", { class: `card banner ${wrong.length ? "bad" : ""}` },
      el("span", { "aria-hidden": "true" }, wrong.length ? "✕" : "✓"),
      el("div", {},
        el("h1", {}, !wrong.length ? w("All is well", "一切正常") : f.ready ? w("Something needs a look", "有需要留意的地方") : w("Not well", "不正常")),
        wrong.length > 0 && el("ul", {}, wrong.map(([kind, name]) => el("li", {}, (WRONG[kind] ?? String)(name)))))),
    el("h2", {}, w("Vendors", "厂商")),
    table(w("Vendors, and what became of their exchanges in the last five minutes (of those still remembered)", "各厂商，及最近五分钟内（仍记得的）请求的结果"),
      [w("Name", "名称"), w("Type", "类型"), w("Address", "地址"), w("State", "状态"), { n: w("Good", "成功") }, { n: w("Failed", "失败") }, w("Last", "最近一次")],
      f.vendors.map((v) => line(short(v.id), v.type, v.host,
        el("td", {}, VENDOR[v.state](), v.reason && el("div", { class: "soft" }, v.reason),
          v.out && el("div", { class: "soft" }, w(`at least until ${clock(v.out)}`, `至少到 ${clock(v.out)}`))),
        n(v.recent?.good ?? ""), n(v.recent?.failed ?? ""),
        v.recent ? `${v.recent.status ?? ""} ${v.recent.error ?? ""} ${clock(v.recent.at)}` : ""))),
    el("h2", {}, w("Keys", "密钥")),
    f.keys.length ? table(w("Keys, by their last characters", "密钥，只显示末尾几位"), [w("Provider", "提供方"), w("Key", "密钥"), w("State", "状态")],
      f.keys.map((k) => line(short(k.provider), el("code", {}, k.key),
        el("td", {}, KEY[k.state](), k.seconds !== undefined && w(` for another ${span(k.seconds)}`, ` 还有 ${span(k.seconds)}`),
          k.state === "aside" && k.seconds === undefined && w(" until a health check succeeds", " 直到健康检查成功")))))
      : el("p", { class: "soft" }, w("None: clients' own keys go through.", "没有：客户端自己的密钥直接透传。")),
    el("div", { class: "cards" },
      el("section", { class: "card" }, el("h2", {}, w("Configuration", "配置")), el("dl", {},
        el("dt", {}, w("Generation", "第几代")), el("dd", {}, f.configuration.generation),
        el("dt", {}, w("From", "来源")), el("dd", {}, f.configuration.source),
        el("dt", {}, w("Since", "生效时间")), el("dd", {}, day(f.configuration.since)),
        el("dt", {}, w("Last change", "最近的修改")), el("dd", {}, f.configuration.refused.length ? state("bad", w("refused", "被拒绝")) : state("good", w("taken", "已采用")))),
        f.configuration.refused.map((r) => el("pre", {}, r)),
        f.configuration.notes.length > 0 && el("details", {}, el("summary", {}, w("Notes", "说明")), el("ul", {}, f.configuration.notes.map((t) => el("li", {}, t))))),
      el("section", { class: "card" }, el("h2", {}, w("Parts", "各部分")), el("dl", {},
        el("dt", {}, "Envoy"), el("dd", {}, f.envoy ? (f.envoy.reason ? state("bad", f.envoy.reason) : state("good", w(`runs (pid ${f.envoy.pid})`, `运行中（pid ${f.envoy.pid}）`))) : state("idle", w("runs elsewhere", "在别处运行"))),
        el("dt", {}, "Redis"), el("dd", {}, f.redis ? (f.redis.reason ? state("bad", f.redis.reason) : state("good", w(`answers (${f.redis.place})`, `正常（${f.redis.place}）`))) : state("idle", w("none is configured", "没有配置"))))),
    ),
    el("h2", {}, w("Workers", "工作进程")),
    table(w("Worker processes", "工作进程"), [w("Number", "编号"), { n: "pid" }, { n: w("Age", "运行时间") }, { n: w("Memory", "内存") }, { n: w("Configuration", "配置代数") }, w("State", "状态")],
      f.workers.map((p) => line(p.worker, n(p.pid), n(span(p.age)), n(size(p.memory)), n(p.generation),
        p.leaving ? state("warn", w("finishes what it has", "处理完手头的请求后退出")) : p.silent ? state("bad", w("does not answer", "没有应答")) : p.generation < 0 ? state("warn", w("starts", "启动中")) : state("good", w("serves", "服务中"))))),
    f.certificates.length > 0 && [el("h2", {}, w("Certificates", "证书")), table(w("Certificates and their last day", "证书及到期日"), [w("Of", "名称"), w("Ends", "到期"), w("In", "还有")],
      f.certificates.map((c) => line(c.name, day(c.ends), c.ends < f.now + 2592000 ? state("bad", span(c.ends - f.now)) : span(c.ends - f.now))))],
    f.retired.length > 0 && [el("h2", {}, w("Models that end", "下线的模型")), table(w("Models of the configuration that their vendors switch off", "配置中被厂商下线的模型"), [w("Model", "模型"), w("Provider", "提供方"), w("Day", "日期"), w("Use instead", "改用")],
      f.retired.map((m) => line(short(m.model), m.provider, el("td", {}, m.gone ? state("bad", m.day) : state("warn", m.day)), el("code", {}, m.successor))))]);
}

export async function show(place, current) {
  let last = "";
  const look = async () => {
    const found = await get("well");
    const text = JSON.stringify({ ...found, now: 0, workers: found.workers.map((p) => ({ ...p, age: 0, memory: 0 })) });
    if (!current() || text === last) return; // nothing moves under a finger or a screen reader without a reason
    last = text;
    draw(place, found);
  };
  fill(place, el("h1", {}, w("Well?", "还好吗？")), el("p", { class: "soft" }, w("Looking …", "正在查看……")));
  await look();
  const timer = setInterval(() => { if (!document.hidden) look().catch((error) => { last = ""; if (current()) fill(place, el("h1", {}, w("Well?", "还好吗？")), trouble(error)); }); }, 5000);
  return () => clearInterval(timer);
}
