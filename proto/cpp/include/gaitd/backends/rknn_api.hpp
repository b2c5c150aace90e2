// The part of Rockchip's NPU runtime (librknnrt.so) that a policy needs: names, numbers and layouts of its public
// interface, bound when it is used.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace gaitd::backends::rknn {

using Context = std::uint64_t;

enum Query : int { kTensorCount = 0, kInputAttribute = 1, kOutputAttribute = 2, kSdkVersion = 5, kMemorySize = 6 };
enum Type : int { kFloat32 = 0 };

/// The runtime leaves the process priority alone; by default it sets nice -19. High priority of jobs is 0.
inline constexpr std::uint32_t kDisableProcessPriority = 0x2000;

struct TensorCount {
    std::uint32_t inputs;
    std::uint32_t outputs;
};

struct TensorAttribute {
    std::uint32_t index;
    std::uint32_t axes;
    std::uint32_t shape[16];
    char name[256];
    std::uint32_t elements;
    std::uint32_t size;
    std::int32_t format;
    std::int32_t type;
    std::int32_t quantization;
    std::int8_t fractional_length;
    std::int32_t zero_point;
    float scale;
    std::uint32_t w_stride;
    std::uint32_t size_with_stride;
    std::uint8_t pass_through;
    std::uint32_t h_stride;
};
static_assert(sizeof(TensorAttribute) == 376, "rknn_tensor_attr");

struct SdkVersion {
    char runtime[256];
    char driver[256];
};
static_assert(sizeof(SdkVersion) == 512, "rknn_sdk_version");

struct MemorySize {
    std::uint32_t weights;
    std::uint32_t internal;
    std::uint64_t dma;
    std::uint32_t sram;
    std::uint32_t free_sram;
    std::uint32_t reserved[10];
};
static_assert(sizeof(MemorySize) == 64, "rknn_mem_size");

/// With `pass_through` 0 the runtime converts it to the model's type.
struct Input {
    std::uint32_t index;
    void* buffer;
    std::uint32_t size;
    std::uint8_t pass_through;
    std::int32_t type;
    std::int32_t format;
};
static_assert(sizeof(Input) == 32, "rknn_input");

/// With `want_float` the runtime converts it to float32.
struct Output {
    std::uint8_t want_float;
    std::uint8_t preallocated;
    std::uint32_t index;
    void* buffer;
    std::uint32_t size;
};
static_assert(sizeof(Output) == 24, "rknn_output");

struct Functions {
    int (*init)(Context*, void* model, std::uint32_t size, std::uint32_t flags, void* extend);
    int (*destroy)(Context);
    int (*query)(Context, int what, void* answer, std::uint32_t size);
    int (*set_core_mask)(Context, int mask);
    int (*inputs_set)(Context, std::uint32_t count, Input*);
    int (*run)(Context, void* extend);
    int (*outputs_get)(Context, std::uint32_t count, Output*, void* extend);
    int (*outputs_release)(Context, std::uint32_t count, Output*);
};

/// One sentence for a return code other than 0.
inline std::string explain(const char* function, int code) {
    struct Code {
        const char* name;
        const char* meaning;
    };
    constexpr std::array<Code, 14> codes{{
        {"", ""},
        {"RKNN_ERR_FAIL", "the runtime's own lines above say more"},
        {"RKNN_ERR_TIMEOUT", "the NPU did not finish the job in time; see `dmesg | grep -i rknpu`"},
        {"RKNN_ERR_DEVICE_UNAVAILABLE", "the NPU cannot be reached; see `dmesg | grep -i rknpu`"},
        {"RKNN_ERR_MALLOC_FAIL", "no memory for the NPU; free memory or reboot"},
        {"RKNN_ERR_PARAM_INVALID", "the runtime refuses a parameter; it may be too old"},
        {"RKNN_ERR_MODEL_INVALID", "the runtime cannot read the model; convert it again"},
        {"RKNN_ERR_CTX_INVALID", "the model is not loaded"},
        {"RKNN_ERR_INPUT_INVALID", "the input does not fit the model"},
        {"RKNN_ERR_OUTPUT_INVALID", "the output does not fit the model"},
        {"RKNN_ERR_DEVICE_UNMATCH", "runtime and NPU driver do not fit: update librknnrt.so and the kernel"},
        {"RKNN_ERR_INCOMPATILE_PRE_COMPILE_MODEL", "the model does not fit the NPU driver: convert it again"},
        {"RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION", "the model does not fit the NPU driver"},
        {"RKNN_ERR_TARGET_PLATFORM_UNMATCH", "the model was converted for another chip"},
    }};
    const bool known = code < 0 && code > -static_cast<int>(codes.size());
    const Code& found = codes[known ? static_cast<std::size_t>(-code) : 0];
    return std::string(function) + " failed with " + (known ? found.name : "an unknown code") + " (" +
           std::to_string(code) + ")" + (known ? std::string(": ") + found.meaning : "");
}

}  // namespace gaitd::backends::rknn
