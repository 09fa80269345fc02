// usage: node fronts.mjs BASE_URL HOST MODEL; what Node's SDKs of both other fronts, and Vercel's, understood, as JSON.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

globalThis.AI_SDK_LOG_WARNINGS = false;
const [base, vendor, model] = process.argv.slice(2);
const headers = { "x-vendor": vendor };
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const said = {};

async function thrown(act) {
  try {
    await act();
    return null;
  } catch (error) {
    return { class: error.constructor.name, status: error.status ?? null, message: String(error.message) };
  }
}

const claude = new Anthropic({ baseURL: base, apiKey: "any", maxRetries: 0, defaultHeaders: headers });
const message = (content, more = {}) => ({ model, max_tokens: 2000, messages: [{ role: "user", content }], ...more });
const tools = [{ name: "get_weather", input_schema: schema }];
const whole = await claude.messages.create(message("你好"));
const streamed = await claude.messages.stream(message("你好")).finalMessage();
const used = await claude.messages.stream(message("get_weather", { tools })).finalMessage();
said.anthropic = {
  whole: whole.content.map((block) => block.text ?? ""),
  streamed: streamed.content.map((block) => block.text ?? ""),
  tools: used.content.filter((block) => block.type === "tool_use").map(({ name, input }) => ({ name, input })),
  stop: used.stop_reason,
  refused: await thrown(() => claude.messages.create(message("[[sim:status=429,retry_after=7]]"))),
  broken: await thrown(() => claude.messages.stream(message("[[sim:error_frame]]")).finalMessage()),
};

const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "any", maxRetries: 0, defaultHeaders: headers });
const response = await openai.responses.create({ model, input: "你好" });
const last = await openai.responses.stream({ model, input: "你好" }).finalResponse();
const functions = [{ type: "function", name: "get_weather", parameters: schema, strict: false }];
const called = await openai.responses.stream({ model, input: "get_weather", tools: functions }).finalResponse();
said.openai = {
  whole: response.output_text,
  streamed: last.output_text,
  tools: called.output
    .filter((item) => item.type === "function_call")
    .map((item) => ({ name: item.name, input: JSON.parse(item.arguments) })),
  broken: await thrown(() => openai.responses.stream({ model, input: "[[sim:error_frame]]" }).finalResponse()),
};

const ways = {
  "ai-anthropic": createAnthropic({ baseURL: `${base}/v1`, apiKey: "any", headers })(model),
  "ai-openai": createOpenAI({ baseURL: `${base}/v1`, apiKey: "any", headers }).responses(model),
};
for (const [name, way] of Object.entries(ways)) {
  const weather = tool({ inputSchema: jsonSchema(schema), execute: async ({ city }) => `${city}: rain` });
  const text = (await generateText({ model: way, prompt: "你好", maxRetries: 0 })).text;
  const stream = streamText({ model: way, prompt: "你好", maxRetries: 0, onError: () => {} });
  const tools = { get_weather: weather };
  const providerOptions = { openai: { store: false } }; // else its calls come back as references to what nobody keeps
  const asked = { model: way, prompt: "get_weather", tools, stopWhen: stepCountIs(2), maxRetries: 0, providerOptions };
  const agent = await generateText(asked);
  const failing = streamText({ model: way, prompt: "[[sim:error_frame]]", maxRetries: 0, onError: () => {} });
  // By a part of the stream, by its connection, which Messages break, or by an end that is no good one: the provider for
  // OpenAI of this major version does not know the error event as OpenAI documents it.
  let broken = false;
  try {
    for await (const part of failing.fullStream) {
      broken ||= part.type === "error" || (part.type === "finish" && part.finishReason !== "stop");
    }
  } catch {
    broken = true;
  }
  said[name] = {
    whole: text,
    streamed: await stream.text,
    finish: await stream.finishReason,
    tools: agent.steps[0].toolCalls.map((call) => ({ name: call.toolName, input: call.input })),
    after: agent.text,
    steps: agent.steps.map((step) => step.finishReason),
    broken,
  };
}

console.log(JSON.stringify(said));
