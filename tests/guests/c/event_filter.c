/*
 * The event filter: one session for each answer, and in it a window for each
 * part of text. Text is passed on at the latest when its choice finishes, the
 * provider fails or the answer is over.
 */

#include <stdlib.h>
#include <string.h>

#include "words.h"

typedef palisade_plugin_model_model_event_t event_t;
typedef exports_palisade_plugin_event_filter_list_model_event_t events_t;
typedef exports_palisade_plugin_event_filter_session_t session_t;
typedef exports_palisade_plugin_event_filter_step_t step_t;
typedef exports_palisade_plugin_event_filter_problem_t problem_t;

struct part {
  uint32_t choice;
  uint32_t part;
  struct window window;
};

struct exports_palisade_plugin_event_filter_session_t {
  struct part *parts;
  size_t count;
  events_t emit;
  bool stopped;
};

/* One more element at the end of an array. */
static void *grow(void *array, size_t count, size_t size) {
  void *grown = realloc(array, (count + 1) * size);
  if (grown == NULL)
    abort();
  return grown;
}

static void emit(session_t *self, event_t event) {
  self->emit.ptr = grow(self->emit.ptr, self->emit.len, sizeof event);
  self->emit.ptr[self->emit.len++] = event;
}

static void pass_on(session_t *self, struct part *part, struct passed passed) {
  if (passed.text.len > 0) {
    event_t event = {.tag = PALISADE_PLUGIN_MODEL_MODEL_EVENT_TEXT};
    event.val.text.choice = part->choice;
    event.val.text.part = part->part;
    event.val.text.text = passed.text;
    emit(self, event);
  }
  self->stopped |= passed.stopped;
}

/* Passes on what is held back: of one choice, or of all if `choice` is NULL. */
static void release(session_t *self, const uint32_t *choice) {
  for (size_t index = 0; index < self->count && !self->stopped; index++) {
    struct part *part = &self->parts[index];
    if (choice == NULL || part->choice == *choice)
      pass_on(self, part, window_push(&part->window, (guest_string_t){0}, true));
  }
}

static struct part *find_part(session_t *self, uint32_t choice, uint32_t number) {
  for (size_t index = 0; index < self->count; index++) {
    struct part *part = &self->parts[index];
    if (part->choice == choice && part->part == number)
      return part;
  }
  self->parts = grow(self->parts, self->count, sizeof *self->parts);
  struct part *part = &self->parts[self->count++];
  *part = (struct part){.choice = choice, .part = number};
  return part;
}

/* Takes an event over, and with it what it points to. */
static void take_text(session_t *self, event_t event) {
  struct part *part = find_part(self, event.val.text.choice, event.val.text.part);
  bool held = part->window.held.len > 0;
  struct passed passed = window_push(&part->window, event.val.text.text, false);
  held |= part->window.held.len > 0;
  if (held || passed.altered || passed.stopped) {
    pass_on(self, part, passed);
    palisade_plugin_model_model_event_free(&event);
  } else {
    /* The host sends the bytes that an unchanged event came in. */
    emit(self, event);
    guest_string_free(&passed.text);
  }
}

static void take(session_t *self, event_t event) {
  if (event.tag == PALISADE_PLUGIN_MODEL_MODEL_EVENT_TEXT && !self->stopped) {
    take_text(self, event);
    return;
  }
  if (event.tag == PALISADE_PLUGIN_MODEL_MODEL_EVENT_FINISH)
    release(self, &event.val.finish.choice);
  else if (event.tag == PALISADE_PLUGIN_MODEL_MODEL_EVENT_ERROR)
    release(self, NULL);
  if (self->stopped)
    palisade_plugin_model_model_event_free(&event);
  else
    emit(self, event);
}

/* Hands over what has been emitted. */
static bool step(session_t *self, step_t *ret) {
  ret->emit = self->emit;
  self->emit = (events_t){0};
  ret->stop.is_some = self->stopped;
  if (self->stopped) {
    palisade_plugin_types_denial_t *denial = &ret->stop.val;
    denial->kind = PALISADE_PLUGIN_TYPES_DENIAL_KIND_FORBIDDEN;
    guest_string_dup(&denial->reason, "guest.stopped");
    guest_string_dup(&denial->message, "the answer holds a phrase that ends it");
    denial->retry_after.is_some = false;
  }
  return true;
}

exports_palisade_plugin_event_filter_own_session_t
exports_palisade_plugin_event_filter_constructor_session(
    exports_palisade_plugin_event_filter_borrow_exchange_t exchange) {
  palisade_plugin_message_exchange_drop_borrow(exchange);
  session_t *self = calloc(1, sizeof *self);
  if (self == NULL)
    abort();
  return exports_palisade_plugin_event_filter_session_new(self);
}

bool exports_palisade_plugin_event_filter_method_session_push(session_t *self, events_t *events,
                                                              step_t *ret, problem_t *err) {
  (void)err;
  for (size_t index = 0; index < events->len; index++)
    take(self, events->ptr[index]);
  free(events->ptr);
  return step(self, ret);
}

bool exports_palisade_plugin_event_filter_method_session_finish(session_t *self, step_t *ret,
                                                                problem_t *err) {
  (void)err;
  release(self, NULL);
  return step(self, ret);
}

void exports_palisade_plugin_event_filter_session_destructor(session_t *self) {
  for (size_t index = 0; index < self->count; index++)
    free(self->parts[index].window.held.ptr);
  free(self->parts);
  for (size_t index = 0; index < self->emit.len; index++)
    palisade_plugin_model_model_event_free(&self->emit.ptr[index]);
  free(self->emit.ptr);
  free(self);
}
