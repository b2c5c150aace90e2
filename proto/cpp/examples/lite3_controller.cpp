// An example controller for a simulated Lite3: a 1 kHz loop that stands the robot up, hands it to gaitd's policy, and
// goes to damping whenever the client says so. With --policy it runs the policy in its own process instead.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <gaitd/client.hpp>
#include <gaitd/embedded/client.hpp>
#include <gaitd/explain.hpp>
#include <gaitd/orientation.hpp>
#include <gaitd/pacer.hpp>
#include <gaitd/write_line.hpp>

#include "lite3_udp.hpp"
#include "options.hpp"
#include "remote_options.hpp"
#include "tick_log.hpp"

namespace {

using gaitd::JointCommand;
using gaitd::Mode;
using gaitd::Reason;
using lite3::kJoints;

constexpr std::uint64_t kTick_ns = 1'000'000;
constexpr double kFold_s = 0.6;
constexpr double kHold_s = 0.5;
constexpr double kActivateRetry_s = 1.0;
constexpr double kLastDamping_s = 0.1;  // How long damping is sent to the robot before the program ends.
constexpr float kStandStiffness = 100.0F;
constexpr float kStandDamping = 2.5F;
constexpr float kFolded_rad[] = {0.0F, -1.35F, 2.55F};  // HipX, HipY, Knee of a leg of the robot lying on its belly.

const char* const kUsage = R"(usage: lite3_controller [options]
  --endpoint-dir DIR             gaitd's sockets (default /run/gaitd)
  --transport zmq|shm            how states and commands travel (default zmq)
  --policy FILE                  no gaitd: run this policy in this process (gaitctl embed writes it)
  --backend onnx|rknn            what runs it (default onnx)
  --runtime LIBRARY              path of libonnxruntime.so or librknnrt.so (default: the system's)
  --robot HOST[:PORT]            gaitd over TCP instead, with both keys:
  --server-key FILE              its public key, ROBOT.pub
  --key FILE                     this controller's secret key, NAME.key
  --state-port PORT              robot state comes here (default 30010)
  --command-port PORT            joint commands go there (default 20001)
  --operator-port PORT           velocity commands come here (default 30012)
  --joints FILE                  joint names of another robot, one a line (default: those of the Lite3)
  --hello-timeout S              how long to wait for gaitd (default 30)
  --seconds S                    stop S seconds after the robot's first packet
  --release-at-end               release the session when the seconds are over
  --select S:POLICY,...          change to that policy, S seconds after the session's first command
  --switchable                   others may change the policy while it walks (gaitctl switch)
  --stand-up S                   how long standing up takes (default 3)
  --stand-up-again S             stand up and ask for a session again, S seconds after damping
  --exit-on-damping-after S      stop S seconds after damping
  --log FILE                     write a CSV line per tick at exit
  --priority N                   SCHED_FIFO priority of this loop and of ZeroMQ's thread
  --cpu N                        pin this loop to one CPU
SIGUSR1 is its emergency damping button.
)";

volatile std::sig_atomic_t stop_requested = 0;
volatile std::sig_atomic_t button_pressed = 0;

std::vector<std::string> jointNames(const Options& options) {
    std::vector<std::string> names;
    if (options.has("--joints")) {
        const std::string path = options.text("--joints", "");
        std::ifstream file(path);
        if (!file) throw std::invalid_argument("--joints: cannot read " + path);
        for (std::string line; std::getline(file, line);) {
            if (!line.empty()) names.push_back(line);
        }
        if (names.size() != kJoints) {
            throw std::invalid_argument("--joints: " + path + " has " + std::to_string(names.size()) + " names, not 12");
        }
        return names;
    }
    for (const char* leg : {"FL", "FR", "HL", "HR"}) {
        for (const char* joint : {"HipX", "HipY", "Knee"}) names.push_back(std::string(leg) + "_" + joint + "_joint");
    }
    return names;
}

/// One line about a phase, with the time since start; none where it would keep the loop from the motors.
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
void say(const char* format, ...) {
    static const std::uint64_t start_ns = gaitd::monotonicNow_ns();
    std::array<char, 1024> line;
    const int head = std::snprintf(line.data(), line.size(), "[%8.3f] ",
                                   static_cast<double>(gaitd::monotonicNow_ns() - start_ns) * 1e-9);
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line.data() + head, line.size() - static_cast<std::size_t>(head), format, arguments);
    va_end(arguments);
    gaitd::writeLine(STDOUT_FILENO, line.data());
}

