// Which command is applied: the client's safety logic as a pure state machine. No sockets, no clock: time is an
// argument (CLOCK_MONOTONIC, nanoseconds), so that every rule is tested with a made-up one.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <gaitd/messages.hpp>

namespace gaitd {

/// The policy's default stance: what the joints get after a walk has ended in damping, before they go limp.
struct Stance {
    std::uint64_t duration_ns = 0;  ///< 0: none, they go limp at once.
    JointArray joint_position{};    ///< rad
    JointArray stiffness{};         ///< Nm/rad
    JointArray damping{};           ///< Nm s/rad
};

/// What hello's reply says of the commands to come.
struct Terms {
    std::uint64_t deadline_ns = 0;  ///< No command whose state is older is applied.
    std::uint64_t first_command_ns = kFirstCommand_ns;  ///< How long a session may go without its first active command.
    std::size_t action_dim = 0;
    JointArray fallback_damping{};  ///< Nm s/rad, what damping is.
    Stance stance;
    JointArray brake_stiffness{};  ///< Nm/rad, of wheels wherever there is damping; 0: no brake.
    JointArray brake_torque{};     ///< Nm, the most that the brake holds with.
};

/// IDLE -> ACTIVE -> DAMPING of one session after another. DAMPING is left only by begin(): a new session.
class Latch {
public:
    /// `damping` [Nm s/rad] is used for every joint until configure().
    Latch(std::size_t joints, float damping) noexcept : joints_(joints), action_dim_(joints) {
        std::fill_n(fallback_damping_.begin(), joints_, damping);
        standDown();
    }

    void configure(const Terms& terms) noexcept {
        deadline_ns_ = terms.deadline_ns;
        first_command_ns_ = terms.first_command_ns;
        action_dim_ = terms.action_dim;
        fallback_damping_ = terms.fallback_damping;
        stance_ = terms.stance;
        brake_stiffness_ = terms.brake_stiffness;
        for (std::size_t i = 0; i < joints_; ++i) {
            brake_slip_[i] = terms.brake_stiffness[i] > 0.0F ? terms.brake_torque[i] / terms.brake_stiffness[i] : 0.0F;
        }
        if (output_.mode != Mode::Active) standDown();
    }

    /// Starts a session, granted to the worker in `slot` under `epoch`: everything of the one before is forgotten.
    void begin(std::uint64_t session, std::uint64_t epoch, std::uint8_t slot) noexcept {
        session_ = session;
        epoch_ = epoch;
        slot_ = slot;
        last_published_seq_ = 0;
        last_applied_seq_ = 0;
        waiting_since_known_ = false;
        output_.mode = Mode::Idle;
        output_.reason = Reason::None;
        output_.cause = Cause{};
        output_.gaitd_says = Ending{};
        standDown();
    }

    /// Ends the session by the controller's own wish. Damping stays damping, without a stance.
    void end() noexcept {
        session_ = 0;
        if (output_.mode == Mode::Active) {
            output_.mode = Mode::Idle;
            output_.reason = Reason::None;
        }
        standDown();
    }

    /// Damping from now on; the first reason of a session stands. It begins with the stance if there is one and the
    /// policy was moving the joints, unless then or later a limp reason is given (a limit was exceeded and the robot may
    /// have fallen, or a person or gaitd's end asks for damping): limp at once.
    void damp(Reason reason, const Cause& cause = {}) noexcept {
        const bool limp = isLimp(reason);
        const Mode before = output_.mode;
        if (before == Mode::Damping) {
            if (limp) standDown();
            return;
        }
        output_.mode = Mode::Damping;
        output_.reason = reason;
        output_.cause = cause;
        standDown();
        if (before == Mode::Active && !limp && stance_.duration_ns > 0) standing_ = Standing::Due;
    }

    /// Damping that has been sent to the joints already, by somebody else: they have let go, so no stance.
    void dampAlreadySent(Reason reason) noexcept {
        damp(reason);
        standDown();
    }

    /// Until when the joints may be left with what decide() last gave; 0: for ever, it asks nothing of them.
    [[nodiscard]] std::uint64_t holdsUntil_ns() const noexcept {
        if (output_.mode == Mode::Active) return applied_stamp_ns_ + deadline_ns_;
        return standing_ == Standing::Yes ? standing_since_ns_ + stance_.duration_ns : 0;
    }

    /// Counts one published sample; its number in the session. `tilted`: too far for a stance, see tilted().
    std::uint64_t published(std::uint64_t stamp_ns, const JointArray& joint_position, bool tilted = false) noexcept {
        tilted_ = tilted;
        ++last_published_seq_;
        stamps_[last_published_seq_ % kRemembered] = stamp_ns;
        for (std::size_t i = 0; i < joints_; ++i) {
            // A wheel's held position is dragged along by the wheel, like dry friction; others are where they are.
            held_position_[i] = std::clamp(held_position_[i], joint_position[i] - brake_slip_[i],
                                           joint_position[i] + brake_slip_[i]);
        }
        return last_published_seq_;
    }

