/*
 * Finds the words. See `words.h`.
 *
 * Texts are compared as bytes: they are UTF-8, in which no character begins
 * within another.
 */

#define _GNU_SOURCE /* memmem */

#include "words.h"

#include <stdlib.h>
#include <string.h>

struct words words;

static const char REPLACEMENT[] = "[redacted]";

void string_append(guest_string_t *string, const uint8_t *tail, size_t length) {
  if (length == 0)
    return;
  uint8_t *grown = realloc(string->ptr, string->len + length);
  if (grown == NULL)
    abort();
  memcpy(grown + string->len, tail, length);
  string->ptr = grown;
  string->len += length;
}

/* Where `word` is in `text` from `start` on; the length of `text` if it is not. */
static size_t find(guest_string_t text, size_t start, guest_string_t word) {
  if (word.len == 0 || start >= text.len)
    return text.len;
  const uint8_t *at = memmem(text.ptr + start, text.len - start, word.ptr, word.len);
  return at == NULL ? text.len : (size_t)(at - text.ptr);
}

bool words_contain(guest_string_t text, guest_string_t word) {
  return find(text, 0, word) < text.len;
}

/* Whether `tail` is the beginning of a longer `word`. */
static bool may_become(const uint8_t *tail, size_t length, guest_string_t word) {
  return word.len > length && memcmp(word.ptr, tail, length) == 0;
}

/* Where the end of `text` that may be the beginning of a word begins. */
static size_t undecided(guest_string_t text, size_t start) {
  size_t longest = words.word.len > words.stop.len ? words.word.len : words.stop.len;
  size_t at = text.len > longest ? text.len - longest : 0;
  for (at = at > start ? at : start; at < text.len; at++) {
    const uint8_t *tail = text.ptr + at;
    size_t length = text.len - at;
    if (may_become(tail, length, words.word) || may_become(tail, length, words.stop))
      return at;
  }
  return text.len;
}

/* Forgets what stands before `end`. */
static void keep_from(struct window *window, size_t end) {
  guest_string_t rest = {0};
  string_append(&rest, window->held.ptr + end, window->held.len - end);
  free(window->held.ptr);
  window->held = rest;
}

struct passed window_push(struct window *window, guest_string_t text, bool last) {
  string_append(&window->held, text.ptr, text.len);
  struct passed passed = {0};
  guest_string_t held = window->held;
  size_t at = 0;
  for (;;) {
    size_t end = last ? held.len : undecided(held, at);
    size_t word = find(held, at, words.word);
    size_t stop = find(held, at, words.stop);
    size_t found = stop <= word ? stop : word;
    if (found >= end) {
      string_append(&passed.text, held.ptr + at, end - at);
      keep_from(window, end);
      return passed;
    }
    string_append(&passed.text, held.ptr + at, found - at);
    if (found == stop) {
      passed.stopped = true;
      keep_from(window, held.len);
      return passed;
    }
    string_append(&passed.text, (const uint8_t *)REPLACEMENT, sizeof REPLACEMENT - 1);
    passed.altered = true;
    at = found + words.word.len;
  }
}
