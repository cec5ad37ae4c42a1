#include "common/message.h"

#include "common/record_pack.h"

#define RECORD_SELF struct done
RECORD_DEFINE(done, DONE_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct failure
RECORD_DEFINE(failure, FAILURE_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct submitted
RECORD_DEFINE(submitted, SUBMITTED_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct job_action
RECORD_DEFINE(job_action, JOB_ACTION_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct node_action
RECORD_DEFINE(node_action, NODE_ACTION_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct quota_set
RECORD_DEFINE(quota_set, QUOTA_SET_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct quota_delete
RECORD_DEFINE(quota_delete, QUOTA_DELETE_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct quota_rename
RECORD_DEFINE(quota_rename, QUOTA_RENAME_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct view
RECORD_DEFINE(view, VIEW_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct rows_reply
RECORD_DEFINE(rows_reply, ROWS_REPLY_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct log_read
RECORD_DEFINE(log_read, LOG_READ_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct log_data
RECORD_DEFINE(log_data, LOG_DATA_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct terminal
RECORD_DEFINE(terminal, TERMINAL_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct terminal_data
RECORD_DEFINE(terminal_data, TERMINAL_DATA_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct export
RECORD_DEFINE(export, EXPORT_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct export_data
RECORD_DEFINE(export_data, EXPORT_DATA_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct held_task
RECORD_DEFINE(held_task, HELD_TASK_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct hello
RECORD_DEFINE(hello, HELLO_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct welcome
RECORD_DEFINE(welcome, WELCOME_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct gpu_telemetry
RECORD_DEFINE(gpu_telemetry, GPU_TELEMETRY_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct task_progress
RECORD_DEFINE(task_progress, TASK_PROGRESS_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct heartbeat
RECORD_DEFINE(heartbeat, HEARTBEAT_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct progress
RECORD_DEFINE(progress, PROGRESS_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct lease
RECORD_DEFINE(lease, LEASE_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct gang_member
RECORD_DEFINE(gang_member, GANG_MEMBER_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct start
RECORD_DEFINE(start, START_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct ready
RECORD_DEFINE(ready, READY_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct go
RECORD_DEFINE(go, GO_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct started
RECORD_DEFINE(started, STARTED_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct refused
RECORD_DEFINE(refused, REFUSED_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct stop
RECORD_DEFINE(stop, STOP_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct checkpoint
RECORD_DEFINE(checkpoint, CHECKPOINT_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct checkpointed
RECORD_DEFINE(checkpointed, CHECKPOINTED_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct exited
RECORD_DEFINE(exited, EXITED_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct relay
RECORD_DEFINE(relay, RELAY_FIELDS)
#undef RECORD_SELF
#define RECORD_SELF struct relayed
RECORD_DEFINE(relayed, RELAYED_FIELDS)
#undef RECORD_SELF

static const struct {
    const char *name;
    const struct record_schema *schema;
} types[] = {
#define X(type, record) {#type, &record##_schema},
    MESSAGES(X)
#undef X
};

static bool is_type(int64_t type) { return type >= 0 && type < MESSAGE_TYPE_COUNT; }

const char *message_type_name(int type) { return is_type(type) ? types[type].name : "?"; }
const struct record_schema *message_schema(enum message_type type) { return types[type].schema; }

void message_encode(enum message_type type, int64_t id, int64_t reply_to, const void *record, struct buffer *out) {
    msgpack_packer pk;
    record_packer_init(&pk, out);
    msgpack_pack_array(&pk, 5);
    msgpack_pack_int64(&pk, PROTOCOL_VERSION);
    msgpack_pack_int64(&pk, type);
    msgpack_pack_int64(&pk, id);
    msgpack_pack_int64(&pk, reply_to);
    record_pack(types[type].schema, record, &pk);
}

static bool head_number(const msgpack_object *o, int64_t *value) {
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > INT64_MAX)
        return false;
    *value = (int64_t)o->via.u64;
    return true;
}

static int decode_unpacked(const msgpack_object *whole, struct message *m, struct arena *arena, struct error *err) {
    const msgpack_object *part = whole->via.array.ptr;
    int64_t version, type;
    if (whole->type != MSGPACK_OBJECT_ARRAY || whole->via.array.size != 5 || !head_number(&part[0], &version) ||
        !head_number(&part[1], &type) || !head_number(&part[2], &m->id) || !head_number(&part[3], &m->reply_to))
        return error_set(err, ERR_PROTOCOL, "not [version, type, id, reply_to, body]");
    if (version != PROTOCOL_VERSION)
        return error_set(err, ERR_PROTOCOL, "protocol version %lld; this side speaks %d", (long long)version, PROTOCOL_VERSION);
    if (!is_type(type))
        return error_set(err, ERR_PROTOCOL, "message type %lld, which this version does not know", (long long)type);
    m->type = (enum message_type)type;
    void *record = arena_alloc(arena, types[type].schema->size);
    if (record_fill(types[type].schema, &part[4], record, arena, err))
        return error_wrap(err, "%s", types[type].name);
    m->record = record;
    return 0;
}

int message_decode(const void *data, size_t size, struct message *m, struct arena *arena, struct error *err) {
    struct error ignored;
    msgpack_unpacked u;
    err = err ? err : &ignored;
    *m = (struct message){0};
    if (size > MESSAGE_MAX_BYTES)
        return error_set(err, ERR_PROTOCOL, "%zu bytes; a message has at most %d", size, MESSAGE_MAX_BYTES);
    int rc = record_unpack(data, size, &u, err);
    if (rc)
        return rc;
    rc = decode_unpacked(&u.data, m, arena, err);
    msgpack_unpacked_destroy(&u);
    return rc;
}

void message_release(struct message *m) {
    if (m->record)
        record_release_trees(types[m->type].schema, m->record);
    m->record = NULL;
}
