/* File: the 64-byte envelope of a .rknn file ("RKNN", format version, payload size), then this payload, then the
 * vendor's JSON trailer, which the stand-in does not read.
 * Payload: "GAITSTND", then little-endian u32 and float32 in the order in which they are read below. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *at, *end;
} reader;

static const void *take(reader *r, size_t size) {
    if ((size_t)(r->end - r->at) < size) return NULL;
    const void *start = r->at;
    r->at += size;
    return start;
}

static int take_u32(reader *r, uint32_t *value, uint32_t limit) {
    const void *p = take(r, 4);
    if (!p) return 0;
    memcpy(value, p, 4);
    return *value <= limit;
}

static int take_tensors(reader *r, tensor *tensors, uint32_t *count, uint32_t *total) {
    if (!take_u32(r, count, MAX_TENSORS)) return 0;
    for (uint32_t i = 0; i < *count; i++) {
        tensor *t = &tensors[i];
        const char *name = take(r, sizeof t->name);
        if (!name || !take_u32(r, &t->n_dims, 4)) return 0;
        memcpy(t->name, name, sizeof t->name);
        t->elements = 1;
        for (uint32_t d = 0; d < t->n_dims; d++) {
            if (!take_u32(r, &t->dims[d], 4096)) return 0;
            t->elements *= t->dims[d];
        }
        *total += t->elements;
    }
    return *count > 0;
}

static int parse(model *m, reader *r) {
    const char *magic = take(r, 8);
    if (!magic || memcmp(magic, "GAITSTND", 8)) return 0;
    if (!take_tensors(r, m->inputs, &m->n_inputs, &m->input_elements)) return 0;
    if (!take_tensors(r, m->outputs, &m->n_outputs, &m->output_elements)) return 0;
    if (!take_u32(r, &m->n_layers, MAX_LAYERS) || !m->n_layers) return 0;
    uint32_t width = m->input_elements, widest = width;
    for (uint32_t i = 0; i < m->n_layers; i++) {
        layer *l = &m->layers[i];
        if (!take_u32(r, &l->activation, ACTIVATION_TANH) || !take_u32(r, &l->rows, 4096)) return 0;
        if (!take_u32(r, &l->columns, 4096) || l->columns != width) return 0;
        l->weight = take(r, sizeof(float) * l->rows * l->columns);
        l->bias = take(r, sizeof(float) * l->rows);
        if (!l->weight || !l->bias) return 0;
        width = l->rows;
        if (width > widest) widest = width;
    }
    for (int i = 0; i < 2; i++) m->scratch[i] = calloc(widest, sizeof(float));
    return width == m->output_elements;
}

model *model_read(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    size_t size = ftell(file);
    char *content = malloc(size);
    rewind(file);
    model *m = fread(content, 1, size, file) == size ? model_load(content, size) : NULL;
    fclose(file);
    free(content);
    return m;
}

model *model_load(const void *file, size_t size) {
    enum { ENVELOPE = 64 };
    uint64_t payload;
    if (size < ENVELOPE || memcmp(file, "RKNN", 4)) return NULL;
    memcpy(&payload, (const char *)file + 16, sizeof payload);
    if (payload > size - ENVELOPE) return NULL;
    model *m = calloc(1, sizeof *m);
    m->data = malloc(payload);
    memcpy(m->data, (const char *)file + ENVELOPE, payload);
    reader r = {m->data, (const char *)m->data + payload};
    if (parse(m, &r)) return m;
    model_free(m);
    return NULL;
}

static float activate(uint32_t activation, float x) {
    switch (activation) {
        case ACTIVATION_ELU: return x > 0 ? x : expm1f(x);
        case ACTIVATION_RELU: return x > 0 ? x : 0;
        case ACTIVATION_TANH: return tanhf(x);
        default: return x;
    }
}

void model_run(model *m, const float *input, float *output) {
    const float *from = input;
    for (uint32_t i = 0; i < m->n_layers; i++) {
        const layer *l = &m->layers[i];
        float *to = i + 1 == m->n_layers ? output : m->scratch[i % 2];
        for (uint32_t row = 0; row < l->rows; row++) {
            float sum = l->bias[row];
            for (uint32_t column = 0; column < l->columns; column++)
                sum += l->weight[row * l->columns + column] * from[column];
            to[row] = activate(l->activation, sum);
        }
        from = to;
    }
}

void model_free(model *m) {
    if (!m) return;
    free(m->scratch[0]);
    free(m->scratch[1]);
    free(m->data);
    free(m);
}
