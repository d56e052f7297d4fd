/*
 * A request filter that grows a table in each check. In C, since stable Rust
 * has no instruction for it.
 *
 * Configuration: `{"elements": N}`, how many elements it adds; without it there
 * is no end.
 */

#include <stdlib.h>
#include <string.h>

#include "table_bomb.h"

/* Grown one step at a time, so that a limit is met wherever it lies. */
#define STEP 100

/*
 * Adds `count` elements to a table of functions. The compiler's own words for
 * tables know tables of `externref` only, which the host's engine does not take.
 */
int32_t grow(int32_t count);
__asm__(".tabletype bomb, funcref\n"
        "bomb:\n"
        ".section .text.grow,\"\",@\n"
        ".globl grow\n"
        ".type grow,@function\n"
        "grow:\n"
        ".functype grow (i32) -> (i32)\n"
        "ref.null_func\n"
        "local.get 0\n"
        "table.grow bomb\n"
        "end_function\n");

/* How many elements to add; 0 for no end. */
static unsigned long elements;

bool exports_palisade_plugin_configuration_configure(
    table_bomb_string_t *config, exports_palisade_plugin_configuration_list_config_error_t *err) {
  (void)err;
  for (size_t index = 0; index < config->len; index++)
    if (config->ptr[index] >= '0' && config->ptr[index] <= '9')
      elements = elements * 10 + (unsigned long)(config->ptr[index] - '0');
  table_bomb_string_free(config);
  return true;
}

bool exports_palisade_plugin_request_filter_check(
    exports_palisade_plugin_request_filter_borrow_request_t request,
    exports_palisade_plugin_request_filter_verdict_t *ret,
    exports_palisade_plugin_request_filter_problem_t *err) {
  (void)err;
  for (unsigned long added = 0; elements == 0 || added < elements; added += STEP)
    grow(STEP);
  palisade_plugin_message_request_drop_borrow(request);
  ret->tag = EXPORTS_PALISADE_PLUGIN_REQUEST_FILTER_VERDICT_PROCEED;
  return true;
}
