/* A stand-in for Rockchip's librknnrt.so, for tests only: it computes on the CPU, knows no NPU, and misbehaves
 * when told to (orders.h). It holds nothing of the vendor's library but the names and layouts of its interface. */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model.h"
#include "orders.h"
#include "rknn_abi.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    model *model;
    float *input, *output; /* all tensors side by side */
    uint64_t runs;
    run_fault fault; /* of the last run */
    int core;        /* mask */
    uint32_t random;
} context;

static void trace(const char *format, ...) {
    const char *path = orders_read()->trace;
    FILE *log = *path ? fopen(path, "a") : NULL;
    if (!log) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(log, format, arguments);
    va_end(arguments);
    fclose(log);
}

/* The vendor's library carries its version as a text, which tools look for. */
EXPORT const char standin_version[] = "librknnrt version: " VERSION " (stand-in@2025-01-01T00:00:00)";

static context *known(rknn_context handle) {
    return (context *)(uintptr_t)handle;
}

EXPORT int rknn_init(rknn_context *handle, void *file, uint32_t size, uint32_t flag, void *extend) {
    const orders *o = orders_read();
    trace("init size=%u flag=0x%x extend=%d\n", size, flag, extend != NULL);
    if (o->init_code) return o->init_code;
    model *m = getenv("GAITD_STANDIN_MODEL") ? model_read(getenv("GAITD_STANDIN_MODEL")) : model_load(file, size);
    if (!m) return CODE_MODEL;
    context *c = calloc(1, sizeof *c);
    c->model = m;
    c->input = calloc(m->input_elements, sizeof(float));
    c->output = calloc(m->output_elements, sizeof(float));
    *handle = (rknn_context)(uintptr_t)c;
    return CODE_OK;
}

EXPORT int rknn_destroy(rknn_context handle) {
    context *c = known(handle);
    trace("destroy\n");
    if (!c) return CODE_CONTEXT;
    model_free(c->model);
    free(c->input);
    free(c->output);
    free(c);
    return CODE_OK;
}

EXPORT int rknn_set_core_mask(rknn_context handle, int mask) {
    trace("set_core_mask mask=%d\n", mask);
    if (!known(handle)) return CODE_CONTEXT;
    known(handle)->core = mask;
    return orders_read()->core_code;
}

/* The wheel names it and goes on when it fails: these models have no dynamic shapes. */
EXPORT int rknn_set_input_shapes(rknn_context handle, uint32_t count, tensor_attr *attr) {
    (void)handle, (void)count, (void)attr;
    return CODE_PARAM;
}

/* Floats by value, FLOAT16 by name, as an fp16 model's tensors are described. */
static int describe(const tensor *tensors, uint32_t count, tensor_attr *attr) {
    if (attr->index >= count) return CODE_PARAM;
    const tensor *t = &tensors[attr->index];
    tensor_attr description = {.index = attr->index, .n_dims = t->n_dims, .n_elems = t->elements, .scale = 1.0f};
    memcpy(description.dims, t->dims, sizeof t->dims);
    memcpy(description.name, t->name, sizeof t->name);
    description.size = description.size_with_stride = 2 * t->elements;
    description.type = TYPE_FLOAT16;
    description.fmt = FORMAT_UNDEFINED;
    *attr = description;
    return CODE_OK;
}

EXPORT int rknn_query(rknn_context handle, int command, void *info, uint32_t size) {
    context *c = known(handle);
    const orders *o = orders_read();
    trace("query command=%d size=%u\n", command, size);
    if (!c) return CODE_CONTEXT;
    if (o->query_code) return o->query_code;
    if (command == QUERY_IN_OUT_NUM && size == sizeof(io_count)) {
        *(io_count *)info = (io_count){c->model->n_inputs, c->model->n_outputs};
        return CODE_OK;
    }
    if (command == QUERY_INPUT_ATTR && size == sizeof(tensor_attr)) {
        tensor_attr *attr = info;
        int code = describe(c->model->inputs, c->model->n_inputs, attr);
        if (!code && attr->index == 0 && o->input_elements) {
            attr->dims[attr->n_dims - 1] = attr->n_elems = o->input_elements;
            attr->size = attr->size_with_stride = 2 * attr->n_elems;
        }
        return code;
    }
    if (command == QUERY_OUTPUT_ATTR && size == sizeof(tensor_attr))
        return describe(c->model->outputs, c->model->n_outputs, info);
    if (command == QUERY_MEM_SIZE && size == sizeof(mem_size)) {
        if (o->memory_code) return o->memory_code;
        mem_size *memory = info;
        *memory = (mem_size){.internal = 2 * (c->model->input_elements + c->model->output_elements)};
        for (uint32_t i = 0; i < c->model->n_layers; i++)
            memory->weights += 2 * c->model->layers[i].rows * (c->model->layers[i].columns + 1);
        memory->dma = memory->weights + memory->internal;
        return CODE_OK;
    }
    if (command == QUERY_SDK_VERSION && size == sizeof(sdk_version)) {
        sdk_version *version = info;
        memcpy(version->api, o->api, sizeof version->api);
        memcpy(version->driver, o->driver, sizeof version->driver);
        return CODE_OK;
    }
    return CODE_PARAM;
}

