/*
 * The configured words, and what they do to a text that arrives in pieces.
 */

#ifndef WORDS_H
#define WORDS_H

#include "guest.h"

/* The configuration, which `configuration.c` fills in. An empty string stands
 * for a word that is not configured. */
struct words {
  guest_string_t word;
  guest_string_t stop;
};

extern struct words words;

/* Whether `word` is configured and in `text`. */
bool words_contain(guest_string_t text, guest_string_t word);

/* The end of one part's text, held back while it may become a word. */
struct window {
  guest_string_t held;
};

/* What may be passed on. The caller owns `text`. */
struct passed {
  guest_string_t text;
  bool altered;
  bool stopped;
};

/* Adds what has arrived. If `last`, nothing is held back any more. */
struct passed window_push(struct window *window, guest_string_t text, bool last);

/* Appends a copy of `tail`. */
void string_append(guest_string_t *string, const uint8_t *tail, size_t length);

#endif
