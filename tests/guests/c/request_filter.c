/*
 * The request filter. A handle that was borrowed has to be dropped before the
 * call returns, as everything has to be freed that the host returned.
 */

#include <stdlib.h>

#include "words.h"

typedef exports_palisade_plugin_request_filter_borrow_request_t request_t;
typedef exports_palisade_plugin_request_filter_verdict_t verdict_t;
typedef exports_palisade_plugin_request_filter_problem_t problem_t;

static bool is_forbidden(request_t request) {
  palisade_plugin_message_list_text_t texts;
  palisade_plugin_message_method_request_texts(request, &texts);
  bool found = false;
  for (size_t index = 0; index < texts.len && !found; index++)
    found = words_contain(texts.ptr[index].content, words.word);
  palisade_plugin_message_list_text_free(&texts);
  return found;
}

static bool set_note(request_t request, guest_string_t *error) {
  guest_string_t key, value;
  guest_string_set(&key, "guest");
  guest_string_set(&value, "c");
  palisade_plugin_message_own_exchange_t exchange =
      palisade_plugin_message_method_request_exchange(request);
  bool done = palisade_plugin_message_method_exchange_set_note(
      palisade_plugin_message_borrow_exchange(exchange), &key, &value, error);
  palisade_plugin_message_exchange_drop_own(exchange);
  return done;
}

static bool sign(request_t request, guest_string_t *error) {
  guest_string_t name;
  guest_string_set(&name, "x-guest");
  guest_list_u8_t value = {(uint8_t *)"c", 1};
  return palisade_plugin_message_method_request_set_header(request, &name, &value, error) &&
         set_note(request, error);
}

bool exports_palisade_plugin_request_filter_check(request_t request, verdict_t *ret,
                                                  problem_t *err) {
  bool done = true;
  if (is_forbidden(request)) {
    ret->tag = EXPORTS_PALISADE_PLUGIN_REQUEST_FILTER_VERDICT_DENY;
    palisade_plugin_types_denial_t *denial = &ret->val.deny;
    denial->kind = PALISADE_PLUGIN_TYPES_DENIAL_KIND_FORBIDDEN;
    guest_string_dup(&denial->reason, "word.forbidden");
    guest_string_dup(&denial->message, "the request holds a forbidden word");
    denial->retry_after.is_some = false;
  } else if (sign(request, &err->message)) {
    ret->tag = EXPORTS_PALISADE_PLUGIN_REQUEST_FILTER_VERDICT_PROCEED;
  } else {
    guest_string_dup(&err->code, "edit.refused");
    done = false;
  }
  palisade_plugin_message_request_drop_borrow(request);
  return done;
}
