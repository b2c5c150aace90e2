// Records what an existing controller's own runner does, for gaitforge parity: states and observations side by side.
//
//     gaitd::Capture capture({"FL_hip", /* ... */}, options);
//     each control step:  capture.add(state, observation, action, first_step_of_an_episode);
//     at the end:         capture.save("capture.npz");
//
// The file is an uncompressed .npz as docs/parity.md describes it. add() neither allocates nor blocks.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gaitd/messages.hpp>

namespace gaitd {

struct CaptureOptions {
    double control_period_s = 0.02;
    std::size_t observation_dim = 0;
    std::size_t action_dim = 0;
    std::size_t max_steps = 500;       ///< Steps after these are not recorded.
    bool linear_velocity = false;      ///< Whether the controller estimates it.
    bool linear_acceleration = true;
    bool joint_torque = true;
    bool joint_target = false;         ///< Whether add() is given what the actions became.
    bool normalized = false;           ///< Observations are taken after the policy's normalizer.
    std::string writer = "gaitd::Capture";
};

class Capture {
public:
    /// Allocates all that it will need. Throws std::invalid_argument.
    Capture(std::vector<std::string> joints, CaptureOptions options)
        : joints_(std::move(joints)), options_(std::move(options)) {
        if (joints_.empty() || joints_.size() > kMaxJoints) {
            throw std::invalid_argument("gaitd::Capture: 1 to " + std::to_string(kMaxJoints) + " joints are needed");
        }
        if (options_.observation_dim == 0 || options_.action_dim == 0 || options_.max_steps < 2 ||
            !(options_.control_period_s > 0.0)) {
            throw std::invalid_argument(
                "gaitd::Capture: observation_dim, action_dim, control_period_s and max_steps must be given");
        }
        const std::size_t n = joints_.size();
        field("angular_velocity", 3);
        field("orientation", 4);
        field("velocity_command", 3);
        field("joint_position", n);
        field("joint_velocity", n);
        field("observation", options_.observation_dim);
        field("action", options_.action_dim);
        if (options_.linear_velocity) field("linear_velocity", 3);
        if (options_.linear_acceleration) field("linear_acceleration", 3);
        if (options_.joint_torque) field("joint_torque", n);
        if (options_.joint_target) field("joint_target", n);
        reset_.resize(options_.max_steps);
    }

    /// Take one control step: the state, the observation that the runner made from it, its raw answer, and
    /// whether an episode begins here (empty history, last action zero). `joint_target` in rad, where
    /// CaptureOptions has it. False, and nothing is kept, when the capture is full.
    bool add(const RobotState& state, const float* observation, const float* action, bool reset,
             const float* joint_target = nullptr) noexcept {
        if (steps_ == options_.max_steps) return false;
        std::size_t index = 0;
        put(index, state.angular_velocity.data());
        put(index, state.orientation.data());
        put(index, state.velocity_command.data());
        put(index, state.joint_position.data());
        put(index, state.joint_velocity.data());
        put(index, observation);
        put(index, action);
        if (options_.linear_velocity) put(index, state.linear_velocity.data());
        if (options_.linear_acceleration) put(index, state.linear_acceleration.data());
        if (options_.joint_torque) put(index, state.joint_torque.data());
        if (options_.joint_target) put(index, joint_target);
        reset_[steps_] = reset ? 1 : 0;
        ++steps_;
        return true;
    }

    std::size_t steps() const noexcept { return steps_; }
    bool full() const noexcept { return steps_ == options_.max_steps; }

    /// Write the file: whole or not at all. Not for the control loop. Throws std::runtime_error.
    void save(const std::string& path) const {
        if (steps_ < 2) throw std::runtime_error("gaitd::Capture: fewer than two steps were added");
        std::string archive;
        std::string directory;
        std::uint16_t members = 0;
        const std::string rows = std::to_string(steps_);
        const std::string text = meta();
        member(archive, directory, members, "meta", "|u1", "(" + std::to_string(text.size()) + ",)", text);
        member(archive, directory, members, "reset", "|u1", "(" + rows + ",)",
               std::string(reinterpret_cast<const char*>(reset_.data()), steps_));
        for (const Field& one : fields_) {
            std::string bytes(steps_ * one.width * sizeof(float), '\0');
            std::memcpy(&bytes[0], one.values.data(), bytes.size());
            member(archive, directory, members, one.name, "<f4",
                   "(" + rows + ", " + std::to_string(one.width) + ")", bytes);
        }
        if (archive.size() > std::numeric_limits<std::int32_t>::max()) {
            throw std::runtime_error("gaitd::Capture: more than 2 GB");
        }
        std::string end("PK\x05\x06", 4);
        number(end, 0, 4);
        number(end, members, 2);
        number(end, members, 2);
        number(end, directory.size(), 4);
        number(end, archive.size(), 4);
        number(end, 0, 2);
        write(path, archive + directory + end);
    }

private:
    struct Field {
        const char* name;
        std::size_t width;
        std::vector<float> values;
    };

