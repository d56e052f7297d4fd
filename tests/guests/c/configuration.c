/*
 * A guest in C: a request filter (`request_filter.c`) and an event filter
 * (`event_filter.c`), configured here.
 *
 * The request filter denies a request that holds the configured word, and else
 * signs it with a header and a note. The event filter redacts the word in what
 * comes back.
 *
 * Configuration, both optional: `word`, and `stop`, a phrase that ends an
 * answer. So all JSON that has to be read is an object of strings, in text that
 * the host has written and that is known to be JSON.
 */

#include <stdlib.h>
#include <string.h>

#include "words.h"

/* What has not been read yet. */
struct json {
  const uint8_t *at;
  const uint8_t *end;
};

static uint8_t next(struct json *json) {
  return json->at < json->end ? *json->at++ : 0;
}

/* The next character that is no white space. */
static uint8_t next_token(struct json *json) {
  uint8_t token = next(json);
  while (token == ' ' || token == '\t' || token == '\n' || token == '\r')
    token = next(json);
  return token;
}

/* The number that four hexadecimal digits stand for. */
static uint32_t read_unit(struct json *json) {
  uint32_t unit = 0;
  for (int digit = 0; digit < 4; digit++) {
    uint8_t character = next(json) | 0x20;
    unit = unit << 4 | (uint32_t)(character >= 'a' ? character - 'a' + 10 : character - '0');
  }
  return unit;
}

/* Appends the character that `\u` introduces, which may take two units. */
static void read_unicode(struct json *json, guest_string_t *string) {
  uint32_t point = read_unit(json);
  if (point >= 0xD800 && point < 0xDC00 && next(json) == '\\' && next(json) == 'u')
    point = 0x10000 + ((point - 0xD800) << 10) + (read_unit(json) - 0xDC00);
  uint8_t bytes[4];
  size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  for (size_t index = length - 1; index > 0; index--, point >>= 6)
    bytes[index] = 0x80 | (point & 0x3F);
  static const uint8_t LEAD[] = {0, 0, 0xC0, 0xE0, 0xF0};
  bytes[0] = (uint8_t)(LEAD[length] | point);
  string_append(string, bytes, length);
}

static void read_escape(struct json *json, guest_string_t *string) {
  static const char NAMES[] = "bfnrt";
  static const char VALUES[] = "\b\f\n\r\t";
  uint8_t escaped = next(json);
  if (escaped == 'u') {
    read_unicode(json, string);
    return;
  }
  const char *name = escaped == 0 ? NULL : strchr(NAMES, escaped);
  if (name != NULL)
    escaped = (uint8_t)VALUES[name - NAMES];
  string_append(string, &escaped, 1);
}

/* The rest of a string whose opening quote has been read. */
static guest_string_t read_string(struct json *json) {
  guest_string_t string = {0};
  while (json->at < json->end && *json->at != '"') {
    if (*json->at == '\\') {
      json->at++;
      read_escape(json, &string);
    } else {
      string_append(&string, json->at++, 1);
    }
  }
  next(json);
  return string;
}

static bool equals(guest_string_t string, const char *text) {
  return string.len == strlen(text) && memcmp(string.ptr, text, string.len) == 0;
}

/* Reads one member of the object into `words`; NULL, or what is wrong with it. */
static const char *read_member(struct json *json, guest_string_t key) {
  guest_string_t *place = equals(key, "word")   ? &words.word
                          : equals(key, "stop") ? &words.stop
                                                : NULL;
  if (place == NULL)
    return "unknown key";
  bool is_string = next_token(json) == ':' && next_token(json) == '"';
  if (is_string)
    *place = read_string(json);
  return place->len > 0 ? NULL : "must be a string that is not empty";
}

bool exports_palisade_plugin_configuration_configure(
    guest_string_t *config, exports_palisade_plugin_configuration_list_config_error_t *err) {
  struct json json = {config->ptr, config->ptr + config->len};
  const char *wrong = next_token(&json) == '{' ? NULL : "must be an object";
  guest_string_t pointer = {0};
  for (uint8_t token = next_token(&json); wrong == NULL && token == '"'; token = next_token(&json)) {
    guest_string_t key = read_string(&json);
    wrong = read_member(&json, key);
    if (wrong != NULL) {
      string_append(&pointer, (const uint8_t *)"/", 1);
      string_append(&pointer, key.ptr, key.len);
    } else if (next_token(&json) == ',') {
      guest_string_free(&key);
      continue;
    }
    guest_string_free(&key);
    break;
  }
  guest_string_free(config);
  if (wrong == NULL)
    return true;
  err->ptr = malloc(sizeof *err->ptr);
  if (err->ptr == NULL)
    abort();
  err->len = 1;
  err->ptr->pointer = pointer;
  guest_string_dup(&err->ptr->message, wrong);
  return false;
}
