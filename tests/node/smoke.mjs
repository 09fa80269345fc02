// usage: node smoke.mjs BASE_URL VENDOR MODEL; prints what the SDK understood as one JSON document.
import OpenAI from "openai";

const [baseURL, vendor, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "any", maxRetries: 0, defaultHeaders: { "x-vendor": vendor } });
const ask = (content, more = {}) =>
  client.chat.completions.create({ model, messages: [{ role: "user", content }], ...more });

const chat = await ask("早上好 👋");

const stream = { content: "", finish: null, done: 0 };
for await (const chunk of await ask("早上好 👋", { stream: true })) {
  const [choice] = chunk.choices;
  stream.content += choice?.delta.content ?? "";
  if (choice?.finish_reason) {
    stream.finish = choice.finish_reason;
    stream.done += 1;
  }
}

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const runner = client.chat.completions.stream({
  model,
  messages: [{ role: "user", content: "get_weather" }],
  tools: [{ type: "function", function: { name: "get_weather", parameters } }],
});
const called = (await runner.finalChatCompletion()).choices[0].message.tool_calls;
const tools = called.map((call) => ({ name: call.function.name, arguments: JSON.parse(call.function.arguments) }));

const vectors = await client.embeddings.create({ model: "text-embedding-3-small", input: ["一"] });
const embedding = vectors.data[0].embedding.length > 100 && Number.isFinite(vectors.data[0].embedding[0]);

let error;
try {
  await ask("[[sim:retry_after=7]]");
} catch (thrown) {
  error = { class: thrown.constructor.name, status: thrown.status, retry: thrown.headers.get("retry-after") };
}

let broken = null;
try {
  for await (const _ of await ask("[[sim:error_frame]]", { stream: true }));
} catch (thrown) {
  broken = thrown.message;
}

console.log(
  JSON.stringify({
    chat: { content: chat.choices[0].message.content, model: chat.model },
    stream,
    tools,
    embedding,
    error,
    broken,
  }),
);
