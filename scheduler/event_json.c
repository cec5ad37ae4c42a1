#include "scheduler/event_json.h"

/* `rest` is taken. */
static json_t *joined(json_t *first, json_t *rest) {
    json_object_update(first, rest);
    json_decref(rest);
    return first;
}

json_t *event_to_json(const struct event *e) {
    return joined(json_pack("{s:s}", "name", event_type_name((int)e->type)), record_to_json_brief(&event_schema, e));
}

json_t *turn_to_json(const struct logged_turn *turn, const struct event *events, size_t count) {
    json_t *list = json_array(), *line = json_pack("{s:I, s:I}", "turn", (json_int_t)turn->turn, "now_ms", (json_int_t)turn->now_ms);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, event_to_json(&events[i]));
    joined(line, record_to_json_brief(&logged_turn_schema, turn));
    json_object_set_new(line, "events", list);
    return line;
}