lite3::CommandPacket packetOf(const JointCommand& command) {
    lite3::CommandPacket out{};
    std::copy_n(command.joint_position.begin(), kJoints, out.position.begin());
    std::copy_n(command.joint_velocity.begin(), kJoints, out.velocity.begin());
    std::copy_n(command.stiffness.begin(), kJoints, out.stiffness.begin());
    std::copy_n(command.damping.begin(), kJoints, out.damping.begin());
    std::copy_n(command.torque.begin(), kJoints, out.torque.begin());
    return out;
}

double seconds(std::uint64_t from_ns, std::uint64_t to_ns) { return static_cast<double>(to_ns - from_ns) * 1e-9; }

/// A change of policy that is due so long after the session's first command.
struct Change {
    double after_s;
    std::string policy;
};

std::vector<Change> changesOf(const std::string& text) {
    std::vector<Change> changes;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) {
        const std::size_t colon = part.find(':');
        if (colon == std::string::npos) throw std::invalid_argument("--select needs S:POLICY,..., not " + part);
        changes.push_back({std::stod(part.substr(0, colon)), part.substr(colon + 1)});
    }
    return changes;
}

/// `Driver`: a Client, or an EmbeddedClient.
template <class Driver>
class Controller {
public:
    Controller(Driver& client, const Options& options, std::uint16_t state_port, std::uint16_t operator_port,
               std::uint16_t command_port)
        : client_(client),
          joints_(jointNames(options)),
          folds_(!options.has("--joints")),
          state_port_(state_port),
          robot_(state_port),
          operator_(operator_port),
          command_port_(command_port),
          seconds_(options.number("--seconds", -1.0)),
          release_at_end_(options.has("--release-at-end")),
          stand_up_s_(options.number("--stand-up", 3.0)),
          stand_up_again_s_(options.number("--stand-up-again", -1.0)),
          seconds_after_damping_(options.number("--exit-on-damping-after", -1.0)),
          changes_(changesOf(options.text("--select", ""))) {}

    /// The loop; returns when it is time to end.
    void run(TickLog& log) {
        pacer_ = gaitd::Pacer(client_.contract().period_ns);
        say("waiting for the robot's first packet on UDP %d", state_port_);
        timespec wake{};
        clock_gettime(CLOCK_MONOTONIC, &wake);
        for (;;) {
            const std::uint64_t now_ns = gaitd::monotonicNow_ns();
            receive(now_ns);
            if (button_pressed != 0) {
                button_pressed = 0;
                client_.requestDamping("the controller's button");
            }
            const JointCommand& command = client_.command(now_ns);
            step(command, now_ns);
            log.add(now_ns, command);
            if (phase_ == Phase::End) return;
            sleepUntilNextTick(wake);
        }
    }

private:
    enum class Phase { WaitForRobot, Fold, StandUp, Hold, Activating, Policy, Damping, Ending, End };

    void receive(std::uint64_t now_ns) {
        lite3::OperatorPacket stick;
        if (operator_.newest(stick)) std::copy_n(stick.velocity, 3, state_.velocity_command.begin());
        if (!robot_.newest(packet_)) return;
        fresh_ = true;
        state_.stamp_ns = now_ns;
        std::copy_n(packet_.omega, 3, state_.angular_velocity.begin());
        std::copy_n(packet_.acc, 3, state_.linear_acceleration.begin());
        state_.orientation = gaitd::quaternionFromRpy(packet_.rpy[0], packet_.rpy[1], packet_.rpy[2]);
        std::copy(packet_.position.begin(), packet_.position.end(), state_.joint_position.begin());
        std::copy(packet_.velocity.begin(), packet_.velocity.end(), state_.joint_velocity.begin());
        std::copy(packet_.torque.begin(), packet_.torque.end(), state_.joint_torque.begin());
    }

