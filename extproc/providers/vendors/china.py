"""Vendors in China. Rule: facts with their sources and dates, no code."""

from extproc.providers.vendors.quirks import Clamp, ErrorForm, Quirks, Thinking, UsageForm
from extproc.providers.vendors.row import Key, Row
from extproc.providers.vendors.words import MAX_TOKENS, UNIT, all_but

_HIGRESS = "higress ai-proxy, provider/*.go, 2026-06"

_SPARK = {
    **dict.fromkeys(("10005", "11200", "11201"), 401),
    **dict.fromkeys(("10007", "11202", "11203"), 429),
    **dict.fromkeys(("10013", "10014", "10019"), 400),
}

ROWS = (
    Row(
        type="deepseek",
        title="DeepSeek",
        env=("DEEPSEEK_API_KEY",),
        models=("deepseek-*",),
        example="deepseek-flash",
        quirks=Quirks(
            url=("https://api.deepseek.com",),
            apis={"chat": "", "models": "", "messages": "/anthropic/v1/messages"},
            renames=MAX_TOKENS,
            # "the reasoning_content in the thinking mode must be passed back", on every assistant turn
            returns_thinking="required",
            thinking=Thinking(
                ask=("thinking", "reasoning_effort"),
                efforts={"minimal": "low", "medium": "high", "xhigh": "high"},
                forced=False,
                unasked=True,
            ),
            json_schema="object",
        ),
        sources=(
            _HIGRESS,
            "https://api-docs.deepseek.com/guides/thinking_mode, 2026-11: what it makes of each effort",
            "https://api-docs.deepseek.com/api/create-chat-completion, 2026-11: response_format is text or json_object",
            "Zoo-Code-Org/Zoo-Code#201, 2026-05: every assistant turn",
            "mozilla-ai/any-llm#1384, 2026-10: no forced tools while it thinks",
        ),
    ),
    Row(
        type="zhipuai",
        title="Zhipu, Z.ai",
        env=("ZHIPUAI_API_KEY", "ZAI_API_KEY"),
        models=("glm-*", "GLM-*"),
        example="glm-5.3",
        quirks=Quirks(
            url=("https://open.bigmodel.cn", "https://api.z.ai"),
            prefix="/api/paas/v4",
            apis={
                "chat": "",
                "embeddings": "",
                "images": "",
                "audio": "",
                "files": "",
                "batches": "",
                "rerank": "",
                "models": "",
                "messages": "/api/anthropic/v1/messages",
            },
            refuses=(
                *all_but(
                    "max_tokens max_completion_tokens reasoning_effort response_format seed stop temperature top_p "
                    "tool_choice tools user"
                ),
                "messages.name",
                "tools.function.strict",
            ),
            renames={**MAX_TOKENS, "user": "user_id"},
            clamps={**UNIT, "top_p": Clamp(min=0.01, max=1)},
            json_schema="object",
            tool_choice=("none", "required", "function"),
            returns_thinking="kept",
            thinking=Thinking(ask=("thinking",)),
            finish={"sensitive": "content_filter", "network_error": "error", "model_context_window_exceeded": "length"},
            errors=(
                ErrorForm(
                    at="error",
                    message="error.message",
                    code="error.code",
                    statuses={
                        **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), 401),
                        **dict.fromkeys(("1302", "1303", "1304", "1305", "1308"), 429),
                        "1301": 400,
                    },
                ),
            ),
            by_model={
                # always think; `disabled` has no effect
                "glm-5.3*": Quirks(
                    thinking=Thinking(
                        ask=("reasoning_effort",),
                        efforts={"none": "low", "minimal": "low", "medium": "high", "xhigh": "max"},
                    ),
                    stream_tools="tool_stream",
                ),
                "glm-5.2*": Quirks(
                    thinking=Thinking(ask=("thinking", "reasoning_effort"), efforts={"medium": "high", "xhigh": "max"}),
                    stream_tools="tool_stream",
                ),
                "glm-5*": Quirks(stream_tools="tool_stream"),
                "glm-4.6*": Quirks(stream_tools="tool_stream"),
                "glm-4.7*": Quirks(stream_tools="tool_stream"),
            },
        ),
        keys=(
            Key(
                "zhipuDomain",
                "host",
                "Zhipu's host name: open.bigmodel.cn or api.z.ai.",
                "智谱的主机名：open.bigmodel.cn 或 api.z.ai",
            ),
            Key(
                "zhipuCodePlanMode",
                "flag",
                "Whether the key is one of the coding plan, which has a path of its own.",
                "密钥是否属于编程套餐（路径不同）",
                default=False,
                gives={True: Quirks(prefix="/api/coding/paas/v4")},
            ),
        ),
        sources=(
            _HIGRESS,
            "zai-sdk 0.2.3 (types, resources), 2026-11-30",
            "https://docs.bigmodel.cn/cn/guide/capabilities/stream-tool, 2026-11-30: tool_stream",
            "https://java.agentscope.io/v2/en/integration/model/glm, 2026-11-30: no name, no strict, auto only",
            "https://docs.bigmodel.cn/cn/api/api-code, 2026-11: codes of errors",
        ),
    ),
    Row(
        type="doubao",
        title="Doubao, Volcengine Ark",
        env=("DOUBAO_API_KEY", "ARK_API_KEY"),
        models=("doubao-*",),
        example="doubao-seed-2-1-pro-260915",
        quirks=Quirks(
            url=("https://ark.cn-beijing.volces.com",),
            prefix="/api/v3",
            apis={"chat": "", "embeddings": "", "images": "", "responses": ""},
            refuses=("responses/parallel_tool_calls", "responses/tool_choice"),
            thinking=Thinking(ask=("thinking", "reasoning_effort")),
            returns_thinking="kept",
        ),
        keys=(
            Key(
                "doubaoDomain",
                "host",
                "Ark's host name, such as ark.ap-southeast.bytepluses.com.",
                "方舟的主机名，例如 ark.ap-southeast.bytepluses.com",
            ),
        ),
        sources=(
            f"{_HIGRESS}: Responses without parallel_tool_calls and tool_choice",
            "https://www.volcengine.com/docs/82379/1494384, 2026-11: thinking enabled, disabled, auto",
        ),
    ),
    Row(
        type="minimax",
        title="MiniMax",
        env=("MINIMAX_API_KEY",),
        models=("abab-*", "MiniMax-*", "minimax-*"),
        example="MiniMax-M3",
        quirks=Quirks(
            url=("https://api.minimax.io", "https://api.minimaxi.com"),
            apis={"chat": "", "messages": "/anthropic/v1/messages"},
            refuses=("tool_choice",),
            tool_choice=("none", "required", "function"),
            renames={"max_tokens": "max_completion_tokens"},
            thinking=Thinking(ask=("thinking",), field="think"),
            cache_control="kept",
            returns_thinking="kept",
            errors=(
                ErrorForm(
                    at="base_resp.status_code",
                    ok=(0, "0"),
                    message="base_resp.status_msg",
                    statuses={
                        **dict.fromkeys(("1004", "2049"), 401),
                        **dict.fromkeys(("1002", "1039", "1041", "2045", "2056"), 429),
                        **dict.fromkeys(("1026", "1027", "2013"), 400),
                    },
                ),
            ),
            by_model={"MiniMax-M3.1*": Quirks(thinking=Thinking(ask=(), field="think"))},  # disabling it is a 400, 2013
        ),
        keys=(
            Key(
                "minimaxApiType",
                "choice",
                "v2: the older path /v1/text/chatcompletion_v2; unset: /v1/chat/completions.",
                "v2：旧路径 /v1/text/chatcompletion_v2；不设置：/v1/chat/completions",
                gives={
                    None: Quirks(),
                    "v2": Quirks(
                        apis={"chat": "/v1/text/chatcompletion_v2", "messages": "/anthropic/v1/messages"},
                    ),
                },
                refused={"pro": "the pro API is not supported; leave it out, or say v2"},
            ),
            Key(
                "minimaxGroupId",
                "unused",
                "MiniMax' group, which only its pro API needs.",
                "MiniMax 的组，只有 pro API 需要",
            ),
        ),
        sources=(
            f"{_HIGRESS}: paths",
            "https://platform.minimax.io/docs/api-reference/errorcode, 2026-11: base_resp",
            "modelpin and aihubmix, 2026-10-19: M3.1 cannot be disabled",
        ),
    ),
    Row(
        type="hunyuan",
        title="Tencent Hunyuan",
        env=("HUNYUAN_API_KEY",),
        models=("hunyuan-*",),
        example="hunyuan-turbos-latest",
        quirks=Quirks(url=("https://api.hunyuan.cloud.tencent.com",), apis={"chat": "", "embeddings": ""}),
        keys=tuple(
            Key(
                name,
                "refused",
                "For Tencent's signed native API, which is not served: use apiTokens.",
                "腾讯的签名原生 API，此处不支持：请用 apiTokens",
                refused={
                    None: "Tencent's signed native API is not supported: leave it out, and take a key of the "
                    "OpenAI-compatible API as apiTokens"
                },
            )
            for name in ("hunyuanAuthId", "hunyuanAuthKey")
        ),
        sources=(_HIGRESS,),
    ),
    Row(
        type="baidu",
        title="Baidu Qianfan",
        env=("BAIDU_API_KEY", "QIANFAN_API_KEY"),
        models=("ernie-*", "ERNIE-*"),
        example="ernie-5.1",
        quirks=Quirks(
            url=("https://qianfan.baidubce.com",),
            prefix="/v2",
            apis={"chat": "", "embeddings": "", "models": "", "images": "", "rerank": ""},
        ),
        sources=(_HIGRESS, "https://cloud.baidu.com/doc/qianfan-api, 2026-11-30"),
    ),
    Row(
        type="stepfun",
        title="StepFun",
        env=("STEPFUN_API_KEY",),
        models=("step-*",),
        example="step-3",
        quirks=Quirks(
            url=("https://api.stepfun.com",),
            apis={"chat": "", "models": "", "files": "", "images": "", "audio": ""},
            thinking=Thinking(field="reasoning"),
        ),
        sources=(_HIGRESS, "https://platform.stepfun.com/docs/api-reference, 2026-11-30"),
    ),
    Row(
        type="yi",
        title="01.AI",
        env=("YI_API_KEY",),
        models=("yi-*",),
        example="yi-lightning",
        quirks=Quirks(url=("https://api.lingyiwanwu.com",), apis={"chat": "", "models": ""}),
        sources=(_HIGRESS,),
    ),
    Row(
        type="baichuan",
        title="Baichuan",
        env=("BAICHUAN_API_KEY",),
        models=("Baichuan*",),
        example="Baichuan4-Turbo",
        quirks=Quirks(
            url=("https://api.baichuan-ai.com",),
            apis={"chat": "", "embeddings": ""},
            usage=UsageForm(after_done=True),
        ),
        sources=(_HIGRESS, "https://platform.baichuan-ai.com/docs/api, 2026-11: usage behind [DONE]"),
    ),
    Row(
        type="ai360",
        title="360",
        env=("AI360_API_KEY",),
        models=("360*",),
        example="360gpt2-pro",
        # Higress sends the bare key; both vendors want Bearer
        quirks=Quirks(url=("https://api.360.cn",), apis={"chat": "", "embeddings": "", "models": ""}),
        sources=(_HIGRESS, "higress-group/higress#4736, 2026-09-20: Bearer, or 401"),
    ),
    Row(
        type="spark",
        title="iFlytek Spark",
        env=("SPARK_API_KEY",),
        example="generalv3.5",
        quirks=Quirks(
            url=("https://spark-api-open.xf-yun.com",),
            apis={"chat": ""},
            tools_switch="tool_calls_switch",
            json_schema="object",
            finish={"": "stop"},
            errors=(
                ErrorForm(at="code", ok=(0, "0"), message="message", statuses=_SPARK),
                ErrorForm(at="error", message="error.message", code="error.code", statuses=_SPARK),
            ),
        ),
        sources=(
            _HIGRESS,
            "https://www.xfyun.cn/doc/spark/HTTP%E8%B0%83%E7%94%A8%E6%96%87%E6%A1%A3.html, 2026-11",
            "lobehub/lobe-chat (a recorded stream in its spark.ts), 2025-04: no finish_reason, tool calls as an object",
            "agentuniverse (its Spark LLM, read), 2026-11: a list by tool_calls_switch",
        ),
    ),
    Row(
        type="longcat",
        title="LongCat",
        env=("LONGCAT_API_KEY",),
        models=("LongCat-*",),
        example="LongCat-2.0",
        quirks=Quirks(
            url=("https://api.longcat.chat",),
            prefix="/openai/v1",
            apis={
                "chat": "",
                "responses": "",
                "models": "/v1/models",
                "messages": "/anthropic/v1/messages",
            },
            renames=MAX_TOKENS,
            clamps=UNIT,
            thinking=Thinking(ask=("thinking",)),
            returns_thinking="kept",
            messages_auth="bearer",
        ),
        sources=(
            "https://longcat.chat/platform/docs/api-docs, 2026-11-30: paths",
            "https://docs.openclaw.ai/providers/longcat, 2026-11-30: thinking",
        ),
    ),
    Row(
        type="siliconflow",
        title="SiliconFlow",
        env=("SILICONFLOW_API_KEY",),
        example="deepseek-ai/DeepSeek-V4-Flash",
        quirks=Quirks(
            url=("https://api.siliconflow.cn", "https://api.siliconflow.com"),
            takes=("top_k",),
            apis={
                "chat": "",
                "embeddings": "",
                "rerank": "",
                "images": "",
                "audio": "",
                "models": "",
                "messages": "/v1/messages",
            },
            renames=MAX_TOKENS,
            thinking=Thinking(ask=("enable_thinking",)),
            returns_thinking="kept",
            messages_auth="bearer",
        ),
        sources=("https://docs.siliconflow.cn/docs/api/chat-completions-post, 2026-11-30: errors of text alone",),
    ),
)
