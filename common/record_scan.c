/* The bounded scan of record.h: walks msgpack's headers without building anything, so that no header can make the unpacker reserve what is
 * not there. What it lets through has depth, elements and lengths within bounds and is exactly one object. */
#include "common/record.h"

enum { DEPTH_MAX = 16, ELEMENTS_MAX = 65536 };

struct scanner {
    const unsigned char *at, *end;
    size_t elements;   /* array items and map pairs met so far */
};

/* What one header announces: `skip` bytes that follow it, or `items` objects. */
struct announced {
    uint64_t skip, items;
    size_t elements;
};

static int read_length(struct scanner *s, unsigned width, uint64_t *length) {
    if ((size_t)(s->end - s->at) < width)
        return ERR_PROTOCOL;
    for (*length = 0; width; width--)
        *length = *length << 8 | *s->at++;
    return 0;
}

static void announce_array(struct announced *a, uint64_t count) { *a = (struct announced){.items = count, .elements = count}; }
static void announce_map(struct announced *a, uint64_t count) { *a = (struct announced){.items = 2 * count, .elements = count}; }

/* Headers 0xc0 to 0xdf. Extension types (0xc7..0xc9, 0xd4..0xd8) and the unused 0xc1 are refused: Muster never writes them. */
static int read_wide_header(struct scanner *s, unsigned char head, struct announced *a) {
    static const unsigned char scalar_bytes[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8};   /* 0xca..0xd3 */
    uint64_t length = 0;
    int rc = 0;
    if (head == 0xc0 || head == 0xc2 || head == 0xc3)
        return 0;
    if (head >= 0xc4 && head <= 0xc6)
        rc = read_length(s, 1u << (head - 0xc4), &a->skip);
    else if (head >= 0xca && head <= 0xd3)
        a->skip = scalar_bytes[head - 0xca];
    else if (head >= 0xd9 && head <= 0xdb)
        rc = read_length(s, 1u << (head - 0xd9), &a->skip);
    else if (head == 0xdc || head == 0xdd) {
        rc = read_length(s, head == 0xdc ? 2 : 4, &length);
        announce_array(a, length);
    } else if (head == 0xde || head == 0xdf) {
        rc = read_length(s, head == 0xde ? 2 : 4, &length);
        announce_map(a, length);
    } else
        rc = ERR_PROTOCOL;
    return rc;
}

static int read_header(struct scanner *s, struct announced *a) {
    unsigned char head = *s->at++;
    *a = (struct announced){0};
    if (head < 0x80 || head >= 0xe0)
        return 0;
    if (head < 0x90)
        announce_map(a, head & 0x0f);
    else if (head < 0xa0)
        announce_array(a, head & 0x0f);
    else if (head < 0xc0)
        a->skip = head & 0x1f;
    else
        return read_wide_header(s, head, a);
    return 0;
}

static int scan_objects(struct scanner *s, uint64_t count, int depth, struct error *err) {
    for (; count; count--) {
        struct announced a;
        if (s->at == s->end)
            return error_set(err, ERR_PROTOCOL, "cut off");
        if (read_header(s, &a) || a.skip > (uint64_t)(s->end - s->at) || a.items > (uint64_t)(s->end - s->at))
            return error_set(err, ERR_PROTOCOL, "a length beyond the end, or a type that is never sent");
        s->at += a.skip;
        if ((s->elements += a.elements) > ELEMENTS_MAX)
            return error_set(err, ERR_PROTOCOL, "more than %d elements", ELEMENTS_MAX);
        if (a.items && depth == DEPTH_MAX)
            return error_set(err, ERR_PROTOCOL, "nested deeper than %d", DEPTH_MAX);
        int rc = a.items ? scan_objects(s, a.items, depth + 1, err) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

int record_scan(const void *data, size_t size, struct error *err) {
    struct scanner s = {data, (const unsigned char *)data + size, 0};
    int rc = scan_objects(&s, 1, 0, err);
    if (!rc && s.at != s.end)
        rc = error_set(err, ERR_PROTOCOL, "%zu bytes after the end", (size_t)(s.end - s.at));
    return rc;
}