    /// One state a control period, and only of a sample that is new: a repeated one would pretend a living robot.
    void publish() {
        if (!fresh_ || !pacer_.due(state_.stamp_ns)) return;
        fresh_ = false;
        client_.publish(state_);
    }

    void step(const JointCommand& command, std::uint64_t now_ns) {
        endIfDue(command, now_ns);
        switch (phase_) {
            case Phase::WaitForRobot:
                if (!fresh_) return;
                first_packet_ns_ = now_ns;
                standUp(command, now_ns);
                break;
            case Phase::Fold:
                if (seconds(phase_since_ns_, now_ns) < kFold_s) break;
                start_position_ = packet_.position;
                enter(Phase::StandUp, now_ns, "standing up");
                break;
            case Phase::StandUp:
                if (seconds(phase_since_ns_, now_ns) >= stand_up_s_) enter(Phase::Hold, now_ns, "standing");
                break;
            case Phase::Hold:
                if (seconds(phase_since_ns_, now_ns) < kHold_s) break;
                client_.requestActivate();
                enter(Phase::Activating, now_ns, "asking for a session");
                break;
            case Phase::Activating: awaitPolicy(command, now_ns); break;
            case Phase::Damping:
                sayWhatGaitdSays(command.gaitd_says);
                if (stand_up_again_s_ >= 0.0 && seconds(phase_since_ns_, now_ns) >= stand_up_again_s_) {
                    standUp(command, now_ns);
                }
                break;
            case Phase::Policy:
                if constexpr (std::is_same_v<Driver, gaitd::Client>) changePolicy(command, now_ns);
                break;
            case Phase::Ending:
            case Phase::End: break;
        }
        if (phase_ != Phase::Ending && phase_ != Phase::End) publish();
        act(command, now_ns);
    }

    /// From the pose that the robot has now. A damping that is in force now is ended by the activation that follows.
    void standUp(const JointCommand& command, std::uint64_t now_ns) {
        start_position_ = packet_.position;
        ended_damping_.reset();
        if (command.mode != Mode::Damping) return enter(Phase::StandUp, now_ns, "standing up");
        ended_damping_ = client_.session();
        say("still in damping (%s); activating will end it", toString(command.reason));
        // Damped out of a walk the Lite3 lies askew: on its belly first.
        if (folds_) return enter(Phase::Fold, now_ns, "folding the legs");
        enter(Phase::StandUp, now_ns, "standing up");
    }

    void awaitPolicy(const JointCommand& command, std::uint64_t now_ns) {
        if (command.mode == Mode::Active) {
            say("policy %s moves the robot, session %llu", client_.contract().firstPolicy().name.c_str(),
                static_cast<unsigned long long>(command.session));
            policy_ = command.policy;
            return enter(Phase::Policy, now_ns, nullptr);
        }
        if (client_.activation() == gaitd::Activation::Refused && seconds(phase_since_ns_, now_ns) > kActivateRetry_s) {
            // Standing still, not in a policy's hands: here the loop may afford a string.
            say("refused: %s; asking again", client_.activationError().c_str());
            client_.requestActivate();
            phase_since_ns_ = now_ns;
        }
    }

