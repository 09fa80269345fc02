"""Write the tables of docs/vendors.md, docs/fronts.md and their twins.

Rule: from the data that the code uses; a test says when they are stale.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
import sys

from extproc.providers.vendors import KEYS, ROWS, VENDOR_KEYS, Row
from extproc.providers.vendors.quirks import Quirks, UsageForm
from extproc.terms.call import MESSAGES, RESPONSES
from tools import pages
from tools.fronts import Carried
from tools.pages import DOCS, ENDS, LANGUAGES, Table, code

COLUMNS = "chat completions embeddings responses messages models images audio rerank files batches".split()

_WORDS = {
    "passed": ("passed", "透传"),
    "converted": ("converted ²", "转换 ²"),
    "either": ("converted ² or passed", "转换 ² 或透传"),
    "list": ("list ¹ or passed", "列表 ¹ 或透传"),
    "type": ("type", "type"),
    "vendor": ("vendor", "供应商"),
    "at": ("where", "地址"),
    "other": ("other", "其他"),
    "every": ("every `/v1/*` passed", "所有 `/v1/*` 透传"),
    "rest": ("404", "404"),
    "said": ("yours to say", "由您指定"),
    "bare": ("without `/v1`", "无 `/v1`"),
    "what": ("what is put right", "修正了什么"),
    "nothing": ("nothing: a pass-through", "无：原样透传"),
    "key": ("key", "键"),
    "form": ("type", "类型"),
    "default": ("default", "默认值"),
    "meaning": ("meaning", "含义"),
    "for": ("for {}: {}", "用于 {}：{}"),
    "none": ("none", "无"),
    "quirks": ("how the vendor differs from its row, see below", "供应商与表中所写有何不同，见下文"),
    "refuses": ("dropped: {}", "去掉：{}"),
    "renames": ("renamed: {}", "改名：{}"),
    "clamps": ("within bounds: {}", "限制范围：{}"),
    "beside": ("dropped beside {}: {}", "与 {} 同时出现时去掉：{}"),
    "jsonSchema": ("`json_schema` → `json_object`", "`json_schema` → `json_object`"),
    "toolChoice": ("`tool_choice` cannot be {}", "`tool_choice` 不能是 {}"),
    "forced": ("tools are not forced while it thinks", "思考时不强制工具"),
    "toolsSwitch": ("{} for tools", "工具加 {}"),
    "members": ("messages have {} alone", "消息只有 {}"),
    "unsaid": ("no finish reason: `{}`", "没有结束原因：`{}`"),
    "streamTools": ("{} for streamed tools", "流式工具加 {}"),
    "ask": ("asked for thinking by {}", "以 {} 要求思考"),
    "noask": ("no effort", "不接受思考强度"),
    "field": ("thinking: {} → `reasoning_content`", "思考：{} → `reasoning_content`"),
    "returns": ("history's `reasoning_content`: {}", "历史中的 `reasoning_content`：{}"),
    "required": ("required", "必须带"),
    "kept": ("kept", "保留"),
    "dropped": ("dropped", "去掉"),
    "finish": ("finish: {}", "结束原因：{}"),
    "usage": ("usage from {}", "用量取自 {}"),
    "afterDone": ("usage behind `[DONE]`", "用量在 `[DONE]` 之后"),
    "outside": ("reasoning tokens added to `completion_tokens`", "思考的 token 计入 `completion_tokens`"),
    "errors": ("errors in a 200: {}", "200 里的错误：{}"),
    "content": ("content in parts becomes text", "分段的内容合成文本"),
    "toolIds": ("tool call ids of {} letters and digits", "工具调用 id 为 {} 位字母数字"),
    "cacheControl": ("`cache_control` {}", "`cache_control` {}"),
    "byModel": ("for {}: {}", "对 {}：{}"),
}


class Page:
    """The tables in one language."""

    def __init__(self, language: str) -> None:
        self._language = LANGUAGES.index(language)

    def say(self, key: str, *values: str) -> str:
        return _WORDS[key][self._language].format(*values)

    @property
    def tables(self) -> Mapping[str, Table]:
        return {"served": self.served, "differences": self.differences, "keys": self.keys}

    def served(self) -> Iterator[str]:
        """Which row has which API."""
        heads = (*map(self.say, ("type", "vendor", "at")), *COLUMNS, self.say("other"))
        yield f"| {' | '.join(heads)} |"
        yield "|" + "---|" * (len(COLUMNS) + 4)
        for row in ROWS.values():
            cells = [self._cell(row, name) for name in COLUMNS]
            hosts = code(url.removeprefix("https://") for url in row.quirks.url)
            prefix = row.quirks.prefix
            behind = "" if prefix == "/v1" else f" `{prefix}`" if prefix else f" {self.say('bare')}"
            where = f"{hosts}{behind}" if hosts else self.say("said")
            yield f"| `{row.type}` | {row.title} | {where} | {' | '.join(cells)} | {self._others(row)} |"

    def _cell(self, row: Row, name: str) -> str:
        apis = row.quirks.apis
        if apis is not None and name not in apis:
            return self.say("converted") if name in (MESSAGES, RESPONSES) else "404"
        if row.own_server and name in (MESSAGES, RESPONSES):
            return self.say("either")
        if name == "models":
            return self.say("list")
        path = apis[name] if apis is not None else ""
        return f"{self.say('passed')} `{path}`" if path else self.say("passed")

    def _others(self, row: Row) -> str:
        if row.quirks.apis is None:
            return self.say("every")
        more = [name for name in row.quirks.apis if name not in COLUMNS]
        return f"{code(more)} {self.say('passed')}" if more else self.say("rest")

    def differences(self) -> Iterator[str]:
        """What is done for each row."""
        yield f"| {self.say('type')} | {self.say('what')} |"
        yield "|---|---|"
        for row in ROWS.values():
            told = "; ".join(self._told(row.quirks, Quirks(roles=row.quirks.roles)))
            yield f"| `{row.type}` | {told or self.say('nothing')} |"

    def _told(self, quirks: Quirks, usual: Quirks) -> Iterator[str]:
        if quirks.refuses != usual.refuses:
            yield self.say("refuses", code(quirks.refuses))
        if quirks.renames != usual.renames:
            yield self.say("renames", ", ".join(f"`{a}` → `{b}`" for a, b in quirks.renames.items()))
        if quirks.clamps != usual.clamps:
            yield self.say("clamps", code(quirks.clamps))
        for member, others in quirks.beside.items() if quirks.beside != usual.beside else ():
            yield self.say("beside", f"`{member}`", code(others))
        if quirks.json_schema != usual.json_schema:
            yield self.say("jsonSchema")
        if quirks.tool_choice != usual.tool_choice:
            yield self.say("toolChoice", code(quirks.tool_choice))
        if quirks.stream_tools and quirks.stream_tools != usual.stream_tools:
            yield self.say("streamTools", f"`{quirks.stream_tools}`")
        if quirks.tools_switch and quirks.tools_switch != usual.tools_switch:
            yield self.say("toolsSwitch", f"`{quirks.tools_switch}`")
        if quirks.message_members != usual.message_members:
            yield self.say("members", code(quirks.message_members))
        if quirks.tool_ids and quirks.tool_ids != usual.tool_ids:
            yield self.say("toolIds", str(quirks.tool_ids))
        if quirks.cache_control and quirks.cache_control != usual.cache_control:
            yield self.say("cacheControl", self.say(quirks.cache_control))
        thinking = quirks.thinking
        if thinking.ask != usual.thinking.ask or thinking.efforts != usual.thinking.efforts:
            yield self.say("ask", code(thinking.ask)) if thinking.ask else self.say("noask")
        if thinking.forced != usual.thinking.forced:
            yield self.say("forced")
        if thinking.field != usual.thinking.field:
            yield self.say("field", "`<think>`" if thinking.field == "think" else f"`{thinking.field}`")
        if quirks.returns_thinking != usual.returns_thinking and quirks.returns_thinking:
            yield self.say("returns", self.say(quirks.returns_thinking))
        if quirks.finish != usual.finish:
            if told := ", ".join(f"`{a}` → `{b}`" for a, b in quirks.finish.items() if a):
                yield self.say("finish", told)
            if "" in quirks.finish:
                yield self.say("unsaid", quirks.finish[""])
        if quirks.usage != usual.usage:
            yield from self._usage(quirks.usage)
        if quirks.errors != usual.errors:
            yield self.say("errors", code(form.at for form in quirks.errors))
        if quirks.content != usual.content:
            yield self.say("content")
        for pattern, own in quirks.by_model.items():
            if told := ", ".join(self._told(own.over(quirks).model_copy(update={"by_model": {}}), quirks)):
                yield self.say("byModel", f"`{pattern}`", told)

    def _usage(self, usage: UsageForm) -> Iterator[str]:
        if usage.at:
            yield self.say("usage", f"`{usage.at}`")
        if usage.after_done:
            yield self.say("afterDone")
        if usage.reasoning_outside:
            yield self.say("outside")

    def keys(self) -> Iterator[str]:
        """The keys that single types have."""
        yield "| {} | {} | {} | {} |".format(*map(self.say, ("key", "form", "default", "meaning")))
        yield "|---|---|---|---|"
        for key in KEYS.values():
            given = f"`{str(key.default).lower()}`" if isinstance(key.default, bool) else str(key.default)
            default = self.say("none") if key.default is None else given
            about = (key.about, key.chinese)[self._language].rstrip(".")
            yield f"| `{key.name}` | {key.kind} | {default} | {self.say('for', f'`{VENDOR_KEYS[key.name]}`', about)} |"
        yield f"| `quirks` | mapping | {self.say('none')} | {self.say('quirks')} |"


def made() -> Mapping[Path, Mapping[str, Table]]:
    """Every page and its tables."""
    of_vendors = {DOCS / f"vendors{end}": Page(language).tables for language, end in zip(LANGUAGES, ENDS, strict=True)}
    of_fronts = {DOCS / f"fronts{end}": Carried(language).tables for language, end in zip(LANGUAGES, ENDS, strict=True)}
    return of_vendors | of_fronts


if __name__ == "__main__":
    sys.exit(pages.main(made()))
