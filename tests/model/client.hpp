// The client's decisions, made by the real gaitd::Latch.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "state.hpp"

// The model sets a latch to any state and reads it back; the latch has no use for such a door itself.
#define private public
#include <gaitd/latch.hpp>
#undef private

namespace model {

using gaitd::Latch;
using gaitd::Mode;
using gaitd::Refusal;

constexpr std::uint64_t kNow_ns = 1'000'000'000'000;
constexpr std::uint64_t kNewestSeq = 100;

inline std::uint64_t at(int age) { return kNow_ns - static_cast<std::uint64_t>(age) * kUnit_ns; }

struct Client {
    int mode, applied, waiting, session, publishes, stance;
    bool stiff;
    Refusal refusal = Refusal::None;
    bool asked = false;
};

enum class Op {
    Begin, End, Damp, OfferActive, OfferForeignActive, OfferDamping, OfferOperator, OfferForeignDamping, Decide,
    DecideAfterStandstill,  // Its loop last gave the motors a command long ago.
    Sample
};

/// One operation of the latch. States are numbered by their age: one was published in every control step.
inline Client ask(const State& s, Op op, int age = 0, int lag = 0) {
    static std::vector<Client> known(8 * 16 * 16 * 2 * 16 * 32);
    const int kind = s[kClientMode] == kDamping ? kDamping + s[kStance] : s[kClientMode];
    const int number = kind * 16 + s[kApplied];
    const int inSession = s[kClientSession] != 0;
    Client& answer = known[static_cast<std::size_t>(
        (((number * 16 + s[kWaiting]) * 2 + inSession) * 16 + static_cast<int>(op)) * 32 + age * 2 + lag)];
    if (answer.asked) return answer;

    constexpr std::uint64_t kSession = 7;
    Latch latch(1, 2.0F);
    latch.deadline_ns_ = static_cast<std::uint64_t>(D) * kUnit_ns;
    latch.session_ = s[kClientSession] != 0 ? kSession : 0;
    latch.last_published_seq_ = kNewestSeq;
    for (int i = 0; i <= kNone; ++i) latch.stamps_[kNewestSeq - static_cast<std::uint64_t>(i)] = at(i);
    latch.last_applied_seq_ = s[kApplied] == kNone ? 0 : kNewestSeq - static_cast<std::uint64_t>(s[kApplied]);
    latch.applied_stamp_ns_ = at(s[kApplied]);
    latch.waiting_since_known_ = s[kWaiting] != kNone;
    latch.waiting_since_ns_ = at(s[kWaiting]);
    latch.output_.mode = static_cast<Mode>(s[kClientMode]);
    latch.stance_.duration_ns = static_cast<std::uint64_t>(kStanceSteps) * kUnit_ns;
    latch.stance_.stiffness[0] = 1.0F;
    latch.standing_ = static_cast<Latch::Standing>(std::min<int>(s[kStance], kHeld));
    if (s[kStance] >= kHeld) {
        latch.standing_since_ns_ = at(s[kStance] - kHeld);
        latch.output_.stiffness[0] = 1.0F;
    }
    latch.driven_ns_ = op == Op::DecideAfterStandstill ? 0 : kNow_ns;

    const std::uint64_t now_ns = at(lag);
    gaitd::CommandMessage command;
    const bool foreign = op == Op::OfferForeignActive || op == Op::OfferForeignDamping;
    command.session = foreign ? kSession + 1 : latch.session_;
    command.seq = kNewestSeq - static_cast<std::uint64_t>(age);
    command.state_stamp_ns = at(age) + (foreign ? 1 : 0);  // No two states have the same stamp.
    command.publish_stamp_ns = command.state_stamp_ns;
    const bool operators = op == Op::OfferOperator || op == Op::OfferForeignDamping;
    command.mode = operators || op == Op::OfferDamping ? Mode::Damping : Mode::Active;
    if (operators) command.reason = gaitd::Reason::Operator;

    Client after{};
    after.asked = true;
    switch (op) {
        case Op::Begin: latch.begin(kSession, 0, 0); break;
        case Op::End: latch.end(); break;
        case Op::Damp: latch.damp(gaitd::Reason::Operator); break;
        case Op::Decide:
        case Op::DecideAfterStandstill: latch.decide(now_ns); break;
        case Op::Sample: break;
        default: after.refusal = latch.offer(command, now_ns);
    }
    after.mode = static_cast<int>(latch.output_.mode);
    after.session = latch.session_ != 0;
    after.publishes = latch.sampleSession() != 0;
    after.applied = latch.last_applied_seq_ == 0 ? kNone : static_cast<int>(kNewestSeq - latch.last_applied_seq_);
    after.waiting = latch.waiting_since_known_ ? static_cast<int>((kNow_ns - latch.waiting_since_ns_) / kUnit_ns) : kNone;
    after.stance = latch.standing_ == Latch::Standing::Yes
                       ? kHeld + static_cast<int>((kNow_ns - latch.standing_since_ns_) / kUnit_ns)
                       : static_cast<int>(latch.standing_);
    after.stiff = latch.output_.stiffness[0] != 0.0F;
    return answer = after;
}

inline void take(State& s, const Client& client) {
    s.set(kClientMode, client.mode);
    s.set(kApplied, client.applied);
    s.set(kWaiting, client.waiting);
    s.set(kStance, client.stance);
    if (!client.session) s.set(kClientSession, 0);
}

}  // namespace model
