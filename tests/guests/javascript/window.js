/*
 * The configured words, and what they do to a text that arrives in pieces.
 */

/** The configuration. */
export class Words {
  constructor({ word, stop }) {
    this.word = word;
    this.stop = stop;
    // The phrase to stop at comes first where both begin at one place.
    this.all = [stop, word].filter((text) => text !== undefined);
    this.longest = Math.max(0, ...this.all.map((text) => text.length));
  }

  /** The first word in `text` from `start` on, and where it is. */
  find(text, start) {
    let found;
    for (const word of this.all) {
      const at = text.indexOf(word, start);
      if (at >= 0 && (found === undefined || at < found.at)) {
        found = { at, word };
      }
    }
    return found;
  }

  /** Where the end of `text` that may be the beginning of a word begins. */
  undecided(text, start) {
    for (let at = Math.max(start, text.length - this.longest + 1); at < text.length; at++) {
      const tail = text.slice(at);
      if (this.all.some((word) => word.length > tail.length && word.startsWith(tail))) {
        return at;
      }
    }
    return text.length;
  }
}

/** The end of one part's text, held back while it may become a word. */
export class Window {
  constructor(words) {
    this.words = words;
    this.held = "";
  }

  push(text) {
    this.held += text;
    return this.scan(false);
  }

  release() {
    return this.scan(true);
  }

  scan(last) {
    const passed = { text: "", altered: false, stopped: false };
    const { held, words } = this;
    for (let at = 0; ; ) {
      const end = last ? held.length : words.undecided(held, at);
      const found = words.find(held, at);
      if (found === undefined || found.at >= end) {
        passed.text += held.slice(at, end);
        this.held = held.slice(end);
        return passed;
      }
      passed.text += held.slice(at, found.at);
      if (found.word === words.stop) {
        this.held = "";
        passed.stopped = true;
        return passed;
      }
      passed.text += "[redacted]";
      passed.altered = true;
      at = found.at + found.word.length;
    }
  }
}
