/** The replay server as tests see it: what it was asked, and how that ended. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";

import { REPLAY } from "./matrix.js";

/** Something to put into a prompt, to find the request again upstream. */
export const newMarker = () => `marker-${randomUUID()}`;

/** The one request whose body has the marker. */
export async function request(marker) {
  const every = await (await fetch(`${REPLAY}/_requests`)).json();
  const found = every.filter((one) => (one.body ?? "").includes(marker));
  assert.equal(found.length, 1, `one request has ${marker}`);
  return found[0];
}

/** Waits until the peer has closed the connection on the request. */
export async function hungUp(marker, within = 1000) {
  const end = Date.now() + within;
  for (;;) {
    const found = await request(marker);
    if (found.closed !== null) return found;
    assert.ok(Date.now() < end, `upstream still answers: ${JSON.stringify(found)}`);
    await wait(20);
  }
}