    /// Judges one received command and applies it if it may be.
    Refusal offer(const CommandMessage& command, std::uint64_t now_ns) noexcept {
        if (command.mode == Mode::Idle) return Refusal::None;  // Says only that gaitd has no session.
        if (command.session != session_) return Refusal::ForeignSession;
        if (command.mode == Mode::Damping) {
            noteWhatGaitdSays(command);
            damp(command.reason, command.cause);  // Whatever its epoch: nothing in it can make it unsafe.
            return Refusal::None;
        }
        const Refusal refusal = judgeActive(command, now_ns);
        if (refusal == Refusal::None) apply(command);
        return refusal;
    }

    /// The command that holds at `now_ns`: the newest applied one, or damping. Fires the client's own timer.
    const JointCommand& decide(std::uint64_t now_ns) noexcept {
        if (output_.mode == Mode::Active) {
            output_.age_ns = age(applied_stamp_ns_, now_ns);
            if (output_.age_ns > deadline_ns_) {
                expire();
            } else {
                driven_ns_ = now_ns;
            }
        } else if (output_.mode == Mode::Idle && session_ != 0) {
            if (!waiting_since_known_) {
                waiting_since_ns_ = now_ns;
                waiting_since_known_ = true;
            }
            if (age(waiting_since_ns_, now_ns) > first_command_ns_) expire();
        }
        if (standing_ != Standing::No) stand(now_ns);
        if (output_.mode != Mode::Active) hold();
        return output_;
    }

    /// True once after the client's own timer ran out: gaitd is to be told.
    bool takeExpired() noexcept {
        const bool expired = expired_;
        expired_ = false;
        return expired;
    }

    [[nodiscard]] std::uint64_t session() const noexcept { return session_; }
    /// The session to publish in. After damping it is 0, so that gaitd, should the request to damp be lost, misses
    /// the states and ends the session too: else it would stay active for nobody, and refuse every new one.
    [[nodiscard]] std::uint64_t sampleSession() const noexcept { return output_.mode == Mode::Damping ? 0 : session_; }
    [[nodiscard]] Mode mode() const noexcept { return output_.mode; }
    /// Nothing depends any more on what hello said: no session, or one that ended limp.
    [[nodiscard]] bool isOver() const noexcept {
        return session_ == 0 || (output_.mode == Mode::Damping && standing_ == Standing::No);
    }
    [[nodiscard]] const JointArray& fallbackDamping() const noexcept { return fallback_damping_; }
    [[nodiscard]] const JointArray& brakeStiffness() const noexcept { return brake_stiffness_; }
    /// Where the joints are held when they get damping: a braked wheel where it stands, others as measured.
    [[nodiscard]] const JointArray& heldPosition() const noexcept { return held_position_; }
    /// How long the joints may be left alone; 0 before configure().
    [[nodiscard]] std::uint64_t deadline_ns() const noexcept { return deadline_ns_; }

private:
    enum class Standing { No, Due, Yes };

    // Answers older than this many samples are beyond any deadline; a wrapped entry fails the stamp check.
    static constexpr std::size_t kRemembered = 256;

    static std::uint64_t age(std::uint64_t stamp_ns, std::uint64_t now_ns) noexcept {
        return now_ns > stamp_ns ? now_ns - stamp_ns : 0;
    }

    [[nodiscard]] Refusal judgeActive(const CommandMessage& command, std::uint64_t now_ns) const noexcept {
        if (session_ == 0) return Refusal::ForeignSession;
        if (output_.mode == Mode::Damping) return Refusal::Latched;
        // A worker that was replaced may wake up; one without a slot is none.
        if (command.epoch < epoch_) return Refusal::OldEpoch;
        if (command.slot >= kMaxSlots) return Refusal::ForeignSlot;
        if (command.epoch == epoch_ && command.slot != slot_) return Refusal::ForeignSlot;
        if (!finite(command)) return Refusal::NotFinite;
        if (command.seq <= last_applied_seq_) return Refusal::Replayed;
        if (command.seq > last_published_seq_) return Refusal::Unpublished;
        if (stamps_[command.seq % kRemembered] != command.state_stamp_ns) return Refusal::Unpublished;
        if (command.publish_stamp_ns > now_ns + kFutureTolerance_ns) return Refusal::FutureStamp;
        // Our own stamp: one in the future would switch the deadline off.
        if (command.state_stamp_ns > now_ns + kFutureTolerance_ns) return Refusal::FutureStamp;
        if (age(command.state_stamp_ns, now_ns) > deadline_ns_) return Refusal::Late;
        return Refusal::None;
    }

