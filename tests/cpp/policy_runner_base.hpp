// A stand-in for the vendor's interface, written from its published signature (DeepRoboticsLab/Lite3_rl_deploy):
// the same names, types of the same shape, nothing of its code. Eigen's vectors are a few lines here.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace types {

template <int kSize>
class Vecf {
public:
    float& operator()(int i) { return values_[static_cast<std::size_t>(i)]; }
    const float& operator()(int i) const { return values_[static_cast<std::size_t>(i)]; }

private:
    float values_[kSize] = {};
};
using Vec3f = Vecf<3>;
using Vec4f = Vecf<4>;
using Mat3f = Vecf<9>;

class VecXf {
public:
    VecXf() = default;
    explicit VecXf(int size) : values_(static_cast<std::size_t>(size)) {}
    float& operator()(int i) { return values_.at(static_cast<std::size_t>(i)); }
    const float& operator()(int i) const { return values_.at(static_cast<std::size_t>(i)); }
    [[nodiscard]] std::ptrdiff_t size() const { return static_cast<std::ptrdiff_t>(values_.size()); }

private:
    std::vector<float> values_;
};

struct RobotBasicState {
    Vec3f base_rpy;
    Vec4f base_quat;
    Mat3f base_rot_mat;
    Vec3f base_omega;
    Vec3f base_acc;
    Vec3f cmd_vel_normlized;
    VecXf joint_pos;
    VecXf joint_vel;
    VecXf joint_tau;
};

struct RobotAction {
    VecXf goal_joint_pos;
    VecXf goal_joint_vel;
    VecXf kp;
    VecXf kd;
    VecXf tau_ff;
};

}  // namespace types

class PolicyRunnerBase {
public:
    explicit PolicyRunnerBase(std::string policy_name) : policy_name_(std::move(policy_name)) {}
    virtual ~PolicyRunnerBase() = default;
    virtual void DisplayPolicyInfo() = 0;
    virtual types::RobotAction GetRobotAction(const types::RobotBasicState&) = 0;
    virtual void OnEnter() = 0;
    virtual void SetDecimation(int decimation) { decimation_ = decimation; }

    const std::string policy_name_;
    int decimation_;
    int run_cnt_;
};

/// The interfaces of the vendor's controllers that hand over the user's command beside the state.
namespace two_arguments {

struct State {
    types::Vec3f base_rpy;
    types::Vec3f base_omega;
    types::Vec3f base_acc;
    types::VecXf joint_pos;
    types::VecXf joint_vel;
    types::VecXf joint_tau;
};

struct UserCommand {
    double time_stamp;
    float forward_vel_scale = 0;
    float side_vel_scale = 0;
    float turnning_vel_scale = 0;
};

/// As in sdk_deploy.
class WheeledBase {
public:
    explicit WheeledBase(std::string policy_name) : policy_name_(std::move(policy_name)) {}
    virtual ~WheeledBase() = default;
    virtual void DisplayPolicyInfo() {}
    virtual types::RobotAction getRobotAction(const State&, const UserCommand&) = 0;
    virtual void OnEnter(const State&) = 0;
    virtual void SetDecimation(int decimation) { decimation_ = decimation; }

    const std::string policy_name_;
    int decimation_;
    int run_cnt_;
};

enum class RobotName { Pro };

/// As in the humanoid's controller.
class HumanoidBase {
public:
    HumanoidBase(std::string policy_name, RobotName robot_name)
        : policy_name_(std::move(policy_name)), robot_name_(robot_name) {}
    virtual ~HumanoidBase() = default;
    virtual void DisplayPolicyInfo() = 0;
    virtual types::RobotAction GetRobotAction(const State&, const UserCommand&) = 0;
    virtual void OnEnter() = 0;
    virtual void OnExit() = 0;
    virtual void SetDecimation(int decimation) { decimation_ = decimation; }

    const std::string policy_name_;
    const RobotName robot_name_;
    int decimation_;
    int run_cnt_;
};

}  // namespace two_arguments