    /// The changes of policy that are due, and what became of them.
    void changePolicy(const JointCommand& command, std::uint64_t now_ns) {
        if (next_change_ < changes_.size() && seconds(phase_since_ns_, now_ns) >= changes_[next_change_].after_s) {
            if (client_.select(changes_[next_change_].policy)) ++next_change_;
            asked_ = true;
        }
        if (asked_ && client_.selection() == gaitd::Selection::Refused) {
            asked_ = false;
            say("gaitd refused to change the policy: %s", client_.selectionError().c_str());
        }
        if (command.mode == Mode::Active && command.policy != policy_) {
            policy_ = command.policy;
            asked_ = false;
            const auto& policies = client_.contract().policies;
            say("policy %s moves the robot now", policy_ < policies.size() ? policies[policy_].name.c_str() : "?");
        }
    }

    /// Once in a damping that this controller's own timer began: gaitd's reason, which comes a moment later.
    void sayWhatGaitdSays(const gaitd::Ending& ending) {
        if (gaitd_said_ || ending.reason == Reason::None) return;
        gaitd_said_ = true;
        say("gaitd says: %s", gaitd::explain(ending, joints_).c_str());
    }

    /// Damping, the end of the time and signals, from whatever phase.
    void endIfDue(const JointCommand& command, std::uint64_t now_ns) {
        if (phase_ == Phase::Ending) {
            if (seconds(phase_since_ns_, now_ns) > kLastDamping_s) phase_ = Phase::End;
            return;
        }
        const bool damped = command.mode == Mode::Damping && ended_damping_ != client_.session();
        if (damped && phase_ != Phase::WaitForRobot && phase_ != Phase::Damping) {
            say("damping: %s", gaitd::explain(command, joints_).c_str());
            gaitd_said_ = false;
            enter(Phase::Damping, now_ns, nullptr);
        }
        if (stop_requested != 0) return end(true, now_ns, "stopped by a signal");
        if (seconds_ >= 0.0 && first_packet_ns_ != 0 && seconds(first_packet_ns_, now_ns) >= seconds_) {
            return end(release_at_end_, now_ns, "time is over");
        }
        if (phase_ == Phase::Damping && seconds_after_damping_ >= 0.0 &&
            seconds(phase_since_ns_, now_ns) >= seconds_after_damping_) {
            end(false, now_ns, "ending after damping");
        }
    }

    void end(bool release, std::uint64_t now_ns, const char* why) {
        if (release) client_.requestRelease();
        enter(Phase::Ending, now_ns, why);
    }

    void enter(Phase phase, std::uint64_t now_ns, const char* line) {
        phase_ = phase;
        phase_since_ns_ = now_ns;
        if (line != nullptr) say("%s", line);
    }

    /// What the motors get in this phase.
    void act(const JointCommand& command, std::uint64_t now_ns) {
        lite3::CommandPacket out{};
        switch (phase_) {
            case Phase::WaitForRobot: return;
            case Phase::Fold: move(out, foldedPose(), seconds(phase_since_ns_, now_ns) / kFold_s); break;
            case Phase::StandUp: move(out, standingPose(), seconds(phase_since_ns_, now_ns) / stand_up_s_); break;
            case Phase::Hold:
            case Phase::Activating: move(out, standingPose(), 1.0); break;
            case Phase::Policy:
            case Phase::Damping: out = packetOf(command); break;
            case Phase::Ending:
            case Phase::End:
                std::copy_n(client_.contract().fallback_damping.begin(), kJoints, out.damping.begin());
                break;
        }
        robot_.send(out, command_port_);
    }

    static lite3::Joints foldedPose() {
        lite3::Joints pose;
        for (std::size_t i = 0; i < kJoints; ++i) pose[i] = kFolded_rad[i % 3];
        return pose;
    }

    [[nodiscard]] lite3::Joints standingPose() const {
        lite3::Joints pose;
        std::copy_n(client_.contract().default_joint_position.begin(), kJoints, pose.begin());
        return pose;
    }

