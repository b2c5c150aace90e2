// What each process may do: supervisor, worker loop, client and link, and the properties that must hold after it.
#pragma once

#include <algorithm>

#include "client.hpp"

namespace model {

inline const char* violated = nullptr;

inline void require(bool holds, const char* property) {
    if (!holds && violated == nullptr) violated = property;
}

/// What supervisor._apply does with a new mode: the word that the worker checks follows from it at once.
inline void guardTurns(State& s, int mode) {
    s.set(kGuardMode, mode);
    if (mode == kIdle) s.set(kGuardSession, 0);
}

inline void grant(State& s, bool ours) {
    const int fresh = 7;  // A number that nobody holds.
    s.set(kGuardSession, fresh);
    s.set(kGuardMode, kActive);
    s.set(kFed, decided("fed_at_activate", {}));
    s.set(kFedByCommand, 0);
    s.set(kActivateAge, 0);
    s.set(kCommandAge, kNone);
    s.set(kTripped, 0);
    s.set(kOwner, ours);
    if (ours) s.set(kReplySession, fresh);
}

/// Ours, or of a connection that the client has given up, or of another controller.
inline void serveActivate(State& s, bool ours) {
    if (ours) s.set(kAsked, 0);
    if (decided("activate", {{s[kGuardMode], 3}, {ours && s[kOwner], 2}, {s[kReady], 2}})) grant(s, ours);
}

/// From the client or anybody, named or not: it is possible at any time.
inline void serveDamp(State& s) {
    const int mode = decided("damp", {{s[kGuardMode], 3}, {0, 3}});
    if (mode != s[kGuardMode]) guardTurns(s, mode);
}

/// One that the owner of the session once sent, and that may still be on its way.
inline void serveRelease(State& s) {
    const int mode = decided("release", {{s[kGuardMode], 3}, {0, 2}, {1, 2}});
    if (mode != s[kGuardMode]) guardTurns(s, mode);
}

inline void buryWorker(State& s) {
    s.set(kWorker, kBuried);
    s.set(kReady, 0);
    guardTurns(s, decided("died", {{s[kGuardMode], 3}}));
    require(s[kGuardMode] != kActive, "the guard damps when it sees the worker's death");
}

/// supervisor._apply, and the end of the worker for some reasons.
inline void guardDamps(State& s, bool kills) {
    guardTurns(s, kDamping);
    if (!kills) return;
    s.set(kReady, 0);
    if (s[kWorker] >= kStarting) loseWorker(s);
}

enum class Tick { FirstActive, SecondActive, Damps, DampsAndKills };

/// False when the tick cannot end like that.
inline bool tick(State& s, Tick how, int lag) {
    s.set(kBeat, lag);
    if (s[kGuardMode] != kActive) {
        return how == Tick::FirstActive;
    }
    if (feedingIsSimple && lag == 1 && s[kCommandAge] == 0) {  // Judged by whatever there was before.
        if (how == Tick::Damps || how == Tick::DampsAndKills) guardDamps(s, how == Tick::DampsAndKills);
        return how != Tick::SecondActive;
    }
    const int command = s[kCommandAge] == kNone ? guardAge + 1 : s[kCommandAge];
    const int outcome = decided("tick", {{s[kFedByCommand], 2}, {s[kFed], guardAge + 1}, {command, guardAge + 2},
                                         {s[kTripped], 2}, {lag, 2}, {static_cast<int>(how), 4}});
    if (how == Tick::FirstActive || how == Tick::SecondActive) {
        if (outcome < 0) return false;
        s.set(kFedByCommand, outcome / 16);
        s.set(kFed, outcome % 16);
        const bool fed = s[kCommandAge] != kNone ? s[kCommandAge] <= D + lag : s[kActivateAge] <= F + lag;
        require(fed, "the guard damps when no command of its session came for the deadline");
        require(!s[kTripped], "the guard damps when the worker trips");
        return true;
    }
    if (outcome == 0) return false;
    guardDamps(s, how == Tick::DampsAndKills);
    return true;
}

inline void guardDies(State& s) {
    // The blackboard goes with it, and the kernel kills the worker.
    loseWorker(s);
    s.set(kWorker, kBuried);
    guardTurns(s, kIdle);
    for (const Field field : {kGuardUp, kReady, kAsked, kBeat}) s.set(field, 0);
}

/// Worker._follow_session.
inline void follow(State& s) {
    const int active = s[kGuardMode] == kActive ? s[kGuardSession] : 0;
    if (active == s[kWorkerSession]) return;
    s.set(kWorkerSession, active);
    forgetRunner(s);
}

/// One state of a session reaches the worker; those of other sessions are refused (checked at the start).
inline void workerTakes(State& s, int age) {
    if (decided("take", {{std::min(s[kLastState], stateAge + 1), stateAge + 2}, {age, stateAge + 1}, {0, 2}})) {
        s.set(kLastState, age);
        s.set(kNewest, age);
    }
}

inline void workerBegins(State& s) {
    const int age = s[kNewest];
    s.set(kNewest, kNone);
    if (!decided("begin", {{age, stateAge + 1}})) return;
    s.set(kPhase, kInferring);
    s.set(kAnswering, age);
}

inline void workerFinishes(State& s) {
    const int active = s.guardHas(s[kWorkerSession]);
    const bool may = decided("publish", {{active, 2}, {s[kBeat], kNone}});
    s.set(kPhase, may ? kMaySend : kLooking);
    if (!may) s.set(kAnswering, 0);
}

inline void workerSends(State& s) {
    if (s[kWorkerSession] == s[kClientSession]) s.set(kCommands, s[kCommands] | 1 << s[kAnswering]);
    s.set(kPhase, kSent);
    s.set(kAnswering, 0);
}

inline void workerNotes(State& s) {
    if (s.guardHas(s[kWorkerSession])) s.set(kCommandAge, 0);
    s.set(kPhase, kLooking);
}

inline void workerTrips(State& s) {
    if (s.guardHas(s[kWorkerSession]) && decided("trips", {})) s.set(kTripped, 1);
    s.set(kPhase, kLooking);
    s.set(kAnswering, 0);
}

inline void noteLatched(const State& before, const State& after) {
    require(before[kClientMode] != kDamping || after[kClientMode] != kActive,
            "no ACTIVE is applied after damping latched without a new activate");
}

/// Whatever happens: a stance follows commands alone, and never begins again or becomes younger.
inline void noteStance(const State& before, const State& after) {
    if (after[kClientMode] != kDamping || after[kStance] == kNoStance) return;
    require(before[kClientMode] != kIdle, "no stance but after commands that were applied");
    require(before[kClientMode] != kDamping || (before[kStance] != kNoStance && before[kStance] <= after[kStance]),
            "a stance that is over does not come back, and none begins anew");
}

inline void clientGetsCommand(State& s, int age, int lag, bool foreign) {
    const Client after = ask(s, foreign ? Op::OfferForeignActive : Op::OfferActive, age, lag);
    if (after.refusal != Refusal::None) return;
    require(!foreign, "no command of another session is applied");
    require(age - lag <= D, "no command is applied that answers a state older than the deadline");
    require(s[kApplied] == kNone || age < s[kApplied], "no command is applied after a newer one");
    const State before = s;
    take(s, after);
    noteLatched(before, s);
}

inline void clientGetsDamping(State& s, bool foreign) {
    const Client after = ask(s, foreign ? Op::OfferForeignDamping : Op::OfferDamping);
    const State before = s;
    take(s, after);
    require(!foreign || s.f == before.f, "damping of another session changes nothing");
    require(foreign || s[kClientMode] == kDamping, "the client damps when the guard says so");
}

inline void noteLimp(const Client& after) {
    require(after.stance == kNoStance && !after.stiff, "whoever asks for damping ends the stance");
}

inline void clientGetsOperatorsDamping(State& s) {
    const Client after = ask(s, Op::OfferOperator);
    take(s, after);
    noteLimp(after);
}

inline void clientDecides(State& s, int lag, Op how = Op::Decide) {
    const State before = s;
    const Client after = ask(s, how, 0, lag);
    take(s, after);
    noteLatched(before, s);
    if (s[kClientMode] == kActive) {
        require(s[kApplied] - lag <= D, "the client damps when its newest command is older than the deadline");
        require(s.guarded(s[kClientSession]) || s[kGone] <= D + lag, "the client damps within the deadline after its session has no living guard");
    }
    if (s[kClientMode] == kIdle && s[kClientSession] != 0) {
        require(s[kWaiting] - lag <= F, "the client damps when the first command does not come");
    }
    if (s[kClientMode] == kDamping && after.stiff) {
        require(s[kStance] - kHeld - lag < kStanceSteps, "the stance ends with its time");
        require(how == Op::Decide || before[kStance] >= kHeld, "no stance after the client stood still");
    }
}

/// One state in a control step, and only those of a session matter.
inline bool clientMayPublish(const State& s) { return !(s[kStates] & 1) && ask(s, Op::Sample).publishes; }

inline void clientPublishes(State& s) { s.set(kStates, s[kStates] | 1); }

inline void clientTakesReply(State& s) {
    const int session = s[kReplySession];
    s.set(kReplySession, 0);
    take(s, ask(s, Op::Begin));
    s.set(kClientSession, session);
    forgetClientTraffic(s);
    s.set(kGone, s.guarded(session) ? 0 : commandAge);
}

/// Link::timeOut: a new socket, which the guard does not know as the session's owner.
inline void clientGivesUp(State& s) {
    for (const Field field : {kAsked, kReplySession, kOwner}) s.set(field, 0);
}

inline void clientAsksActivate(State& s) { s.set(kAsked, s[kGuardUp]); }

inline void clientAsksDamping(State& s) {
    const Client after = ask(s, Op::Damp);
    take(s, after);
    noteLimp(after);
}

inline void clientReleases(State& s) {
    const State before = s;
    take(s, ask(s, Op::End));
    noteLatched(before, s);
    require(s[kClientMode] != kActive && s[kStance] == kNoStance, "the client stands down when it releases");
}

inline void clientRestarts(State& s) {
    clientGivesUp(s);
    s.set(kClientSession, 0);
    s.set(kClientMode, kIdle);
    s.set(kApplied, kNone);
    s.set(kWaiting, kNone);
}

inline int older(int age, int oldest) { return age == kNone ? kNone : std::min(age + 1, oldest); }
inline int olderMask(int mask, int oldest) { return (mask << 1 & ((1 << (oldest + 1)) - 1)) | (mask & 1 << oldest); }

inline void timePasses(State& s) {
    s.set(kGone, s.guarded(s[kClientSession]) ? 0 : older(s[kGone], commandAge));
    for (const Field field : {kFed, kActivateAge}) s.set(field, older(s[field], guardAge));
    s.set(kCommandAge, older(s[kCommandAge], D + 2));
    if (s[kGuardUp]) s.set(kBeat, older(s[kBeat], beatAge));
    s.set(kLastState, s[kLastState] >= stateAge ? kNone : s[kLastState] + 1);
    s.set(kNewest, older(s[kNewest], stateAge));
    if (s[kPhase] != kLooking && s[kPhase] != kSent) s.set(kAnswering, older(s[kAnswering], commandAge));
    s.set(kStates, olderMask(s[kStates], stateAge));
    s.set(kCommands, olderMask(s[kCommands], commandAge));
    s.set(kApplied, older(s[kApplied], commandAge));
    s.set(kWaiting, older(s[kWaiting], F + 2));
    if (s[kStance] >= kHeld) s.set(kStance, std::min(s[kStance] + 1, kHeld + kStanceSteps + 1));
}

}  // namespace model
