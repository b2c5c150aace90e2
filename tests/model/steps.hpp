// What each process may do: guardian, worker loop, client and link, and the properties that must hold after it.
#pragma once

#include <algorithm>

#include "client.hpp"

namespace model {

inline const char* violated = nullptr;

inline void require(bool holds, const char* property) {
    if (!holds && violated == nullptr) violated = property;
}

/// What Guardian._apply does with a new mode, or with a session that is over: the lease follows at once.
inline void guardTurns(State& s, int mode) {
    const int before = s[kGuardSession];
    s.set(kGuardMode, mode);
    if (mode == kIdle) s.set(kGuardSession, 0);
    s.set(kLease, decided("turned", {{mode, 3}}) ? before : 0);
}

/// Whether the session that the guard is active in has been written for the worker.
inline bool isWritten(const State& s) { return !s[kWriting] || !decided("grants", {}); }

/// A command of the session came within the deadline, or it is not long since it began.
inline bool isInTime(const State& s, int lag) {
    const int newest = std::min(s[kCommandAge], s[kBefore]);
    return newest != kNone ? newest <= D + lag : s[kActivateAge] <= F + lag;
}

inline void writeLease(State& s, int lag) {
    require(isWritten(s), "a session is written before the lease names it");
    s.set(kLease, s[kGuardSession]);
    s.set(kBeat, lag);
}

/// The session is granted and the first of its two writes done: a pause before that is one before the request.
inline void grant(State& s, bool ours, int lag) {
    const int fresh = 7;  // A number that nobody holds.
    s.set(kGuardSession, fresh);
    s.set(kGuardMode, kActive);
    s.set(kFed, decided("fed_at_activate", {}));
    s.set(kFedByCommand, 0);
    s.set(kActivateAge, 0);
    for (const Field field : {kCommandAge, kBefore}) s.set(field, kNone);
    s.set(kMoved, 0);
    s.set(kTripped, 0);
    s.set(kOwner, ours);
    s.set(kWriting, 1);
    if (decided("grants", {})) writeLease(s, lag);
}

/// The second one; then the controller gets its reply. The clock was read a little before.
inline void guardWrites(State& s, int lag) {
    if (!decided("grants", {})) writeLease(s, lag);
    s.set(kWriting, 0);
    if (s[kOwner]) s.set(kReplySession, s[kGuardSession]);
}

/// The lease goes to the worker in the other slot, which is ready, under a new epoch of the same session. The guard has just
/// looked at the one that loses it, whose last command may still leave. (The real one does it as in handOver.)
inline void guardMovesLease(State& s) {
    int late = s[kCommands] | s[kOldCommands];
    const bool leaves = s[kPhase] >= kAnswers && tables.at("sends")[static_cast<std::size_t>(s[kPhase] - kAnswers)] == kSend;
    if (leaves && s[kWorkerSession] == s[kClientSession]) late |= 1 << s[kAnswering];
    if (s[kClientSession] == s[kGuardSession]) {
        s.set(kOldCommands, late);
        s.set(kCommands, 0);
        s.set(kClientOld, 1);
    }
    if (s[kReplySession] == s[kGuardSession]) s.set(kReplyOld, 1);
    s.set(kWorkerSession, 0);
    s.set(kWorker, kUp);
    s.set(kReady, 1);
    forgetStep(s);
}

/// What the real guardian says of the session as it is, in a table without and in one with more before it.
inline int about(const State& s, const char* table, int lag) {
    const int command = s[kCommandAge] == kNone ? guardAge + 1 : s[kCommandAge];
    return decided(table, {{s[kFedByCommand], 2}, {s[kFed], guardAge + 1}, {command, guardAge + 2}, {lag, 2}});
}

/// The lease goes to another worker, and the timer is what the real guardian makes of it.
inline void handOver(State& s, const char* table, int lag) {
    require(!s[kTripped], "the guard damps when the worker trips, and the lease does not move");
    require(isInTime(s, lag), "the lease does not move after the deadline");
    const int outcome = about(s, table, lag);
    guardMovesLease(s);
    if (s[kCommandAge] != kNone) {
        require(outcome == 16 + s[kCommandAge], "the timer goes on from the last command");
    }
    s.set(kBefore, s[kCommandAge] != kNone ? s[kCommandAge] : s[kBefore]);
    s.set(kCommandAge, kNone);
    s.set(kFedByCommand, outcome / 16);
    s.set(kFed, outcome % 16);
    writeLease(s, lag);
}

/// Succession._fail_over. False when the real one would not: `silent` asks about a worker that lives.
inline bool guardFailsOver(State& s, bool silent, int lag) {
    if (lag == 1 && s[kCommandAge] == 0) return false;  // It would count from an older command, and so damp earlier.
    const int command = s[kCommandAge] == kNone ? guardAge + 1 : s[kCommandAge];
    const bool movable = decided("movable", {{s[kMoved], 2}, {s[kTripped], 2}, {s[kFedByCommand], 2}, {s[kFed], guardAge + 1},
                                             {command, guardAge + 2}, {lag, 2}, {0, 3}});
    if (!movable || (silent && !about(s, "silent", lag))) return false;
    require(!s[kMoved], "the lease moves once in a session");
    handOver(s, "moved", lag);
    s.set(kMoved, 1);
    return true;
}

/// Sessions._switch_session, of a controller that may. False when the real one refuses.
inline bool guardSwitches(State& s, int lag) {
    if (lag == 1 && s[kCommandAge] == 0) return false;
    const int command = s[kCommandAge] == kNone ? guardAge + 1 : s[kCommandAge];
    const bool switchable = decided("switchable", {{s[kTripped], 2}, {s[kFedByCommand], 2}, {s[kFed], guardAge + 1},
                                                   {command, guardAge + 2}, {lag, 2}, {0, 3}});
    if (!switchable) return false;
    require(s[kCommandAge] != kNone, "the policy changes only from a worker that answers");
    require(!s[kMoved] || decided("returns", {{1, 2}}), "a fresh worker in the first slot gets the next session, not this one");
    handOver(s, "switched", lag);
    return true;
}

/// Succession._undo_switch: the worker that got the session has said nothing. False when the real one would not.
inline bool guardUndoesSwitch(State& s, int lag) {
    if (s[kBefore] == kNone || s[kCommandAge] != kNone) return false;
    if (!decided("undoable", {{s[kTripped], 2}, {s[kFedByCommand], 2}, {s[kFed], guardAge + 1}, {lag, 2}})) return false;
    require(!s[kTripped], "the guard damps when the worker trips, and the lease does not move");
    require(isInTime(s, lag), "the lease does not move after the deadline");
    const int fed = about(s, "undone", lag);
    require(fed == 16 * s[kFedByCommand] + s[kFed], "nothing feeds the timer but commands");
    guardMovesLease(s);
    writeLease(s, lag);
    return true;
}

/// Ours, or of a connection that the client has given up, or of another controller.
inline void serveActivate(State& s, bool ours, int lag) {
    if (ours) s.set(kAsked, 0);
    if (decided("activate", {{s[kGuardMode], 3}, {ours && s[kOwner], 2}, {s[kReady], 2}})) grant(s, ours, lag);
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

inline void reapWorker(State& s) {
    s.set(kWorker, kReaped);
    s.set(kReady, 0);
    guardTurns(s, decided("died", {{s[kGuardMode], 3}}));
    require(s[kGuardMode] != kActive, "the guard damps when it sees the worker's death");
}

/// Guardian._apply, and the end of the worker for some reasons.
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
        s.set(kLease, decided("renewed", {{s[kGuardMode], 3}}) ? s[kGuardSession] : 0);
        return how == Tick::FirstActive;
    }
    s.set(kLease, s[kGuardSession]);
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
        require(isInTime(s, lag), "the guard damps when no command of its session came for the deadline");
        require(!s[kTripped], "the guard damps when the worker trips");
        return true;
    }
    if (outcome == 0) return false;
    guardDamps(s, how == Tick::DampsAndKills);
    return true;
}