    [[nodiscard]] bool finite(const CommandMessage& command) const noexcept {
        for (const JointArray* values : {&command.joint_position, &command.joint_velocity, &command.stiffness,
                                         &command.damping, &command.torque}) {
            if (!finite(*values, joints_)) return false;
        }
        return finite(command.action, action_dim_);
    }

    static bool finite(const JointArray& values, std::size_t count) noexcept {
        return std::all_of(values.begin(), values.begin() + count, [](float value) { return std::isfinite(value); });
    }

    void apply(const CommandMessage& command) noexcept {
        epoch_ = command.epoch;
        slot_ = command.slot;
        last_applied_seq_ = command.seq;
        applied_stamp_ns_ = command.state_stamp_ns;
        output_.mode = Mode::Active;
        output_.reason = command.reason;
        output_.session = session_;
        output_.policy = command.policy;
        output_.seq = command.seq;
        output_.joint_position = command.joint_position;
        output_.joint_velocity = command.joint_velocity;
        output_.stiffness = command.stiffness;
        output_.damping = command.damping;
        output_.torque = command.torque;
        output_.action = command.action;
    }

    /// The first reason stands; where it is only that the timer ran out, gaitd knows more a moment later.
    void noteWhatGaitdSays(const CommandMessage& command) noexcept {
        if (output_.mode != Mode::Damping || output_.reason != Reason::ClientDeadline) return;
        if (output_.gaitd_says.reason != Reason::None || command.reason == Reason::ClientDeadline) return;
        output_.gaitd_says = {command.reason, command.cause};
    }

    void expire() noexcept {
        damp(Reason::ClientDeadline);
        expired_ = true;
    }

    /// The stance begins with the first look after damping latched, and ends with its time.
    void stand(std::uint64_t now_ns) noexcept {
        if (tilted_) return standDown();  // It has fallen, or is falling: stiff legs help nobody.
        if (standing_ == Standing::Yes) {
            if (age(standing_since_ns_, now_ns) >= stance_.duration_ns) standDown();
            return;
        }
        // A loop that stood still itself comes back to a robot that nothing has held up meanwhile: no jump.
        if (age(driven_ns_, now_ns) > deadline_ns_) return standDown();
        standing_ = Standing::Yes;
        standing_since_ns_ = now_ns;
        output_.joint_position = stance_.joint_position;
        output_.stiffness = stance_.stiffness;
        output_.damping = stance_.damping;
    }

    /// Where the joints are held: all of them, or in a stance only those with a brake.
    void hold() noexcept {
        for (std::size_t i = 0; i < joints_; ++i) {
            const bool braked = brake_stiffness_[i] > 0.0F;
            if (standing_ == Standing::No || braked) output_.joint_position[i] = held_position_[i];
            if (!braked) continue;
            output_.stiffness[i] = brake_stiffness_[i];
            output_.damping[i] = fallback_damping_[i];
        }
    }

    /// Everything in the output that asks something of a joint goes to damping.
    void standDown() noexcept {
        standing_ = Standing::No;
        output_.session = session_;
        output_.seq = 0;
        output_.age_ns = 0;
        output_.joint_velocity.fill(0.0F);
        output_.stiffness = brake_stiffness_;
        output_.damping = fallback_damping_;
        output_.torque.fill(0.0F);
        output_.action.fill(0.0F);
    }

    std::size_t joints_;
    std::size_t action_dim_;
    std::uint64_t deadline_ns_ = 0;
    std::uint64_t first_command_ns_ = kFirstCommand_ns;
    JointArray fallback_damping_{};
    Stance stance_;
    JointArray held_position_{};
    JointArray brake_stiffness_{};
    JointArray brake_slip_{};  ///< rad

    std::uint64_t session_ = 0;
    std::uint64_t epoch_ = 0;  ///< The newest one taken: the grant's, or an applied command's.
    std::uint8_t slot_ = 0;    ///< Of the worker that has the joints in this epoch.
    std::uint64_t last_published_seq_ = 0;
    std::uint64_t last_applied_seq_ = 0;
    std::uint64_t applied_stamp_ns_ = 0;
    std::uint64_t waiting_since_ns_ = 0;
    std::uint64_t driven_ns_ = 0;  ///< When decide() last gave an active command.
    std::uint64_t standing_since_ns_ = 0;
    Standing standing_ = Standing::No;
    bool tilted_ = false;
    bool waiting_since_known_ = false;
    bool expired_ = false;
    std::array<std::uint64_t, kRemembered> stamps_{};
    JointCommand output_;
};

}  // namespace gaitd
