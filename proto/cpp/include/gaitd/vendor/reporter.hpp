// One line for each change of what the robot does and why, printed by a thread of its own: the control loop does not
// wait for a terminal.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <unistd.h>

#include <gaitd/client.hpp>
#include <gaitd/explain.hpp>
#include <gaitd/realtime.hpp>
#include <gaitd/write_line.hpp>

namespace gaitd::vendor {

/// `Driver`: what gives the commands, a Client or one with its calls.
template <class Driver>
class Reporter {
public:
    Reporter() = default;
    Reporter(const Reporter&) = delete;
    Reporter& operator=(const Reporter&) = delete;

    void start(Driver& client) {
        client_ = &client;
        thread_ = realtime::quietThread("gaitd-report", [this] { run(); });
    }

    /// Before the client ends.
    void stop() {
        if (origin_.isAnotherProcess()) return thread_.detach();
        stop_.store(true);
        thread_.join();
    }

    /// From the control thread, at each tick: what the motors are told. Does not wait; a change that cannot be noted now
    /// is noted at the next tick.
    void note(const JointCommand& command, bool holds, std::uint64_t entered, std::uint64_t behind_ns) noexcept {
        const Told told{command.mode, command.reason, command.gaitd_says.reason, command.session, holds, entered};
        const bool late = behind_ns > client_->contract().period_ns && client_->contract().period_ns != 0;
        if (told == noted_ && late == noted_late_) return;
        const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
        if (!lock.owns_lock()) return;
        told_ = noted_ = told;
        cause_ = command.cause;
        gaitd_says_ = command.gaitd_says;
        late_ = noted_late_ = late;
        behind_ns_ = behind_ns;
    }

    /// From the watchdog's thread: it has sent damping, and the control thread does not come.
    void noteStandstill(std::uint64_t session, std::uint64_t entered) {
        const std::lock_guard<std::mutex> lock(mutex_);
        told_ = {Mode::Damping, Reason::ClientDeadline, Reason::None, session, false, entered};
        cause_ = {};
        gaitd_says_ = {};
        ++standstills_;
    }

    /// RL cannot be entered; empty: it can. Said once for each reason, and again after a try.
    void noteRefusal(const std::string& why, bool tried) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!why.empty() && (tried || why != refusal_)) ++refusals_;
        refusal_ = why;
    }

    /// None unless the joints are in damping.
    [[nodiscard]] Reason reason() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return told_.mode == Mode::Damping ? told_.reason : Reason::None;
    }

    /// Why the joints are in damping, or why RL could not be entered; empty otherwise.
    [[nodiscard]] std::string text() {
        JointCommand damping;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (told_.mode != Mode::Damping && !refusal_.empty()) return refusal_;
            damping = toldDamping();
        }
        return damping.mode == Mode::Damping ? explain(damping, client_->jointNames()) : client_->activationError();
    }

private:
    struct Told {
        Mode mode = Mode::Idle;
        Reason reason = Reason::None;
        Reason gaitd_says = Reason::None;
        std::uint64_t session = 0;
        bool holds = false;
        std::uint64_t entered = 0;

        bool operator==(const Told& other) const noexcept {
            return mode == other.mode && reason == other.reason && gaitd_says == other.gaitd_says &&
                   session == other.session && holds == other.holds && entered == other.entered;
        }
    };

    static constexpr std::chrono::milliseconds kLook{20};

    void run() {
        while (!stop_.load()) {
            std::this_thread::sleep_for(kLook);
            std::unique_lock<std::mutex> lock(mutex_);
            const Told told = told_;
            const JointCommand damping = toldDamping();
            const bool late = late_;
            const std::uint64_t behind_ns = behind_ns_;
            const std::string refusal = std::exchange(said_refusals_, refusals_) == refusals_ ? "" : refusal_;
            const bool stood_still = std::exchange(said_standstills_, standstills_) != standstills_;
            lock.unlock();
            sayPeer();
            if (!refusal.empty()) say("entering RL refused: " + refusal);
            if (stood_still) say("nobody asked for a command in time (do the robot's states come?): damping was sent");
            if (!(told == said_)) say(lineOf(told, damping));
            if (late != said_late_) {
                say(late ? "the robot's states come " + std::to_string(behind_ns / 1'000'000) +
                               " ms late: a backlog of packets"
                         : "the robot's states come in time again");
            }
            said_ = told;
            said_late_ = late;
        }
    }

    /// What gaitd is, whenever it is another one, and why there is none.
    void sayPeer() {
        const std::string obstacle = client_->obstacle();
        if (obstacle != said_obstacle_ && !obstacle.empty()) say(obstacle);
        said_obstacle_ = obstacle;
        const std::optional<Contract> contract = obstacle.empty() ? client_->newestContract() : std::nullopt;
        if (!contract || contract->firstPolicy().id == said_policy_) return;
        said_policy_ = contract->firstPolicy().id;
        say("policy " + contract->firstPolicy().name + " " + contract->firstPolicy().version + " (" + said_policy_ + ")");
    }

    [[nodiscard]] std::string lineOf(const Told& told, const JointCommand& damping) {
        const std::string session = "session " + std::to_string(told.session) + ": ";
        if (told.holds) return "holding the default pose until the policy begins";
        if (told.mode == Mode::Active) return session + "the policy moves the robot";
        if (told.mode == Mode::Damping) return session + "damping: " + explain(damping, client_->jointNames());
        const std::string refused = client_->activationError();
        return refused.empty() ? "no session: damping gains" : "no session: damping gains: " + refused;
    }

    /// What explain() needs of what was told. Under the mutex.
    [[nodiscard]] JointCommand toldDamping() const {
        JointCommand command;
        command.mode = told_.mode;
        command.reason = told_.reason;
        command.cause = cause_;
        command.gaitd_says = gaitd_says_;
        return command;
    }

    static void say(const std::string& line) { writeLine(STDERR_FILENO, "gaitd: " + line); }

    Driver* client_ = nullptr;
    const Origin origin_{};

    // Of the control thread.
    Told noted_;
    bool noted_late_ = false;

    // Of the printing thread.
    Told said_;
    bool said_late_ = false;
    std::string said_obstacle_;
    std::string said_policy_;
    std::uint64_t said_refusals_ = 0;
    std::uint64_t said_standstills_ = 0;

    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    Told told_;
    Cause cause_;
    Ending gaitd_says_;
    bool late_ = false;
    std::uint64_t behind_ns_ = 0;
    std::string refusal_;
    std::uint64_t refusals_ = 0;
    std::uint64_t standstills_ = 0;
    std::thread thread_;
};

}  // namespace gaitd::vendor