inline void guardDies(State& s) {
    // Its memory goes with it, and the kernel kills the worker.
    loseWorker(s);
    s.set(kWorker, kReaped);
    guardTurns(s, kIdle);
    for (const Field field : {kGuardUp, kReady, kAsked, kBeat, kLease, kWriting}) s.set(field, 0);
}

/// Worker._follow_lease.
inline void follow(State& s) {
    const int had = s[kWorkerSession];
    const int has = had == 0 ? 0 : had == s[kLease] ? 1 : 2;
    const bool named = s[kLease] == s[kGuardSession] ? isWritten(s) : !isWritten(s);
    const int after = decided("follow", {{has, 3}, {s[kLease] == 0 ? 0 : named ? 1 : 2, 3}});
    const int session = after == 0 ? 0 : after == 1 ? s[kLease] : had;
    if (session == had) return;
    s.set(kWorkerSession, session);
    forgetStep(s);
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

/// Whether there is a command under way that has not left.
inline bool hasToSend(const State& s) {
    const auto& ops = tables.at("sends");
    return s[kPhase] == kInferring ||
           (s[kPhase] >= kAnswers && std::find(ops.begin() + (s[kPhase] - kAnswers), ops.end(), kSend) != ops.end());
}

inline void workerDrops(State& s) {
    s.set(kPhase, kLooking);
    s.set(kAnswering, 0);
}

/// The next operation of Answerer.answer with its command: one of the table "sends", or the end of "withholds".
inline void workerDoes(State& s) {
    const auto& ops = tables.at("sends");
    const auto here = ops.begin() + (s[kPhase] - kAnswers);
    const auto has = [&](Op op) { return std::find(ops.begin(), here, op) != here; };
    switch (*here) {
        case kReadLease: {
            const int whose = s[kLease] == 0 ? 0 : s[kLease] == s[kWorkerSession] ? 1 : 2;
            if (decided("publish", {{whose, 3}, {s[kBeat], kNone}})) {
                require(whose == 1 && s[kBeat] < D, "a worker answers only under a lease of its own that has not expired");
                break;
            }
            for (const int op : tables.at("withholds")) {
                require(op == kStage || op == kReadLease || op == kSettle, "a command that is withheld changes nothing");
            }
            return workerDrops(s);
        }
        case kSend:
            require(has(kReadLease), "a worker reads the lease before it sends");
            require(has(kStage), "a command's record is there before it leaves");
            if (s[kWorkerSession] == s[kClientSession]) s.set(kCommands, s[kCommands] | 1 << s[kAnswering]);
            s.set(kAnswering, 0);
            break;
        case kMarkSent:
        case kNoteCommand:
        case kCommit:
            require(has(kSend), "a command that is withheld changes nothing");
            if (*here == kNoteCommand && s.guardHas(s[kWorkerSession])) s.set(kCommandAge, 0);
    }
    if (here + 1 == ops.end()) return workerDrops(s);
    s.set(kPhase, s[kPhase] + 1);
}

/// Up to the next operation that another process can see, and that one. Around the others a pause or a death is the same
/// as at the one before.
inline void workerAnswers(State& s) {
    const auto& ops = tables.at("sends");
    const auto isPrivate = [&] {
        const int op = ops[static_cast<std::size_t>(s[kPhase] - kAnswers)];
        return op == kStage || op == kMarkSent || op == kCommit || op == kSettle;
    };
    while (s[kPhase] >= kAnswers && isPrivate()) workerDoes(s);
    if (s[kPhase] >= kAnswers) workerDoes(s);
    while (s[kPhase] >= kAnswers && isPrivate()) workerDoes(s);
}

/// The step comes to a command. Nobody sees that, so a pause after it is a longer inference.
inline void workerFinishes(State& s) {
    s.set(kPhase, kAnswers);
    workerAnswers(s);
}

inline void workerTrips(State& s) {
    if (s.guardHas(s[kWorkerSession]) && decided("trips", {})) s.set(kTripped, 1);
    workerDrops(s);
}

inline void noteLatched(const State& before, const State& after) {
    require(before[kClientMode] != kDamping || after[kClientMode] != kActive,
            "no ACTIVE is applied after damping latched without a new activate");
}

/// Whatever happens: what the guard has written is what it has decided.
inline void noteLease(const State& s) {
    require(s[kLease] == 0 || s[kWriting] || s.guardHas(s[kLease]), "the lease names only a session in which the guard is active");
}

/// Whatever happens: a stance follows commands alone, and never begins again or becomes younger.
inline void noteStance(const State& before, const State& after) {
    if (after[kClientMode] != kDamping || after[kStance] == kNoStance) return;
    require(before[kClientMode] != kIdle, "no stance but after commands that were applied");
    require(before[kClientMode] != kDamping || (before[kStance] != kNoStance && before[kStance] <= after[kStance]),
            "a stance that is over does not come back, and none begins anew");
}

inline void clientGetsCommand(State& s, int age, int lag, Ask what) {
    const Client after = ask(s, what, age, lag);
    if (after.refusal != Refusal::None) return;
    require(what != Ask::OfferForeignActive, "no command of another session is applied");
    require(what != Ask::OfferOldActive || s[kClientOld], "no command of an older epoch is applied after one of a newer");
    require(age - lag <= D, "no command is applied that answers a state older than the deadline");
    require(s[kApplied] == kNone || age < s[kApplied], "no command is applied after a newer one");
    const State before = s;
    take(s, after);
    noteLatched(before, s);
}

inline void clientGetsDamping(State& s, bool foreign) {
    const Client after = ask(s, foreign ? Ask::OfferForeignDamping : Ask::OfferDamping);
    const State before = s;
    take(s, after);
    require(!foreign || s.f == before.f, "damping of another session changes nothing");
    require(foreign || s[kClientMode] == kDamping, "the client damps when the guard says so");
}

inline void noteLimp(const Client& after) {
    require(after.stance == kNoStance && !after.stiff, "whoever asks for damping ends the stance");
}

inline void clientGetsOperatorsDamping(State& s) {
    const Client after = ask(s, Ask::OfferOperator);
    take(s, after);
    noteLimp(after);
}

inline void clientDecides(State& s, int lag, Ask how = Ask::Decide) {
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
        require(how == Ask::Decide || before[kStance] >= kHeld, "no stance after the client stood still");
    }
}

