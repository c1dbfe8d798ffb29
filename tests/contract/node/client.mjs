// The npm `openai` client against a running edge: what it got, as one line of JSON. `node client.mjs ADDRESS KEY`
import OpenAI, { toFile } from "openai";

const [address, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "one two three" }];
const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];
const got = {};

got.models = (await client.models.list()).data.map((model) => model.id);
got.whole = (await client.chat.completions.create({ model: "tiny-language", messages })).choices[0].message.content;

got.streamed = "";
for await (const chunk of await client.chat.completions.create({ model: "perenne", messages, stream: true })) {
  got.streamed += chunk.choices[0]?.delta?.content ?? "";
}

const called = await client.chat.completions.create({ model: "tiny-language", messages, tools, tool_choice: "required" });
got.called = called.choices[0].message.tool_calls[0].function.name;

const told = client.responses.stream({ model: "perenne", input: "When was it built?" });
got.response = (await told.finalResponse()).output_text;

const vector = (await client.embeddings.create({ model: "use-multilingual-q8", input: "a b" })).data[0].embedding;
got.dimension = vector.length;
got.length = Math.hypot(...vector);

const file = await client.files.create({ file: await toFile(Buffer.from("built in 1863"), "a.txt"), purpose: "assistants" });
const store = await client.vectorStores.create({ name: "letters", file_ids: [file.id] });
got.store = [store.file_counts.in_progress, store.status];
got.content = await (await client.files.content(file.id)).text();

try {
  await client.chat.completions.create({ model: "gpt-9", messages });
} catch (error) {
  got.error = [error instanceof OpenAI.NotFoundError, error.code];
}
console.log(JSON.stringify(got));
