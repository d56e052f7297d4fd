/*
 * A guest in JavaScript: a request filter and an event filter.
 *
 * The request filter denies a request that holds the configured word, and else
 * signs it with a header and a note. The event filter redacts the word in what
 * comes back; `window.js` finds it where events split it.
 *
 * Configuration, both optional: `word`, and `stop`, a phrase that ends an
 * answer.
 *
 * An error of the contract is thrown as the plain value that it is declared as;
 * anything else that is thrown is a trap.
 */

import { Window, Words } from "./window.js";

let words = new Words({});

export const configuration = {
  configure(config) {
    const values = JSON.parse(config);
    const errors = [];
    for (const [key, value] of Object.entries(values)) {
      const pointer = `/${key}`;
      if (key !== "word" && key !== "stop") {
        errors.push({ pointer, message: "unknown key" });
      } else if (typeof value !== "string" || value === "") {
        errors.push({ pointer, message: "must be a string that is not empty" });
      }
    }
    if (errors.length > 0) {
      throw errors;
    }
    words = new Words(values);
  },
};

export const requestFilter = {
  check(request) {
    const { word } = words;
    if (word && request.texts().some((text) => text.content.includes(word))) {
      const val = denial("word.forbidden", "the request holds a forbidden word");
      return { tag: "deny", val };
    }
    const exchange = request.exchange();
    try {
      request.setHeader("x-guest", new TextEncoder().encode("javascript"));
      exchange.setNote("guest", "javascript");
    } catch (error) {
      throw { code: "edit.refused", message: String(error.payload ?? error) };
    } finally {
      // A handle that is ours stays in the host's table until it is dropped.
      exchange[Symbol.dispose]();
    }
    return { tag: "proceed" };
  },
};

/** One answer. Each part of it has a window of its own. */
class Session {
  constructor(_exchange) {
    this.parts = new Map();
    this.emit = [];
    this.stopped = false;
  }

  push(events) {
    for (const event of events) {
      if (this.stopped) {
        break;
      }
      this.take(event);
    }
    return this.step();
  }

  finish() {
    this.release(() => true);
    return this.step();
  }

  take(event) {
    if (event.tag === "text") {
      this.takeText(event);
      return;
    }
    if (event.tag === "finish") {
      this.release((choice) => choice === event.val.choice);
    } else if (event.tag === "error") {
      this.release(() => true);
    }
    if (!this.stopped) {
      this.emit.push(event);
    }
  }

  takeText(event) {
    const { choice, part, text } = event.val;
    const key = `${choice}/${part}`;
    if (!this.parts.has(key)) {
      this.parts.set(key, { choice, part, window: new Window(words) });
    }
    const entry = this.parts.get(key);
    const held = entry.window.held !== "";
    const passed = entry.window.push(text);
    if (held || entry.window.held !== "" || passed.altered || passed.stopped) {
      this.passOn(entry, passed);
    } else {
      // The host sends the bytes that an unchanged event came in.
      this.emit.push(event);
    }
  }

  release(over) {
    for (const entry of this.parts.values()) {
      if (over(entry.choice) && !this.stopped) {
        this.passOn(entry, entry.window.release());
      }
    }
  }

  passOn({ choice, part }, { text, stopped }) {
    if (text !== "") {
      this.emit.push({ tag: "text", val: { choice, part, text } });
    }
    this.stopped ||= stopped;
  }

  step() {
    const { emit } = this;
    this.emit = [];
    const stop = denial("guest.stopped", "the answer holds a phrase that ends it");
    return { emit, stop: this.stopped ? stop : undefined };
  }
}

export const eventFilter = { Session };

function denial(reason, message) {
  return { kind: "forbidden", reason, message, retryAfter: undefined };
}