/// One state in a control step, and only those of a session matter.
inline bool clientMayPublish(const State& s) { return !(s[kStates] & 1) && ask(s, Ask::Sample).publishes; }

inline void clientPublishes(State& s) { s.set(kStates, s[kStates] | 1); }

inline void clientTakesReply(State& s) {
    const int session = s[kReplySession];
    s.set(kReplySession, 0);
    take(s, ask(s, Ask::Begin));
    s.set(kClientSession, session);
    s.set(kClientOld, s[kReplyOld]);
    s.set(kReplyOld, 0);
    forgetClientTraffic(s);
    s.set(kGone, s.guarded(session) ? 0 : commandAge);
}

/// Link::timeOut: a new socket, which the guard does not know as the session's owner.
inline void clientGivesUp(State& s) {
    for (const Field field : {kAsked, kReplySession, kOwner}) s.set(field, 0);
}

inline void clientAsksActivate(State& s) { s.set(kAsked, s[kGuardUp]); }

inline void clientAsksDamping(State& s) {
    const Client after = ask(s, Ask::Damp);
    take(s, after);
    noteLimp(after);
}

inline void clientReleases(State& s) {
    const State before = s;
    take(s, ask(s, Ask::End));
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
    for (const Field field : {kCommandAge, kBefore}) s.set(field, older(s[field], D + 2));
    if (s[kGuardUp]) s.set(kBeat, older(s[kBeat], beatAge));
    s.set(kLastState, s[kLastState] >= stateAge ? kNone : s[kLastState] + 1);
    s.set(kNewest, older(s[kNewest], stateAge));
    if (hasToSend(s)) s.set(kAnswering, older(s[kAnswering], commandAge));
    s.set(kStates, olderMask(s[kStates], stateAge));
    for (const Field field : {kCommands, kOldCommands}) s.set(field, olderMask(s[field], commandAge));
    s.set(kApplied, older(s[kApplied], commandAge));
    s.set(kWaiting, older(s[kWaiting], F + 2));
    if (s[kStance] >= kHeld) s.set(kStance, std::min(s[kStance] + 1, kHeld + kStanceSteps + 1));
}

}  // namespace model
