/* The models that the stand-in understands: layer(layer(... all inputs side by side)), split into the outputs. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { MAX_TENSORS = 8, MAX_LAYERS = 16 };
enum { ACTIVATION_NONE, ACTIVATION_ELU, ACTIVATION_RELU, ACTIVATION_TANH };

typedef struct {
    char name[64];
    uint32_t n_dims;
    uint32_t dims[4];
    uint32_t elements;
} tensor;

typedef struct {
    uint32_t activation, rows, columns;
    const float *weight; /* rows x columns */
    const float *bias;   /* rows */
} layer;

typedef struct {
    uint32_t n_inputs, n_outputs, n_layers;
    tensor inputs[MAX_TENSORS], outputs[MAX_TENSORS];
    layer layers[MAX_LAYERS];
    uint32_t input_elements, output_elements;
    float *scratch[2];
    void *data;
} model;

/* Copies `file`; NULL when it is not a model of the stand-in or is cut short. */
model *model_load(const void *file, size_t size);
/* The same of the file at `path`, to be run in place of what the runtime was given: a real .rknn file, say. */
model *model_read(const char *path);
void model_run(model *m, const float *input, float *output);
void model_free(model *m);
