/**
 * What the transcripts say, read from disk: what every test compares with.
 * `TRANSCRIPTS` is their folder, if these files do not stand in the repository.
 */

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const folder = process.env.TRANSCRIPTS
  ? pathToFileURL(`${process.env.TRANSCRIPTS}/`)
  : new URL("../../transcripts/", import.meta.url);

const FINISH = {
  end_turn: "stop",
  stop_sequence: "stop",
  max_tokens: "length",
  tool_use: "tool_calls",
  refusal: "content_filter",
};

/** Anthropic's reason for an end, in OpenAI's words. */
export const finishOf = (reason) => FINISH[reason];

const body = (provider, scenario) =>
  JSON.parse(readFileSync(new URL(`${provider}/${scenario}/whole.json`, folder), "utf8"));

/** The whole answer: its text, calls, reason and counts. */
export function expected(provider, scenario) {
  const told = body(provider, scenario);
  if (provider === "anthropic") {
    const of = (type) => told.content.filter((block) => block.type === type);
    const usage = told.usage;
    return {
      text: of("text").map((block) => block.text).join(""),
      reasoning: of("thinking").map((block) => block.thinking).join(""),
      calls: of("tool_use").map((block) => ({ name: block.name, input: block.input })),
      finish: finishOf(told.stop_reason),
      input: usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens,
      output: usage.output_tokens,
    };
  }
  const { message, finish_reason } = told.choices[0];
  return {
    text: message.content ?? "",
    reasoning: message.reasoning ?? "",
    calls: (message.tool_calls ?? []).map(({ function: called }) => ({
      name: called.name,
      input: JSON.parse(called.arguments),
    })),
    finish: finish_reason,
    input: told.usage.prompt_tokens,
    output: told.usage.completion_tokens,
  };
}

/** The message of a scenario whose status is an error. */
export function errorMessage(provider, scenario) {
  const told = body(provider, scenario);
  return provider === "cerebras" ? told.message : told.error.message;
}