EXPORT int rknn_inputs_set(rknn_context handle, uint32_t count, tensor_input *inputs) {
    context *c = known(handle);
    if (!c) return CODE_CONTEXT;
    for (uint32_t i = 0; i < count; i++)
        trace("inputs_set index=%u size=%u pass_through=%u type=%d fmt=%d\n", inputs[i].index, inputs[i].size,
              inputs[i].pass_through, inputs[i].type, inputs[i].fmt);
    if (orders_read()->inputs_code) return orders_read()->inputs_code;
    if (count != c->model->n_inputs) return CODE_INPUT;
    for (uint32_t i = 0; i < count; i++) {
        float *to = c->input;
        if (inputs[i].index >= count || inputs[i].type != TYPE_FLOAT32 || inputs[i].pass_through) return CODE_INPUT;
        for (uint32_t k = 0; k < inputs[i].index; k++) to += c->model->inputs[k].elements;
        uint32_t size = sizeof(float) * c->model->inputs[inputs[i].index].elements;
        if (inputs[i].size < size) return CODE_INPUT; /* as the vendor's does; a larger one passes */
        memcpy(to, inputs[i].buf, size);
    }
    return CODE_OK;
}

EXPORT int rknn_run(rknn_context handle, void *extend) {
    context *c = known(handle);
    int value = 0;
    if (!c) return CODE_CONTEXT;
    orders_read();
    trace("run %llu extend=%d\n", (unsigned long long)c->runs + 1, extend != NULL);
    c->fault = orders_for_run(++c->runs, &value);
    switch (c->fault) {
        case RUN_ERROR: return value;
        case RUN_STALE: return CODE_OK;
        case RUN_HANG:
            for (;;) pause();
        case RUN_CRASH:
            signal(SIGSEGV, SIG_DFL);
            raise(SIGSEGV);
            return CODE_FAIL;
        case RUN_LATE: usleep(1000 * value); break;
        case RUN_JITTER:
            c->random = 1664525 * c->random + 1013904223;
            usleep((uint64_t)c->random * 1000 * value >> 32);
            break;
        case RUN_LEAK: memset(malloc(1024 * value), 1, 1024 * value); break;
        default: break;
    }
    model_run(c->model, c->input, c->output);
    for (uint32_t i = 0; i < c->model->output_elements; i++) {
        if (c->fault == RUN_GARBAGE || (c->core & orders_read()->bad_core)) c->output[i] = (i % 2 ? -1e3f : 1e3f) * (1 + i);
        if (c->fault == RUN_NAN) c->output[i] = NAN;
        if (c->fault == RUN_VALUE) c->output[i] = value;
    }
    return CODE_OK;
}

EXPORT int rknn_outputs_get(rknn_context handle, uint32_t count, tensor_output *outputs, void *extend) {
    context *c = known(handle);
    if (!c) return CODE_CONTEXT;
    for (uint32_t i = 0; i < count; i++)
        trace("outputs_get index=%u want_float=%u is_prealloc=%u size=%u extend=%d\n", outputs[i].index,
              outputs[i].want_float, outputs[i].is_prealloc, outputs[i].size, extend != NULL);
    if (orders_read()->outputs_code) return orders_read()->outputs_code;
    if (count != c->model->n_outputs) return CODE_OUTPUT;
    for (uint32_t i = 0; i < count; i++) {
        const float *from = c->output;
        uint32_t size = sizeof(float) * c->model->outputs[i].elements;
        for (uint32_t k = 0; k < i; k++) from += c->model->outputs[k].elements;
        outputs[i].index = i;
        if (!outputs[i].want_float || (outputs[i].is_prealloc && outputs[i].size < size)) return CODE_OUTPUT;
        if (!outputs[i].is_prealloc) outputs[i].buf = malloc(size);
        outputs[i].size = size;
        if (c->fault != RUN_UNWRITTEN) memcpy(outputs[i].buf, from, size);
    }
    return CODE_OK;
}

EXPORT int rknn_outputs_release(rknn_context handle, uint32_t count, tensor_output *outputs) {
    trace("outputs_release\n");
    for (uint32_t i = 0; i < count; i++)
        if (!outputs[i].is_prealloc) free(outputs[i].buf);
    return known(handle) ? CODE_OK : CODE_CONTEXT;
}