    void field(const char* name, std::size_t width) {
        fields_.push_back({name, width, std::vector<float>(width * options_.max_steps)});
    }

    void put(std::size_t& index, const float* values) noexcept {
        Field& one = fields_[index++];
        float* row = one.values.data() + steps_ * one.width;
        if (values == nullptr) {
            for (std::size_t i = 0; i < one.width; ++i) row[i] = std::numeric_limits<float>::quiet_NaN();
        } else {
            std::memcpy(row, values, one.width * sizeof(float));
        }
    }

    std::string meta() const {
        std::string text = "{\"format\": \"gaitd-capture\", \"version\": 1, \"writer\": " + quoted(options_.writer);
        text += ", \"joints\": [";
        for (std::size_t i = 0; i < joints_.size(); ++i) text += (i ? ", " : "") + quoted(joints_[i]);
        std::array<char, 32> period{};
        std::snprintf(period.data(), period.size(), "%.9g", options_.control_period_s);
        text += "], \"control_period_s\": " + std::string(period.data());
        text += std::string(", \"observation\": \"") + (options_.normalized ? "normalized" : "raw") + "\"}";
        return text;
    }

    static std::string quoted(const std::string& text) {
        std::string out = "\"";
        for (const char letter : text) {
            if (letter == '"' || letter == '\\') out += '\\';
            if (static_cast<unsigned char>(letter) >= 0x20) out += letter;
        }
        return out + "\"";
    }

    static void number(std::string& out, std::uint64_t value, int bytes) {
        for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
    }

    static std::uint32_t crc32(const std::string& data) {
        std::uint32_t crc = 0xFFFFFFFFU;
        for (const char letter : data) {
            crc ^= static_cast<unsigned char>(letter);
            for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0U ? 0xEDB88320U : 0U);
        }
        return ~crc;
    }

    /// One .npy file, stored, in the archive, and its entry in the archive's directory.
    static void member(std::string& archive, std::string& directory, std::uint16_t& members, const std::string& name,
                       const std::string& type, const std::string& shape, const std::string& bytes) {
        std::string head = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
        head.append(63 - (10 + head.size()) % 64, ' ');
        head += '\n';
        std::string data("\x93NUMPY\x01\x00", 8);
        number(data, head.size(), 2);
        data += head + bytes;
        std::string common;
        number(common, 20, 2);      // version that is needed to read it
        number(common, 0, 2);       // flags
        number(common, 0, 2);       // stored
        number(common, 0, 2);       // time
        number(common, 0x21, 2);    // 1 January 1980
        number(common, crc32(data), 4);
        number(common, data.size(), 4);
        number(common, data.size(), 4);
        number(common, name.size() + 4, 2);
        number(common, 0, 2);       // no extra field
        directory += std::string("PK\x01\x02", 4);
        number(directory, 20, 2);
        directory += common;
        number(directory, 0, 2);    // no comment
        number(directory, 0, 2);
        number(directory, 0, 2);
        number(directory, 0, 4);
        number(directory, archive.size(), 4);
        directory += name + ".npy";
        archive += std::string("PK\x03\x04", 4) + common + name + ".npy" + data;
        ++members;
    }

    static void write(const std::string& path, const std::string& bytes) {
        const std::string part = path + ".part";
        std::FILE* file = std::fopen(part.c_str(), "wb");
        if (file == nullptr) throw std::runtime_error("gaitd::Capture: " + part + " cannot be written");
        const bool whole = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
        if (std::fclose(file) != 0 || !whole || std::rename(part.c_str(), path.c_str()) != 0) {
            std::remove(part.c_str());
            throw std::runtime_error("gaitd::Capture: " + path + " cannot be written");
        }
    }

    std::vector<std::string> joints_;
    CaptureOptions options_;
    std::vector<Field> fields_;
    std::vector<std::uint8_t> reset_;
    std::size_t steps_ = 0;
};

}  // namespace gaitd
