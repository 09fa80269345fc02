#!/usr/bin/env bash
# Guess: a stream of OpenAI's Responses API that ends with the events `error` and `response.failed`, in the form that
# OpenAI's reference and its SDKs' types give them, is an error to Vercel's AI SDK.
# Seen: ai 5.0.277 with @ai-sdk/openai 2.0.131 passes over both. It knows an `error` event only where code and message
# stand in a member `error`, and no `response.failed`: no part of the stream is an error, nothing is thrown, the text so
# far is the answer and the finish is "unknown". The form with the inner member makes an error part. OpenAI's own SDK for
# Node (openai 7.59.0) throws at either.
# Source: the packages themselves, from npm, against a server in the script, 2026-11-30. Nothing is sent anywhere else.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
npm install --silent --no-audit --no-fund --ignore-scripts ai@5.0.277 @ai-sdk/openai@2.0.131 openai@7.59.0 zod@3.25.76
cat > run.mjs <<'NODE'
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { streamText } from "ai";
import OpenAI from "openai";

for (const name of ["ai", "@ai-sdk/openai", "openai"]) {
  console.log(name, JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version);
}
globalThis.AI_SDK_LOG_WARNINGS = false;
const response = { id: "resp_1", object: "response", created_at: 1, model: "m", output: [], status: "in_progress", error: null,
  incomplete_details: null, parallel_tool_calls: true, tool_choice: "auto", tools: [], usage: null };
const why = { code: "server_error", message: "the model failed" };
const errors = { documented: { ...why, param: null }, inner: { error: { type: "server_error", ...why, param: null } } };
const at = { item_id: "msg_1", output_index: 0, content_index: 0 };
function events(error) {
  return [
    ["response.created", { response }],
    ["response.output_item.added", { output_index: 0,
      item: { id: "msg_1", type: "message", role: "assistant", status: "in_progress", content: [] } }],
    ["response.content_part.added", { ...at, part: { type: "output_text", text: "", annotations: [] } }],
    ["response.output_text.delta", { ...at, delta: "half", logprobs: [] }],
    ["error", error],
    ["response.failed", { response: { ...response, status: "failed", error: why } }],
  ];
}
const server = createServer((request, answer) => {
  answer.writeHead(200, { "content-type": "text/event-stream" });
  events(errors[request.url.split("/")[1]]).forEach(([type, more], sequence_number) =>
    answer.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...more, sequence_number })}\n\n`));
  answer.end();
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

const seen = {};
for (const form of Object.keys(errors)) {
  const baseURL = `http://127.0.0.1:${server.address().port}/${form}`;
  const model = createOpenAI({ baseURL, apiKey: "none" }).responses("m");
  const told = { errors: 0, text: "", finish: null, thrown: false };
  try {
    for await (const part of streamText({ model, prompt: "hi", maxRetries: 0, onError: () => {} }).fullStream) {
      if (part.type === "error") told.errors += 1;
      if (part.type === "text-delta") told.text += part.text;
      if (part.type === "finish") told.finish = part.finishReason;
    }
  } catch {
    told.thrown = true;
  }
  let openai = "took it for an event";
  try {
    const stream = await new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 }).responses.create({ model: "m", input: "hi", stream: true });
    for await (const event of stream);
  } catch (error) {
    openai = `threw: ${error.message}`;
  }
  seen[form] = told;
  console.log(form, JSON.stringify(told), "| openai", openai);
}
server.close();
const { documented, inner } = seen;
if (documented.errors !== 0 || documented.thrown || documented.text !== "half" || inner.errors === 0) {
  console.error("the behaviour has changed");
  process.exit(1);
}
NODE
node run.mjs
