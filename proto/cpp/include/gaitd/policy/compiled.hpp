// Everything that a policy's manifest says, checked and worked out (gaitd.bundle.compiled): names are indices, defaults
// are numbers. Plain values; policy/read_compiled.hpp reads them from the file that `gaitctl embed` wrote.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <gaitd/messages.hpp>

namespace gaitd::policy {

using Floats = std::vector<float>;
using Indices = std::vector<std::uint32_t>;

/// What observation terms are made from, in the order of the vector of sources; n: one value for each joint.
struct Source {
    const char* name;
    std::size_t size;  ///< 0: n
};
inline constexpr std::array<Source, 11> kSources{{{"angular_velocity", 3},
                                                  {"linear_acceleration", 3},
                                                  {"linear_velocity", 3},
                                                  {"joint_position", 0},
                                                  {"joint_velocity", 0},
                                                  {"joint_torque", 0},
                                                  {"velocity_command", 3},
                                                  {"last_action", 0},
                                                  {"projected_gravity", 3},
                                                  {"roll_pitch_yaw", 3},
                                                  {"clock_phase", 2}}};

/// A frame is (sources[gather] - offset) * scale, inside low and high; the vector is frames[stack], newest frame first.
struct ObservationTerms {
    Indices gather;  ///< (frame) as what follows.
    Floats offset;
    Floats scale;
    Floats low;
    Floats high;
    Indices fill_first;  ///< 1: the first frame fills the places of frames from before the session.
    Indices stack;       ///< (dim)
    std::size_t depth = 1;          ///< Frames that are remembered.
    double phase_per_step = 0.0;    ///< rad, of clock_phase.
    float clip = 0.0F;              ///< Of the whole vector; infinite without one.
};

/// (x - mean) / divisor, then a symmetric clip. Without one the arrays are empty.
struct Normalization {
    Floats mean;
    Floats divisor;
    float clip = 0.0F;
};

/// target = target_range(action_range(action) * scale + offset), then a low pass; (n) each but `moved`.
struct Action {
    Indices moved;  ///< Places of the joints that the model's action moves, in its order.
    Floats scale;   ///< rad for each unit; 0 for a joint that is held.
    Floats offset;  ///< rad
    Floats action_low;
    Floats action_high;
    Floats target_low;   ///< rad
    Floats target_high;  ///< rad
    Floats share;        ///< Of the way from the last target; 1 without a low pass.
};

/// Of what goes to the motors; (n) each, infinite where there is none.
struct TargetLimits {
    Floats low;             ///< rad
    Floats high;            ///< rad
    Floats slew;            ///< rad in a step
    Floats torque;          ///< Nm
    Floats reach;           ///< rad: torque / stiffness
    Floats velocity_share;  ///< s: damping / stiffness
    std::array<bool, 3> damps{};  ///< Of position, slew and torque: the response is damping.
    float max_motion = 0.0F;      ///< rad, of a joint while the model repeats its answer.
};

/// Which states are taken.
struct StateLimits {
    Floats joints_low;   ///< (2n) positions [rad], then velocities [rad/s].
    Floats joints_high;
    Floats start_error;  ///< (n) rad, from the default position in a session's first state.
    double min_upright = -1.0;    ///< Cosine between the base's and the world's vertical.
    std::uint64_t max_age_ns = 0;
};

/// A hidden state: the model takes it and gives it back.
struct HiddenTensor {
    std::string input;
    std::string output;
    std::vector<std::int64_t> shape;

    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t product = 1;
        for (const std::int64_t axis : shape) product *= static_cast<std::size_t>(axis);
        return product;
    }
};

struct Model {
    std::string input;
    std::string output;
    std::vector<HiddenTensor> hidden;
    double npu_memory_kib = 0.0;  ///< The most that it may take of the NPU's memory; infinite: any.
    std::string onnx;             ///< The file's bytes; empty: the bundle has none.
    std::string rknn;
};

/// Recorded observations before normalization, and the actions of the trained model.
struct Golden {
    double onnx_tolerance = 0.0;  ///< Raw action units.
    double rknn_tolerance = 0.0;
    Indices reset;  ///< (rows) 1: before it the hidden state is zeroed.
    Floats observation;
    Floats action;

    [[nodiscard]] std::size_t rows() const noexcept { return reset.size(); }
};

struct Compiled {
    std::string gaitd_version;  ///< Of the gaitd that wrote the file.
    std::string id;             ///< The bundle's sha256, 64 hex digits.
    std::string name;
    std::string version;
    std::uint64_t period_ns = 0;
    std::vector<std::string> joints;  ///< The policy's order, in which all arrays of n are.
    Floats default_position;          ///< rad
    Floats stiffness;                 ///< Nm/rad
    Floats damping;                   ///< Nm s/rad
    Floats fallback_damping;          ///< Nm s/rad, in damping
    std::string command_unit;         ///< normalized or si.
    Vector3 command_min{};
    Vector3 command_max{};
    std::vector<std::string> fields;  ///< Of RobotState, that the terms are made from.
    ObservationTerms terms;
    Normalization normalization;
    Action action;
    TargetLimits limits;
    StateLimits state;
    Model model;
    Golden golden;

    [[nodiscard]] std::size_t observationDim() const noexcept { return terms.stack.size(); }
    [[nodiscard]] std::size_t actionDim() const noexcept { return action.moved.size(); }
    /// As commands and logs show it.
    [[nodiscard]] std::string shortId() const { return id.substr(0, 16); }
    [[nodiscard]] bool needs(const std::string& field) const {
        return std::find(fields.begin(), fields.end(), field) != fields.end();
    }
};

}  // namespace gaitd::policy
