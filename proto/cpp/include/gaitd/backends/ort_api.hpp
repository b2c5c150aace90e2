// The part of onnxruntime's C interface that a policy needs, bound when it is used: no header and no library of it is
// needed to build a controller.
//
// The interface is a table of functions that only ever grows at its end, so an entry's place is a fact that stays; the
// places are those of API version 5 (onnxruntime 1.5, onnxruntime_c_api.h), and of every later one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace gaitd::backends::ort {

inline constexpr std::uint32_t kApiVersion = 5;

enum Severity : int { kFatal = 4 };
enum ExecutionMode : int { kSequential = 0 };
enum ElementType : int { kFloat = 1 };
enum AllocatorType : int { kDeviceAllocator = 0 };
enum MemoryType : int { kDefaultMemory = 0 };

struct Status;
struct Env;
struct Options;
struct Session;
struct Value;
struct MemoryInfo;
struct TypeInfo;
struct ShapeInfo;
struct Allocator;

struct ApiBase {
    const void* const* (*getApi)(std::uint32_t version);
    const char* (*getVersionString)();
};

/// Null where a call returns one means that it worked.
struct Functions {
    explicit Functions(const void* const* table) noexcept {
        const auto take = [table](auto& function, std::size_t place) {
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(const_cast<void*>(table[place]));
        };
        take(getErrorMessage, 2);
        take(createEnv, 3);
        take(createSessionFromArray, 8);
        take(run, 9);
        take(createSessionOptions, 10);
        take(setSessionExecutionMode, 13);
        take(setSessionLogSeverityLevel, 22);
        take(setIntraOpNumThreads, 24);
        take(setInterOpNumThreads, 25);
        take(sessionGetInputCount, 30);
        take(sessionGetOutputCount, 31);
        take(sessionGetInputTypeInfo, 33);
        take(sessionGetOutputTypeInfo, 34);
        take(sessionGetInputName, 36);
        take(sessionGetOutputName, 37);
        take(createTensorWithDataAsOrtValue, 49);
        take(castTypeInfoToTensorInfo, 55);
        take(getTensorElementType, 60);
        take(getDimensionsCount, 61);
        take(getDimensions, 62);
        take(createCpuMemoryInfo, 69);
        take(allocatorFree, 76);
        take(getAllocatorWithDefaultOptions, 78);
        take(releaseEnv, 92);
        take(releaseStatus, 93);
        take(releaseMemoryInfo, 94);
        take(releaseSession, 95);
        take(releaseValue, 96);
        take(releaseTypeInfo, 98);
        take(releaseSessionOptions, 100);
        take(addSessionConfigEntry, 130);
    }

    const char* (*getErrorMessage)(const Status*);
    Status* (*createEnv)(int severity, const char* name, Env**);
    Status* (*createSessionFromArray)(const Env*, const void* model, std::size_t size, const Options*, Session**);
    Status* (*run)(Session*, const void* run_options, const char* const* input_names, const Value* const* inputs,
                   std::size_t input_count, const char* const* output_names, std::size_t output_count, Value** outputs);
    Status* (*createSessionOptions)(Options**);
    Status* (*setSessionExecutionMode)(Options*, int mode);
    Status* (*setSessionLogSeverityLevel)(Options*, int severity);
    Status* (*setIntraOpNumThreads)(Options*, int threads);
    Status* (*setInterOpNumThreads)(Options*, int threads);
    Status* (*sessionGetInputCount)(const Session*, std::size_t*);
    Status* (*sessionGetOutputCount)(const Session*, std::size_t*);
    Status* (*sessionGetInputTypeInfo)(const Session*, std::size_t index, TypeInfo**);
    Status* (*sessionGetOutputTypeInfo)(const Session*, std::size_t index, TypeInfo**);
    Status* (*sessionGetInputName)(const Session*, std::size_t index, Allocator*, char**);
    Status* (*sessionGetOutputName)(const Session*, std::size_t index, Allocator*, char**);
    Status* (*createTensorWithDataAsOrtValue)(const MemoryInfo*, void* data, std::size_t bytes, const std::int64_t* shape,
                                              std::size_t axes, int type, Value**);
    Status* (*castTypeInfoToTensorInfo)(const TypeInfo*, const ShapeInfo**);
    Status* (*getTensorElementType)(const ShapeInfo*, int*);
    Status* (*getDimensionsCount)(const ShapeInfo*, std::size_t*);
    Status* (*getDimensions)(const ShapeInfo*, std::int64_t*, std::size_t axes);
    Status* (*createCpuMemoryInfo)(int allocator_type, int memory_type, MemoryInfo**);
    Status* (*allocatorFree)(Allocator*, void*);
    Status* (*getAllocatorWithDefaultOptions)(Allocator**);
    void (*releaseEnv)(Env*);
    void (*releaseStatus)(Status*);
    void (*releaseMemoryInfo)(MemoryInfo*);
    void (*releaseSession)(Session*);
    void (*releaseValue)(Value*);
    void (*releaseTypeInfo)(TypeInfo*);
    void (*releaseSessionOptions)(Options*);
    Status* (*addSessionConfigEntry)(Options*, const char* key, const char* value);
};

}  // namespace gaitd::backends::ort
