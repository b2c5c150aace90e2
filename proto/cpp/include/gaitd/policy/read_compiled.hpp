// Reads the file that `gaitctl embed` wrote. Strict: what is not exactly its layout is refused, naming the part. Reading
// allocates; nothing later does.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gaitd/errors.hpp>
#include <gaitd/policy/compiled.hpp>
#include <gaitd/ring.hpp>
#include <gaitd/wire.hpp>

namespace gaitd::policy {

namespace detail {

/// Takes the parts of the file in their order; throws ConfigError naming the one that is not as expected.
class CompiledReader {
public:
    CompiledReader(const std::string& where, const void* data, std::size_t size) : where_(where), reader_(data, size) {}

    [[noreturn]] void refuse(const std::string& what) const { throw ConfigError(where_ + ": " + what); }

    void array(const char* part, std::size_t expected) {
        if (count(part) != expected) refuse(std::string(part) + ": another number of entries than expected");
    }

    std::size_t count(const char* part) {
        std::size_t count = 0;
        if (!reader_.array(count) || count > kMostEntries) refuse(std::string(part) + ": expected a list");
        return count;
    }

    std::uint64_t number(const char* part, std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) {
        std::uint64_t value = 0;
        if (!reader_.unsignedInteger(value) || value > most) refuse(std::string(part) + ": expected a number");
        return value;
    }

    std::string text(const char* part) {
        wire::Bytes bytes;
        if (!reader_.string(bytes)) refuse(std::string(part) + ": expected a text");
        return {reinterpret_cast<const char*>(bytes.data), bytes.size};
    }

    std::vector<std::string> texts(const char* part) {
        std::vector<std::string> all(count(part));
        for (std::string& each : all) each = text(part);
        return all;
    }

    std::string bytes(const char* part) {
        const wire::Bytes found = blob(part);
        return {reinterpret_cast<const char*>(found.data), found.size};
    }

    template <class T>
    std::vector<T> numbers(const char* part) {
        const wire::Bytes found = blob(part);
        if (found.size % sizeof(T) != 0) refuse(std::string(part) + ": a number is cut short");
        std::vector<T> all(found.size / sizeof(T));
        if (!all.empty()) std::memcpy(all.data(), found.data, found.size);
        return all;
    }

    template <class T>
    std::vector<T> numbers(const char* part, std::size_t expected) {
        std::vector<T> all = numbers<T>(part);
        if (all.size() != expected) {
            refuse(std::string(part) + ": " + std::to_string(all.size()) + " values, expected " + std::to_string(expected));
        }
        return all;
    }

    /// Each finite, or, where that is allowed, infinite; never NaN.
    Floats floats(const char* part, std::size_t expected, bool may_be_infinite = false) {
        Floats all = numbers<float>(part, expected);
        for (const float each : all) {
            if (std::isnan(each) || (!may_be_infinite && std::isinf(each))) refuse(std::string(part) + ": not finite");
        }
        return all;
    }

    Indices indices(const char* part, std::size_t expected, std::size_t below) {
        Indices all = numbers<std::uint32_t>(part, expected);
        for (const std::uint32_t each : all) {
            if (each >= below) refuse(std::string(part) + ": " + std::to_string(each) + " is out of range");
        }
        return all;
    }

    double real(const char* part) { return numbers<double>(part, 1)[0]; }

    void end() {
        if (!reader_.atEnd()) refuse("there is more in it than expected");
    }

private:
    static constexpr std::size_t kMostEntries = 1000;

    wire::Bytes blob(const char* part) {
        wire::Bytes found;
        if (!reader_.binary(found)) refuse(std::string(part) + ": expected bytes");
        return found;
    }

