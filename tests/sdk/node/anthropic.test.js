/** Anthropic's SDK against every provider. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

import { anthropic, model, providersOf, sameDialect } from "./matrix.js";
import { errorMessage, expected, finishOf } from "./transcripts.js";
import { hungUp, newMarker, request } from "./upstream.js";

const tools = [
  {
    name: "get_weather",
    description: "The weather of a city.",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
  {
    name: "get_time",
    input_schema: { type: "object", properties: { zone: { type: "string" } } },
  },
];

const text = (message) =>
  message.content
    .filter((block) => block.type === "text")
    .map((block) => block.text)
    .join("");
const thinking = (message) =>
  message.content
    .filter((block) => block.type === "thinking")
    .map((block) => block.thinking)
    .join("");
const calls = (message) =>
  message.content
    .filter((block) => block.type === "tool_use")
    .map(({ name, input }) => ({ name, input }));
const read = ({ input_tokens, cache_read_input_tokens, cache_creation_input_tokens }) =>
  input_tokens + (cache_read_input_tokens ?? 0) + (cache_creation_input_tokens ?? 0);

for (const provider of providersOf("anthropic")) {
  describe(`anthropic to ${provider}`, () => {
    const client = anthropic(provider);
    const ask = (scenario, more = {}) => ({
      model: model(provider, scenario),
      max_tokens: 4096,
      messages: [{ role: "user", content: "Hello?" }],
      ...more,
    });

    for (const scenario of ["chat", "unicode", "unicode-bytes", "gzip"]) {
      const said = expected(provider, scenario === "unicode-bytes" ? "unicode" : scenario);

      test(`${scenario}: a whole answer`, async () => {
        const message = await client.messages.create(ask(scenario));
        assert.equal(text(message), said.text);
        assert.equal(finishOf(message.stop_reason), "stop");
        assert.equal(read(message.usage), said.input);
        assert.equal(message.usage.output_tokens, said.output);
      });

      test(`${scenario}: the events of a stream`, async () => {
        const kinds = [];
        let told = "";
        for await (const event of await client.messages.create(ask(scenario, { stream: true }))) {
          kinds.push(event.type);
          if (event.delta?.type === "text_delta") told += event.delta.text;
        }
        assert.equal(told, said.text);
        assert.equal(kinds[0], "message_start");
        assert.equal(kinds.at(-1), "message_stop");
        assert.equal(kinds.filter((kind) => kind === "message_delta").length, 1);
      });

      test(`${scenario}: the stream helper`, async () => {
        const stream = client.messages.stream(ask(scenario));
        let told = "";
        stream.on("text", (delta) => (told += delta));
        const message = await stream.finalMessage();
        assert.equal(told, said.text);
        assert.equal(text(message), said.text);
        assert.equal(message.usage.output_tokens, said.output);
      });
    }

    for (const scenario of ["tool-single", "tools-parallel", "tool-text", "tool-none"]) {
      const said = expected(provider, scenario);

      test(`${scenario}: calls of a whole answer`, async () => {
        const message = await client.messages.create(ask(scenario, { tools }));
        assert.deepEqual(calls(message), said.calls);
        assert.equal(finishOf(message.stop_reason), said.finish);
      });

      test(`${scenario}: the stream helper puts calls together`, async () => {
        const stream = client.messages.stream(ask(scenario, { tools }));
        const blocks = [];
        stream.on("contentBlock", (block) => blocks.push(block.type));
        const message = await stream.finalMessage();
        assert.deepEqual(calls(message), said.calls);
        assert.equal(text(message), said.text);
        assert.equal(blocks.length, message.content.length);
        assert.equal(finishOf(message.stop_reason), said.finish);
      });
    }

    for (const streamed of [false, true]) {
      test(`results go back, ${streamed ? "streamed" : "whole"}`, async () => {
        const create = (asked) =>
          streamed ? client.messages.stream(asked).finalMessage() : client.messages.create(asked);
        const asked = ask("tools-parallel", { tools });
        const called = await create(asked);
        const results = called.content
          .filter((block) => block.type === "tool_use")
          .map(({ id, name }) => ({
            type: "tool_result",
            tool_use_id: id,
            content: `result of ${name}`,
          }));
        const marker = newMarker();
        const last = await create({
          ...asked,
          model: model(provider, "tool-result"),
          messages: [
            { role: "user", content: marker },
            { role: "assistant", content: called.content },
            { role: "user", content: results },
          ],
        });
        assert.equal(text(last), expected(provider, "tool-result").text);
        const { body } = await request(marker);
        for (const tool of tools) assert.ok(body.includes(`result of ${tool.name}`));
      });
    }

    test("thinking is shown", async (t) => {
      const said = expected(provider, "thinking");
      if (!said.reasoning) return t.skip("this provider shows none");
      const asked = ask("thinking", { thinking: { type: "enabled", budget_tokens: 1024 } });
      assert.equal(thinking(await client.messages.create(asked)), said.reasoning);
      let told = "";
      const stream = client.messages.stream(asked).on("thinking", (delta) => (told += delta));
      assert.equal(thinking(await stream.finalMessage()), said.reasoning);
      assert.equal(told, said.reasoning);
    });

    test("usage of a stream is whole at its end", async () => {
      const said = expected(provider, "usage");
      const { usage } = await client.messages.stream(ask("usage")).finalMessage();
      assert.equal(read(usage), said.input);
      assert.equal(usage.output_tokens, said.output);
    });

    const errors = {
      400: [Anthropic.BadRequestError, "invalid_request_error"],
      401: [Anthropic.AuthenticationError, "authentication_error"],
      404: [Anthropic.NotFoundError, "not_found_error"],
      429: [Anthropic.RateLimitError, "rate_limit_error"],
      500: [Anthropic.InternalServerError, "api_error"],
    };
    if (provider === "anthropic") {
      errors[529] = [Anthropic.InternalServerError, "overloaded_error"];
    }
    for (const [status, [type, name]] of Object.entries(errors)) {
      for (const stream of [false, true]) {
        test(`${status}, ${stream ? "streamed" : "whole"}`, async () => {
          const asked = ask(`error-${status}`, { stream });
          await assert.rejects(client.messages.create(asked), (error) => {
            assert.ok(error instanceof type, `${error}`);
            assert.equal(error.status, Number(status));
            assert.equal(error.error.error.type, name);
            assert.ok(error.message.includes(errorMessage(provider, `error-${status}`)));
            if (status === "429") assert.equal(error.headers.get("retry-after"), "7");
            return true;
          });
        });
      }
    }

    const drain = async (scenario) => {
      for await (const _ of await client.messages.create(ask(scenario, { stream: true })));
    };

    test("an error in mid-stream is raised", async () => {
      await assert.rejects(drain("error-stream"), Anthropic.APIError);
      await assert.rejects(drain("error-first"), Anthropic.APIError);
    });

    test("a stream that is cut off is raised", async () => {
      await assert.rejects(drain("truncated"));
      await assert.rejects(drain("truncated-reset"));
      if (!sameDialect("anthropic", provider)) {
        await assert.rejects(drain("truncated-end"), Anthropic.APIError);
      }
    });

    test("the stream helper raises what broke", async () => {
      const stream = client.messages.stream(ask("error-stream"));
      await assert.rejects(stream.finalMessage(), Anthropic.AnthropicError);
    });

    test("a time-out ends the request upstream", async () => {
      for (const stream of [false, true]) {
        const marker = newMarker();
        const asked = ask("hang", { stream, messages: [{ role: "user", content: marker }] });
        const asking = client.messages.create(asked, { timeout: 400 });
        await assert.rejects(asking, Anthropic.APIConnectionTimeoutError);
        await hungUp(marker);
      }
    });

    test("an abort in mid-stream ends the request upstream", async () => {
      const marker = newMarker();
      const asked = ask("slow", { messages: [{ role: "user", content: marker }] });
      const stream = client.messages.stream(asked);
      let deltas = 0;
      stream.on("text", () => {
        if (++deltas === 2) stream.controller.abort();
      });
      await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
      const { sent } = await hungUp(marker);
      assert.ok(sent > 0);
    });

    test("an abort before the answer ends the request upstream", async () => {
      const marker = newMarker();
      const asked = ask("slow", { messages: [{ role: "user", content: marker }] });
      const signal = AbortSignal.timeout(400);
      await assert.rejects(client.messages.create(asked, { signal }), Anthropic.APIUserAbortError);
      await hungUp(marker);
    });

    test("a stream can be handed on as bytes and read again", async () => {
      const stream = await client.messages.create(ask("chat", { stream: true }));
      let told = "";
      let rest = "";
      for await (const bytes of stream.toReadableStream()) {
        rest += Buffer.from(bytes).toString("utf8");
        const lines = rest.split("\n");
        rest = lines.pop();
        for (const line of lines.filter(Boolean)) told += JSON.parse(line).delta?.text ?? "";
      }
      assert.equal(told, expected(provider, "chat").text);
    });
  });
}
