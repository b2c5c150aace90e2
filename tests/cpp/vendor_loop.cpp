// The vendor's controller in small, around the real adapter: a state machine that turns when the robot has sent a state,
// a thread of the policy, motors that keep what they were last told. Words on standard input say what happens; a line
// on standard output says, with CLOCK_MONOTONIC in ns, when the motors get stiff or limp.
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>

#include "policy_runner_base.hpp"
#include <gaitd/vendor/policy_runner.hpp>

using Runner = gaitd::vendor::PolicyRunner<PolicyRunnerBase, types::RobotBasicState, types::RobotAction>;
using std::chrono::milliseconds;

namespace {

void say(const char* what) {
    std::printf("%s %llu\n", what, static_cast<unsigned long long>(gaitd::monotonicNow_ns()));
    std::fflush(stdout);
}

class Motors {
public:
    void set(const types::RobotAction& action) {
        const std::lock_guard<std::mutex> lock(mutex_);
        const bool stiff = action.kp(0) > 0.0F;
        if (stiff != stiff_) say(stiff ? "stiff" : "limp");
        stiff_ = stiff;
    }

private:
    std::mutex mutex_;
    bool stiff_ = false;
};

class Controller {
public:
    explicit Controller(const char* directory) {
        gaitd::Config config;
        config.endpoint_dir = directory;
        config.joints = {"hip", "thigh", "knee"};
        config.renew = milliseconds(100);
        Runner::Hooks hooks;
        hooks.send = [this](const types::RobotAction& action) { motors_.set(action); };
        hooks.robot_time_s = [this] { return static_cast<double>(tick_.load()) * 1e-3; };
        runner_ = std::make_unique<Runner>("gaitd", config, milliseconds(100), hooks);
        runner_->DisplayPolicyInfo();
        robot_thread_ = std::thread([this] { robot(); });
    }
    ~Controller() {
        leave();
        stop_ = true;
        robot_thread_.join();
    }

    /// Stands still for the vendor's OnEnter() and OnExit().
    void enter() {
        runs_ = true;
        policy_thread_ = std::thread([this] { policy(); });
        runner_->OnEnter();
    }
    void leave() {
        if (!policy_thread_.joinable()) return;
        runs_ = false;
        policy_thread_.join();
        runner_->OnExit();
    }
    void pause(bool pauses) { paused_ = pauses; }
    [[nodiscard]] Runner& runner() { return *runner_; }

private:
    void robot() {
        const std::uint64_t start_ns = gaitd::monotonicNow_ns();
        while (!stop_) {
            if (!paused_) tick_ = (gaitd::monotonicNow_ns() - start_ns) / 1'000'000 + 1;
            std::this_thread::sleep_for(milliseconds(1));
        }
    }

    void policy() {
        types::RobotBasicState robot;
        robot.joint_pos = types::VecXf(3);
        robot.joint_vel = types::VecXf(3);
        robot.joint_tau = types::VecXf(3);
        robot.joint_pos(1) = -0.65F;
        robot.joint_pos(2) = 1.3F;
        robot.base_acc(2) = 9.81F;
        std::uint64_t last = 0;
        while (runs_) {
            const std::uint64_t tick = tick_.load();
            if (tick != last) {
                last = tick;
                robot.joint_vel(0) = 0.001F * static_cast<float>(tick % 97);  // Sensors are never quite still.
                motors_.set(runner_->GetRobotAction(robot));
            }
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }

    Motors motors_;
    std::atomic<std::uint64_t> tick_{1};
    std::atomic<bool> paused_{false};
    std::atomic<bool> runs_{false};
    std::atomic<bool> stop_{false};
    std::unique_ptr<Runner> runner_;
    std::thread policy_thread_;
    std::thread robot_thread_;
};

}  // namespace

int main(int, char** argv) {
    Controller controller(argv[1]);
    say("started");
    for (std::string word; std::cin >> word;) {
        if (word == "enter") controller.enter();
        if (word == "leave") controller.leave();
        if (word == "pause") controller.pause(true);
        if (word == "resume") controller.pause(false);
        if (word == "may-enter") std::printf("may-enter %d\n", controller.runner().MayEnter());
        if (word == "damped") std::printf("damped %d\n", controller.runner().Damped());
        say(word.c_str());
    }
    return 0;
}