    const std::string where_;
    wire::Reader reader_;
};

inline ObservationTerms readTerms(CompiledReader& in, std::size_t joints) {
    constexpr std::size_t kMostFrames = 2000;
    in.array("observation", 11);
    const std::vector<std::string> names = in.texts("observation.sources");
    std::size_t sources = 0;
    for (std::size_t i = 0; i < kSources.size(); ++i) {
        if (names.size() != kSources.size() || names[i] != kSources[i].name) {
            in.refuse("observation.sources: not those of this library; write the file with the gaitd of its version");
        }
        sources += kSources[i].size == 0 ? joints : kSources[i].size;
    }
    ObservationTerms terms;
    terms.gather = in.numbers<std::uint32_t>("observation.gather");
    const std::size_t frame = terms.gather.size();
    for (const std::uint32_t place : terms.gather) {
        if (place >= sources) in.refuse("observation.gather: a place out of range");
    }
    terms.offset = in.floats("observation.offset", frame);
    terms.scale = in.floats("observation.scale", frame);
    terms.low = in.floats("observation.low", frame, true);
    terms.high = in.floats("observation.high", frame, true);
    terms.fill_first = in.indices("observation.fill_first", frame, 2);
    terms.stack = in.numbers<std::uint32_t>("observation.stack");
    terms.depth = in.number("observation.depth", kMostFrames);
    for (const std::uint32_t place : terms.stack) {
        if (place >= frame * terms.depth) in.refuse("observation.stack: a place out of range");
    }
    if (terms.stack.empty() || terms.depth == 0) in.refuse("observation: no values");
    terms.phase_per_step = in.real("observation.phase_per_step");
    terms.clip = in.floats("observation.clip", 1, true)[0];
    return terms;
}

inline Normalization readNormalization(CompiledReader& in, std::size_t dim) {
    in.array("normalization", 3);
    Normalization normalization;
    normalization.mean = in.numbers<float>("normalization.mean");
    const std::size_t size = normalization.mean.size();
    if (size != 0 && size != dim) in.refuse("normalization.mean: not as long as the observation");
    normalization.divisor = in.floats("normalization.divisor", size);
    const Floats clip = in.floats("normalization.clip", size == 0 ? 0 : 1, true);
    if (size != 0) normalization.clip = clip[0];
    for (const float divisor : normalization.divisor) {
        if (!(divisor > 0.0F)) in.refuse("normalization.divisor: not above 0");
    }
    return normalization;
}

inline Action readAction(CompiledReader& in, std::size_t joints) {
    in.array("action", 8);
    Action action;
    action.moved = in.numbers<std::uint32_t>("action.moved");
    if (action.moved.empty() || action.moved.size() > joints) in.refuse("action.moved: not of these joints");
    for (const std::uint32_t place : action.moved) {
        if (place >= joints) in.refuse("action.moved: a place out of range");
    }
    action.scale = in.floats("action.scale", joints);
    action.offset = in.floats("action.offset", joints);
    action.action_low = in.floats("action.action_low", joints, true);
    action.action_high = in.floats("action.action_high", joints, true);
    action.target_low = in.floats("action.target_low", joints, true);
    action.target_high = in.floats("action.target_high", joints, true);
    action.share = in.floats("action.share", joints);
    return action;
}

inline TargetLimits readLimits(CompiledReader& in, std::size_t joints) {
    in.array("limits", 8);
    TargetLimits limits;
    limits.low = in.floats("limits.low", joints);
    limits.high = in.floats("limits.high", joints);
    limits.slew = in.floats("limits.slew", joints, true);
    limits.torque = in.floats("limits.torque", joints, true);
    limits.reach = in.floats("limits.reach", joints, true);
    limits.velocity_share = in.floats("limits.velocity_share", joints);
    in.array("limits.responses", limits.damps.size());
    for (bool& damps : limits.damps) damps = in.number("limits.responses", 1) == 1;
    limits.max_motion = in.floats("limits.max_motion", 1, true)[0];
    return limits;
}

inline StateLimits readState(CompiledReader& in, std::size_t joints) {
    in.array("state", 5);
    StateLimits state;
    state.joints_low = in.floats("state.joints_low", 2 * joints);
    state.joints_high = in.floats("state.joints_high", 2 * joints);
    state.start_error = in.floats("state.start_error", joints, true);
    state.min_upright = in.real("state.min_upright");
    state.max_age_ns = in.number("state.max_age_ns");
    return state;
}

inline Model readModel(CompiledReader& in) {
    in.array("model", 4);
    Model model;
    model.input = in.text("model.input");
    model.output = in.text("model.output");
    for (std::size_t left = in.count("model.recurrent"); left > 0; --left) {
        in.array("model.recurrent", 3);
        HiddenTensor hidden;
        hidden.input = in.text("model.recurrent.input");
        hidden.output = in.text("model.recurrent.output");
        for (const std::uint32_t axis : in.numbers<std::uint32_t>("model.recurrent.shape")) {
            if (axis == 0 || axis > 65536) in.refuse("model.recurrent.shape: an axis out of range");
            hidden.shape.push_back(axis);
        }
        if (hidden.shape.size() > 8) in.refuse("model.recurrent.shape: too many axes");
        model.hidden.push_back(std::move(hidden));
    }
    model.npu_memory_kib = in.real("model.npu_memory_kib");
    return model;
}

inline Golden readGolden(CompiledReader& in, std::size_t observation_dim, std::size_t action_dim) {
    in.array("golden", 4);
    Golden golden;
    const std::vector<double> tolerances = in.numbers<double>("golden.tolerances", 2);
    golden.onnx_tolerance = tolerances[0];
    golden.rknn_tolerance = tolerances[1];
    golden.reset = in.numbers<std::uint32_t>("golden.reset");
    if (golden.rows() < 2) in.refuse("golden: no vectors");
    golden.observation = in.floats("golden.observation", golden.rows() * observation_dim);
    golden.action = in.floats("golden.action", golden.rows() * action_dim);
    return golden;
}

inline Vector3 readVector3(CompiledReader& in, const char* part) {
    const Floats values = in.floats(part, 3);
    return {values[0], values[1], values[2]};
}

}  // namespace detail

/// Reads the file's bytes; `where` names it in errors. Throws ConfigError.
inline Compiled readCompiled(const std::string& content, const std::string& where) {
    std::uint32_t expected = 0;
    constexpr std::size_t kBeforeMagic = 4;  // The array's head, and the text's.
    if (content.size() < sizeof(expected) || content.compare(std::min(kBeforeMagic, content.size()),
                                                             std::strlen(kCompiledMagic), kCompiledMagic) != 0) {
        throw ConfigError(where + ": no policy written by `gaitctl embed`");
    }
    const std::size_t size = content.size() - sizeof(expected);
    detail::CompiledReader in(where, content.data(), size);
    in.array("file", 17);
    static_cast<void>(in.text("file"));
    if (const std::uint64_t format = in.number("format"); format != kCompiledFormat) {
        in.refuse("format " + std::to_string(format) + ", this library reads " + std::to_string(kCompiledFormat) +
                  "; write it with the `gaitctl embed` of its version");
    }
    std::memcpy(&expected, content.data() + size, sizeof(expected));
    if (ring::checksum(content.data(), size, 0) != expected) in.refuse("damaged: its checksum does not fit");

    Compiled policy;
    in.array("identity", 4);
    policy.gaitd_version = in.text("identity.gaitd_version");
    policy.id = in.text("identity.id");
    policy.name = in.text("identity.name");
    policy.version = in.text("identity.version");
    policy.period_ns = in.number("period_ns", 1'000'000'000);
    if (policy.period_ns < 1'000'000) in.refuse("period_ns: out of range");
    policy.joints = in.texts("joints");
    const std::size_t joints = policy.joints.size();
    if (joints == 0 || joints > kMaxJoints) in.refuse("joints: out of range");
    in.array("gains", 4);
    policy.default_position = in.floats("default_position", joints);
    policy.stiffness = in.floats("stiffness", joints);
    policy.damping = in.floats("damping", joints);
    policy.fallback_damping = in.floats("fallback_damping", joints);
    in.array("velocity_command", 3);
    policy.command_unit = in.text("velocity_command.unit");
    policy.command_min = detail::readVector3(in, "velocity_command.min");
    policy.command_max = detail::readVector3(in, "velocity_command.max");
    policy.fields = in.texts("fields");
    policy.terms = detail::readTerms(in, joints);
    policy.normalization = detail::readNormalization(in, policy.observationDim());
    policy.action = detail::readAction(in, joints);
    policy.limits = detail::readLimits(in, joints);
    policy.state = detail::readState(in, joints);
    policy.model = detail::readModel(in);
    policy.golden = detail::readGolden(in, policy.observationDim(), policy.actionDim());
    policy.model.onnx = in.bytes("model.onnx");
    policy.model.rknn = in.bytes("model.rknn");
    in.end();
    return policy;
}

/// Reads a file that `gaitctl embed` wrote. Throws ConfigError.
inline Compiled loadCompiled(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw ConfigError(path + ": cannot be read: " + std::strerror(errno));
    const std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    return readCompiled(content, path);
}

}  // namespace gaitd::policy
