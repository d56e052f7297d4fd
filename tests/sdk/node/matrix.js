/**
 * The matrix: both SDKs against every provider.
 *
 * `PALISADE_URL` is the gateway, `PALISADE_KEY` the key that clients show to
 * it, `REPLAY_URL` the replay server. Without `PALISADE_URL` the SDKs talk to
 * the replay server itself, each to the providers of its own dialect: that
 * proves the tests, so that what fails later is the gateway.
 *
 * The version of `openai` is the last that runs on Node.js 20.
 */

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const trimmed = (name) => (process.env[name] ?? "").replace(/\/+$/, "");

export const GATEWAY = trimmed("PALISADE_URL");
export const REPLAY = trimmed("REPLAY_URL");
const KEY = process.env.PALISADE_KEY ?? "palisade-client";
const DIRECT_KEYS = { openai: "sk-direct", anthropic: "sk-ant-direct", cerebras: "csk-direct" };
// What the transcripts play, roughly: it thinks, calls tools and takes schemas.
const MODELS = {
  openai: "gpt-5-mini",
  anthropic: "claude-sonnet-4-5",
  cerebras: "gpt-oss-120b",
};
const SDK_OF = { openai: "openai", cerebras: "openai", anthropic: "anthropic" };

if (!REPLAY) throw new Error("REPLAY_URL must be the URL of the replay server");

/** The providers that an SDK can reach: all, or directly those of its dialect. */
export function providersOf(sdk) {
  return Object.keys(SDK_OF).filter((provider) => GATEWAY || SDK_OF[provider] === sdk);
}

/** Whether the SDK speaks what the provider takes. */
export const sameDialect = (sdk, provider) => SDK_OF[provider] === sdk;

/**
 * The model to ask for: a real one, since a gateway may know what it takes, with
 * the scenario behind it. A gateway finds the provider by the prefix.
 */
export function model(provider, scenario) {
  const asked = `${MODELS[provider]}+${scenario}`;
  return GATEWAY ? `${provider}/${asked}` : asked;
}

const settings = (provider) => ({
  apiKey: GATEWAY ? KEY : DIRECT_KEYS[provider],
  maxRetries: 0,
  timeout: 10_000,
});
const base = (provider) => GATEWAY || `${REPLAY}/${provider}`;

/** A client of OpenAI's SDK on its way to a provider. */
export const openai = (provider, more = {}) =>
  new OpenAI({ baseURL: `${base(provider)}/v1`, ...settings(provider), ...more });

/** A client of Anthropic's SDK on its way to a provider. */
export const anthropic = (provider, more = {}) =>
  new Anthropic({ baseURL: base(provider), ...settings(provider), ...more });
