/* Image sets: small IDX files written here, whole, cut at every byte, and altered; and the order in which images are drawn. */
#include "tests/unit/unit.h"

#include <math.h>
#include <unistd.h>
#include <zlib.h>

#include "jobs/model/images.h"

enum { IMAGES = 6, SIDE_Y = 3, SIDE_X = 4, PIXELS = SIDE_Y * SIDE_X, CLASSES = 5, HEADER = 16, LABEL_HEADER = 8 };

static char folder[64], images_path[128], labels_path[128];
static uint8_t images_file[HEADER + IMAGES * PIXELS], labels_file[LABEL_HEADER + IMAGES];

static void write_file(const char *path, const uint8_t *bytes, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state) {
    const uint8_t images_header[HEADER] = {0, 0, 8, 3, 0, 0, 0, IMAGES, 0, 0, 0, SIDE_Y, 0, 0, 0, SIDE_X};
    const uint8_t labels_header[LABEL_HEADER] = {0, 0, 8, 1, 0, 0, 0, IMAGES};
    memcpy(images_file, images_header, HEADER);
    memcpy(labels_file, labels_header, LABEL_HEADER);
    for (int n = 0; n < IMAGES * PIXELS; n++)
        images_file[HEADER + n] = (uint8_t)(n * 3);
    for (int n = 0; n < IMAGES; n++)
        labels_file[LABEL_HEADER + n] = (uint8_t)(n % CLASSES);
    strcpy(folder, "/tmp/muster-images-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(images_path, sizeof images_path, "%s/train-images-idx3-ubyte", folder);
    snprintf(labels_path, sizeof labels_path, "%s/train-labels-idx1-ubyte", folder);
    write_file(images_path, images_file, sizeof images_file);
    write_file(labels_path, labels_file, sizeof labels_file);
    return 0;
}

static int tear_down(void **state) {
    unlink(images_path);
    unlink(labels_path);
    return rmdir(folder);
}

static int load(struct images *i, struct error *err) { return images_load(i, folder, "train", CLASSES, err); }

static void assert_refused(int code, const char *part) {
    struct images i;
    struct error err;
    assert_error(load(&i, &err), code, &err, part);
    assert_null(i.pixels);
    assert_null(i.labels);
}

static void images_are_read_and_normalised(void **state) {
    struct images i;
    struct error err;
    assert_ok(load(&i, &err), &err);
    assert_int_equal(i.count, IMAGES);
    assert_int_equal(i.height, SIDE_Y);
    assert_int_equal(i.width, SIDE_X);
    double sum = 0, squares = 0;
    for (int n = 0; n < IMAGES; n++) {
        float pixels[PIXELS];
        int32_t label;
        images_read(&i, n, pixels, &label);
        assert_int_equal(label, n % CLASSES);
        for (int p = 0; p < PIXELS; p++) {
            assert_true(fabsf(pixels[p] * i.deviation + i.mean - (float)images_file[HEADER + n * PIXELS + p] / 255) < 1e-5f);
            sum += pixels[p];
            squares += pixels[p] * pixels[p];
        }
    }
    assert_true(fabs(sum / (IMAGES * PIXELS)) < 1e-5 && fabs(squares / (IMAGES * PIXELS) - 1) < 1e-5);
    images_release(&i);
}

static void one_set_is_normalised_like_another(void **state) {
    struct images i, other = {.mean = 0.5f, .deviation = 0.25f};
    struct error err;
    float pixels[PIXELS];
    int32_t label;
    assert_ok(load(&i, &err), &err);
    images_normalize_like(&i, &other);
    images_read(&i, 1, pixels, &label);
    assert_true(fabsf(pixels[2] - (14 * 3 / 255.0f - 0.5f) * 4) < 1e-5f);
    images_release(&i);
}

static void one_colour_is_no_division_by_zero(void **state) {
    struct images i;
    struct error err;
    memset(images_file + HEADER, 7, IMAGES * PIXELS);
    write_file(images_path, images_file, sizeof images_file);
    assert_ok(load(&i, &err), &err);
    assert_true(fabsf(i.level[7]) < 1e-6f);
    images_release(&i);
}

static void files_cut_anywhere_are_refused(void **state) {
    for (size_t size = 0; size < sizeof images_file; size++) {
        write_file(images_path, images_file, size);
        assert_refused(ERR_INVALID, "is cut short: it ends in its");
    }
    write_file(images_path, images_file, sizeof images_file);
    for (size_t size = 0; size < sizeof labels_file; size++) {
        write_file(labels_path, labels_file, size);
        assert_refused(ERR_INVALID, "train-labels-idx1-ubyte is cut short");
    }
}

static void altered_headers_are_refused(void **state) {
    static const struct {
        int at;
        uint8_t value;
        const char *why;
    } altered[] = {
        {0, 1, "begins with 01000803, not 00000803"},
        {2, 9, "is no IDX file of images"},
        {3, 1, "is no IDX file of images"},
        {4, 255, "at most 4294967296 are read"},
        {7, 0, "says that it has 0 items"},
        {7, IMAGES - 1, "goes on after the 60 bytes"},
        {7, IMAGES + 1, "is cut short: it ends in its items"},
        {11, 0, "a side of its images is 0 pixels"},
        {12, 255, "a side of its images is 4278190084 pixels"},
    };
    for (size_t n = 0; n < COUNT(altered); n++) {
        uint8_t file[sizeof images_file];
        memcpy(file, images_file, sizeof file);
        file[altered[n].at] = altered[n].value;
        if (altered[n].at == 4)   /* 4,278,190,086 images of 12 pixels */
            assert_int_equal(file[11], SIDE_Y);
        write_file(images_path, file, sizeof file);
        assert_refused(ERR_INVALID, altered[n].why);
    }
}

static void labels_must_fit_images_and_classes(void **state) {
    labels_file[LABEL_HEADER + 2] = CLASSES;
    write_file(labels_path, labels_file, sizeof labels_file);
    assert_refused(ERR_INVALID, "the label of image 2 is 5; with 5 classes it must be below 5");
    labels_file[LABEL_HEADER + 2] = 0;
    labels_file[7] = IMAGES - 1;
    write_file(labels_path, labels_file, sizeof labels_file - 1);
    assert_refused(ERR_INVALID, "has 5 labels, and");
}

static void a_missing_file_is_named(void **state) {
    unlink(labels_path);
    assert_refused(ERR_IO, "train-labels-idx1-ubyte (with or without .gz): No such file");
}

/* As in write_file, by gzip; returns the compressed bytes. */
static size_t write_gzip(const char *path, const uint8_t *bytes, size_t size, uint8_t *compressed, size_t room) {
    gzFile gz = gzopen(path, "wb");
    assert_int_equal(gzwrite(gz, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(gz), Z_OK);
    FILE *file = fopen(path, "r");
    size_t got = fread(compressed, 1, room, file);
    fclose(file);
    return got;
}

static void gzipped_files_are_read_and_damage_is_seen(void **state) {
    char gz_path[160];
    uint8_t compressed[512];
    struct images i;
    struct error err;
    unlink(images_path);
    snprintf(gz_path, sizeof gz_path, "%s.gz", images_path);
    size_t size = write_gzip(gz_path, images_file, sizeof images_file, compressed, sizeof compressed);
    assert_ok(load(&i, &err), &err);
    assert_memory_equal(i.pixels, images_file + HEADER, IMAGES * PIXELS);
    images_release(&i);
    for (size_t cut = 1; cut < size; cut++) {
        write_file(gz_path, compressed, cut);
        assert_refused(ERR_INVALID, "train-images-idx3-ubyte.gz is ");
    }
    int refused = 0;
    for (size_t at = 10; at < size; at++) {   /* after gzip's header, whose time may be anything */
        compressed[at] ^= 0x10;
        write_file(gz_path, compressed, size);
        if (load(&i, &err) == 0)   /* the last byte of the stream has bits that mean nothing */
            assert_memory_equal(i.pixels, images_file + HEADER, IMAGES * PIXELS);
        else
            refused++;
        images_release(&i);
        compressed[at] ^= 0x10;
    }
    assert_true(refused >= (int)size - 11);
    unlink(gz_path);
}

static void an_epoch_sees_each_image_once(void **state) {
    static const int64_t counts[] = {1, 2, 3, 4, 5, 16, 17, 1000, 60000};
    for (size_t n = 0; n < COUNT(counts); n++) {
        struct images i = {.count = counts[n]};
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            char *seen = calloc((size_t)i.count, 1);
            for (int64_t k = 0; k < i.count; k++) {
                int64_t image = images_pick(&i, 11, epoch * i.count + k);
                assert_true(image >= 0 && image < i.count);
                assert_int_equal(seen[image]++, 0);
            }
            free(seen);
        }
    }
}

/* The same place of two epochs, or of two seeds, rarely has the same image, and neighbours don't follow each other. */
static void orders_differ(void **state) {
    enum { MANY = 1000 };
    struct images i = {.count = MANY};
    int same_epoch = 0, same_seed = 0, follows = 0, fixed = 0;
    for (int64_t k = 0; k < MANY; k++) {
        int64_t image = images_pick(&i, 1, k);
        same_epoch += image == images_pick(&i, 1, MANY + k);
        same_seed += image == images_pick(&i, 2, k);
        follows += image + 1 == images_pick(&i, 1, k + 1);
        fixed += image == k;
    }
    assert_true(same_epoch < 8 && same_seed < 8 && follows < 8 && fixed < 8);   /* each is 1 on average */
}

int main(void) {
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        IN_A_FOLDER(images_are_read_and_normalised),
        IN_A_FOLDER(one_set_is_normalised_like_another),
        IN_A_FOLDER(one_colour_is_no_division_by_zero),
        IN_A_FOLDER(files_cut_anywhere_are_refused),
        IN_A_FOLDER(altered_headers_are_refused),
        IN_A_FOLDER(labels_must_fit_images_and_classes),
        IN_A_FOLDER(a_missing_file_is_named),
        IN_A_FOLDER(gzipped_files_are_read_and_damage_is_seen),
        cmocka_unit_test(an_epoch_sees_each_image_once),
        cmocka_unit_test(orders_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
