// The state of everything: what the processes hold and what is on its way between them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "decided.hpp"

namespace model {

// Sessions are told apart by number, and the numbers renamed in the order of these fields. An epoch stands for its
// session; where the lease moves within one, the newest epoch and all before it are told apart.
enum Field {
    kClientSession, kGuardSession, kWorkerSession, kReplySession, kLease,
    kGuardUp, kGuardMode, kFed, kFedByCommand, kOwner, kReady, kBeat, kActivateAge,
    kWriting,  // The guard has one of two writes to shared memory still to do for a session that it grants.
    kCommandAge, kTripped,                             // Of the guard's session, in the worker's memory.
    kWorker, kLastState, kNewest, kPhase, kAnswering,  // The worker and its step.
    kStates, kCommands, kAsked,                        // On their way from or to the client; of its session, by age.
    kClientMode, kApplied, kWaiting, kStance,
    kGone,  // How long the client's session has had no guard that is active in it and ticks.
    kMoved,   // The session has gone to the standby.
    kBefore,  // The age of the newest command that the worker before the standby noted.
    kOldCommands, kClientOld, kReplyOld,  // On their way with an older epoch than the newest; the client knows an older one.
    kFields
};
constexpr std::array<int, kFields> kBits = {3, 3, 3, 3, 3, 1, 2, 4, 1, 1, 1, 4, 4, 1, 4, 1, 2, 4, 4, 4, 4, 4, 8, 1, 2, 4, 4, 3, 4, 1, 4, 8, 1, 1};
enum WorkerIs { kDead, kReaped, kStarting, kUp };
/// From kAnswers on: about to do the operation of that number, of those that follow the inference (table "sends").
enum PhaseIs { kLooking, kInferring, kAnswers };
/// Operations of a worker that answers (support/watched.py).
enum Op { kStage = 1, kReadLease, kSend, kMarkSent, kNoteCommand, kCommit, kSettle };
/// The stance that damping may begin with. kHeld is the first of its ages, in control steps.
enum StanceIs { kNoStance, kDue, kHeld };
constexpr int kStanceSteps = 1;

using Packed = unsigned __int128;

struct State {
    std::array<std::uint8_t, kFields> f{};
    int operator[](Field field) const { return f[field]; }
    void set(Field field, int value) { f[field] = static_cast<std::uint8_t>(value); }

    [[nodiscard]] bool guardHas(int session) const {
        return session != 0 && f[kGuardUp] != 0 && f[kGuardMode] == kActive && f[kGuardSession] == session;
    }
    /// The guard is active in it, or about to write that it has granted another one, and was awake within the deadline.
    [[nodiscard]] bool guarded(int session) const {
        const bool beforeWriting = session != 0 && f[kWriting] != 0 && f[kLease] == session;
        return (guardHas(session) || beforeWriting) && f[kBeat] < D;
    }
};

inline Packed pack(const State& state) {
    Packed packed = 0;
    for (int i = 0; i < kFields; ++i) {
        if (state.f[i] >> kBits[i]) std::abort();
        packed = packed << kBits[i] | state.f[i];
    }
    return packed;
}

inline State unpack(Packed packed) {
    State state;
    for (int i = kFields - 1; i >= 0; --i) {
        state.f[i] = static_cast<std::uint8_t>(packed & ((1U << kBits[i]) - 1));
        packed >>= kBits[i];
    }
    return state;
}

inline void forgetClientTraffic(State& s) {
    for (const Field field : {kStates, kCommands, kOldCommands}) s.set(field, 0);
}

inline void forgetStep(State& s) {
    for (const Field field : {kPhase, kAnswering}) s.set(field, 0);
    for (const Field field : {kLastState, kNewest}) s.set(field, kNone);
}

inline void loseWorker(State& s) {
    s.set(kWorker, kDead);
    s.set(kWorkerSession, 0);
    forgetStep(s);
}

/// Whether the guard, once there is a command, measures its silence from the newest one alone. (One that came after
/// the guard read its clock does not count yet: see tick.)
inline bool feedingIsSimple = false;

inline bool commandOutweighsFeeding() {
    for (int command = 0; command <= guardAge; ++command) {
        for (int fed = command; fed <= guardAge; ++fed) {
            for (int rest = 0; rest < 2 * 2 * 2 * 4; ++rest) {
                if (command == 0 && rest / 4 % 2 == 1) continue;
                const auto outcome = [&](int by, int of) {
                    return decided("tick", {{by, 2}, {of, guardAge + 1}, {command, guardAge + 2}, {rest / 4 % 4, 4}, {rest % 4, 4}});
                };
                if (outcome(rest / 16, fed) != outcome(1, command)) return false;
            }
        }
    }
    return true;
}

/// The one form of states that nothing can tell apart.
inline State normal(State s) {
    if (s[kGuardMode] != kActive) {
        for (const Field field : {kFed, kFedByCommand, kOwner, kActivateAge, kTripped}) s.set(field, 0);
        for (const Field field : {kCommandAge, kBefore}) s.set(field, kNone);
        s.set(kMoved, 0);
    }
    if (s[kCommandAge] != kNone) s.set(kBefore, kNone);
    if (s[kCommandAge] != kNone || s[kBefore] != kNone) s.set(kActivateAge, 0);
    if (s[kClientSession] == 0 || s[kClientMode] == kDamping || s.guarded(s[kClientSession])) s.set(kGone, 0);
    if (s[kClientSession] == 0) forgetClientTraffic(s);
    if (s[kCommandAge] != kNone && feedingIsSimple) {
        s.set(kFed, s[kCommandAge]);
        s.set(kFedByCommand, 1);
    }
    if (s[kClientMode] == kDamping) {
        s.set(kApplied, kNone);
        s.set(kWaiting, kNone);
    } else {
        s.set(kStance, kNoStance);
    }
    // What is offered in any case (successors) need not be remembered.
    for (const Field field : {kCommands, kOldCommands}) {
        s.set(field, s[kClientMode] == kDamping ? 0 : s[field] & ((1 << std::min(s[kApplied], commandAge)) - 1));
    }
    if (s[kClientSession] == 0 || s[kClientMode] == kDamping) s.set(kClientOld, 0);
    if (s[kReplySession] == 0) s.set(kReplyOld, 0);
    // What one worker has taken, the one that gets the lease after it has not.
    const int taken = !movesLease && !hasStandby && !switches && s[kWorkerSession] == s[kClientSession] ? s[kLastState] + 1 : stateAge;
    s.set(kStates, s[kStates] & ((1 << std::min(taken, stateAge)) - 1));
    std::array<int, 8> names{};
    int next = 1;
    for (const Field field : {kClientSession, kGuardSession, kWorkerSession, kReplySession, kLease}) {
        int& name = names[static_cast<std::size_t>(s[field])];
        if (s[field] != 0 && name == 0) name = next++;
        s.set(field, name);
    }
    return s;
}

}  // namespace model
