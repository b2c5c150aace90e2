/* The part of librknnrt's C interface that the stand-in answers: names, numbers and layouts as published,
 * declared anew for this test. Sizes are fixed by the interface, so they are asserted here. */
#pragma once
#include <stdint.h>

typedef uint64_t rknn_context;

enum { CODE_OK = 0, CODE_FAIL = -1, CODE_PARAM = -5, CODE_MODEL = -6, CODE_CONTEXT = -7, CODE_INPUT = -8, CODE_OUTPUT = -9 };
enum { QUERY_IN_OUT_NUM = 0, QUERY_INPUT_ATTR = 1, QUERY_OUTPUT_ATTR = 2, QUERY_SDK_VERSION = 5, QUERY_MEM_SIZE = 6 };
enum { TYPE_FLOAT32 = 0, TYPE_FLOAT16 = 1 };
enum { FORMAT_UNDEFINED = 3 };

typedef struct {
    uint32_t n_input, n_output;
} io_count;

typedef struct {
    uint32_t index;
    uint32_t n_dims;
    uint32_t dims[16];
    char name[256];
    uint32_t n_elems;
    uint32_t size;
    int32_t fmt;
    int32_t type;
    int32_t qnt_type;
    int8_t fl;
    int32_t zp;
    float scale;
    uint32_t w_stride;
    uint32_t size_with_stride;
    uint8_t pass_through;
    uint32_t h_stride;
} tensor_attr;

typedef struct {
    char api[256];
    char driver[256];
} sdk_version;

typedef struct {
    uint32_t weights, internal;
    uint64_t dma;
    uint32_t sram, free_sram, reserved[10];
} mem_size;

typedef struct {
    uint32_t index;
    void *buf;
    uint32_t size;
    uint8_t pass_through;
    int32_t type;
    int32_t fmt;
} tensor_input;

typedef struct {
    uint8_t want_float;
    uint8_t is_prealloc;
    uint32_t index;
    void *buf;
    uint32_t size;
} tensor_output;

_Static_assert(sizeof(tensor_attr) == 376, "rknn_tensor_attr");
_Static_assert(sizeof(sdk_version) == 512, "rknn_sdk_version");
_Static_assert(sizeof(mem_size) == 64, "rknn_mem_size");
_Static_assert(sizeof(tensor_input) == 32, "rknn_input");
_Static_assert(sizeof(tensor_output) == 24, "rknn_output");