    void move(lite3::CommandPacket& out, const lite3::Joints& goal, double progress) const {
        const double blend = 0.5 - 0.5 * std::cos(M_PI * std::min(progress, 1.0));
        for (std::size_t i = 0; i < kJoints; ++i) {
            out.position[i] = start_position_[i] + static_cast<float>(blend) * (goal[i] - start_position_[i]);
        }
        out.damping.fill(kStandDamping);
        const gaitd::JointArray& brakes = client_.contract().brake_stiffness;
        // A wheel has no pose to go to: it is slowed down.
        for (std::size_t i = 0; i < kJoints; ++i) out.stiffness[i] = brakes[i] > 0.0F ? 0.0F : kStandStiffness;
    }

    static void sleepUntilNextTick(timespec& wake) {
        const auto add = [](timespec time, std::uint64_t ns) {
            time.tv_nsec += static_cast<long>(ns);
            if (time.tv_nsec >= 1'000'000'000L) {
                time.tv_nsec -= 1'000'000'000L;
                ++time.tv_sec;
            }
            return time;
        };
        wake = add(wake, kTick_ns);
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        // After a stall the missed ticks are gone; they are not made up for in a burst.
        if (now.tv_sec > wake.tv_sec || (now.tv_sec == wake.tv_sec && now.tv_nsec > wake.tv_nsec)) wake = now;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr);
    }

    Driver& client_;
    const std::vector<std::string> joints_;
    const bool folds_;
    const std::uint16_t state_port_;
    const lite3::UdpSocket robot_;
    const lite3::UdpSocket operator_;
    const std::uint16_t command_port_;
    const double seconds_;
    const bool release_at_end_;
    const double stand_up_s_;
    const double stand_up_again_s_;
    const double seconds_after_damping_;
    const std::vector<Change> changes_;

    std::size_t next_change_ = 0;
    bool asked_ = false;
    bool gaitd_said_ = false;
    std::uint8_t policy_ = 0;
    lite3::StatePacket packet_{};
    lite3::Joints start_position_{};
    gaitd::RobotState state_;
    gaitd::Pacer pacer_{0};
    bool fresh_ = false;
    std::optional<std::uint64_t> ended_damping_;  // The session whose damping a stand-up has ended; 0 before the first.
    std::uint64_t first_packet_ns_ = 0;
    std::uint64_t phase_since_ns_ = 0;
    Phase phase_ = Phase::WaitForRobot;
};

void setUpThread(const Options& options) {
    const int priority = options.integer("--priority", 0);
    const int cpu = options.integer("--cpu", -1);
    std::optional<std::string> refused;
    if (cpu >= 0 && (refused = gaitd::realtime::pinTo(cpu))) say("warning: %s", refused->c_str());
    if (priority > 0 && (refused = gaitd::realtime::useFifo(priority))) say("warning: %s", refused->c_str());
    if (priority > 0 && mlockall(MCL_CURRENT | MCL_FUTURE) != 0) say("warning: mlockall refused: pages may be swapped");
}

std::uint16_t port(const Options& options, const char* name, int otherwise) {
    const int value = options.integer(name, otherwise);
    if (value < 1 || value > 65535) throw std::invalid_argument(std::string(name) + " needs a port, 1 to 65535");
    return static_cast<std::uint16_t>(value);
}

template <class Driver>
void drive(Driver& client, const Options& options) {
    const double log_seconds = options.number("--seconds", 600.0) + 60.0;
    TickLog log(options.has("--log") ? static_cast<std::size_t>(log_seconds * 1000.0) : 0);
    // The sockets first: a port that is not available is reported before gaitd is waited for.
    const std::uint16_t command_port = port(options, "--command-port", 20001);
    const lite3::UdpSocket motors(0);
    Controller controller(client, options, port(options, "--state-port", 30010), port(options, "--operator-port", 30012),
                          command_port);
    client.watch([&](const JointCommand& damping) { motors.send(packetOf(damping), command_port); });

    const double patience_s = options.number("--hello-timeout", 30.0);
    const auto& contract = client.hello(std::chrono::milliseconds(static_cast<long>(patience_s * 1000.0)));
    const gaitd::Policy& policy = contract.firstPolicy();
    const char* const does = std::is_same_v<Driver, gaitd::Client> ? "runs" : "wrote";
    say("gaitd %s %s policy %s %s (%s), period %.1f ms", contract.gaitd_version.c_str(), does, policy.name.c_str(),
        policy.version.c_str(), policy.id.c_str(), static_cast<double>(contract.period_ns) * 1e-6);
    for (const auto& warning : client.warnings()) say("warning: %s", warning.c_str());
    setUpThread(options);
    controller.run(log);

    const auto& counters = client.counters();
    say("end: %llu states published, %llu commands received", static_cast<unsigned long long>(counters.published),
        static_cast<unsigned long long>(counters.received));
    for (std::size_t i = 1; i < gaitd::kRefusals; ++i) {
        if (counters.refused[i] != 0) {
            say("  refused, %s: %llu", toString(static_cast<gaitd::Refusal>(i)),
                static_cast<unsigned long long>(counters.refused[i]));
        }
    }
    if (options.has("--log")) log.write(options.text("--log", ""));
}

void driveByGaitd(const Options& options) {
    gaitd::Config config;
    config.endpoint_dir = options.text("--endpoint-dir", config.endpoint_dir);
    config.remote = remoteOf(options);
    config.transport = transportOf(options);
    config.controller = "lite3_controller";
    config.joints = jointNames(options);
    config.io_priority = options.integer("--priority", 0);
    config.switchable = options.has("--switchable");
    config.simulated = true;  // Its packets never leave this machine.
    gaitd::Client client(config);
    say("waiting for gaitd, %s", config.remote.host.empty() ? config.endpoint_dir.c_str() : config.remote.host.c_str());
    drive(client, options);
}

void driveByPolicy(const Options& options) {
    for (const char* name : {"--endpoint-dir", "--transport", "--robot", "--select", "--switchable"}) {
        if (options.has(name)) throw std::invalid_argument(std::string(name) + " is for gaitd; with --policy there is none");
    }
    const std::string backend = options.text("--backend", "onnx");
    if (backend != "onnx" && backend != "rknn") throw std::invalid_argument("--backend is onnx or rknn, not " + backend);
    gaitd::EmbeddedConfig config;
    config.policy = gaitd::policy::loadCompiled(options.text("--policy", ""));
    config.backend.kind = backend == "rknn" ? gaitd::backends::Kind::Rknn : gaitd::backends::Kind::Onnx;
    config.backend.library = options.text("--runtime", "");
    config.joints = jointNames(options);
    config.priority = config.watchdog_priority = options.integer("--priority", 0);
    gaitd::EmbeddedClient client(std::move(config));
    say("it runs in this process, on %s", client.versions().c_str());
    drive(client, options);
    if (const std::string said = client.runtimeError(); !said.empty()) say("the runtime said: %s", said.c_str());
}

int run(const Options& options) {
    if (options.has("--policy")) {
        driveByPolicy(options);
    } else {
        driveByGaitd(options);
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    struct sigaction action {};
    action.sa_handler = [](int) { stop_requested = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    action.sa_handler = [](int) { button_pressed = 1; };
    sigaction(SIGUSR1, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);  // Whoever reads the lines may go; the robot stays.
    try {
        const Options options(argc, argv,
                              {"--endpoint-dir", "--transport", "--robot", "--server-key", "--key", "--state-port", "--command-port",
                               "--operator-port", "--joints", "--hello-timeout", "--seconds", "--stand-up",
                               "--stand-up-again", "--exit-on-damping-after", "--log", "--priority", "--cpu", "--select",
                               "--policy", "--backend", "--runtime"},
                              {"--release-at-end", "--switchable", "--help"});
        if (options.has("--help")) {
            std::cout << kUsage;
            return 0;
        }
        return run(options);
    } catch (const std::invalid_argument& error) {
        std::cerr << "error: " << error.what() << '\n' << kUsage;
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
