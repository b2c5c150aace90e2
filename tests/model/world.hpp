// All that can happen in a state, and what does happen when nothing fails any more.
#pragma once

#include <algorithm>

#include "steps.hpp"

namespace model {

template <class Emit>
void successors(const State& s, Emit emit) {
    const auto step = [&](const char* what, int number, auto change) {
        State next = s;
        change(next);
        emit(what, number, next);
    };
    step("time passes", 0, timePasses);

    // The guardian; between two of these anything may happen, and its clock may be one step old.
    if (s[kGuardUp]) step("the guard dies", 0, guardDies);
    if (s[kWriting]) {  // The guard does nothing else until these are done.
        for (const int lag : {0, 1}) step("the guard writes what it granted", lag, [&](State& n) { guardWrites(n, lag); });
    } else if (s[kGuardUp]) {
        if (s[kWorker] == kDead) step("the guard sees the worker's death", 0, reapWorker);
        if (switches && s[kGuardMode] == kActive) {
            for (const int lag : {0, 1}) {
                State next = s;
                if (guardSwitches(next, lag)) emit("the guard answers switch", lag, next);
                next = s;
                if (guardUndoesSwitch(next, lag)) emit("the guard undoes a switch", lag, next);
            }
        }
        if (hasStandby && s[kGuardMode] == kActive) {
            for (const int lag : {0, 1}) {
                State next = s;
                if (s[kWorker] == kDead && guardFailsOver(next, false, lag)) emit("the guard sees the worker's death; the standby goes on", lag, next);
                next = s;
                if (guardFailsOver(next, true, lag)) emit("the guard finds the worker silent; the standby goes on", lag, next);
            }
        }
        if (s[kWorker] == kReaped) step("the guard starts a worker", 0, [](State& n) { n.set(kWorker, kStarting); });
        if (s[kWorker] == kUp && !s[kReady]) step("the guard learns that the worker is ready", 0, [](State& n) { n.set(kReady, 1); });
        if (s[kAsked]) step("the guard answers activate", 0, [](State& n) { serveActivate(n, true, 0); });
        step("the guard answers another controller's activate", 0, [](State& n) { serveActivate(n, false, 0); });
        step("the guard answers damp", 0, serveDamp);
        if (s[kGuardMode] != kIdle) step("the guard answers release", 0, serveRelease);
        for (const int lag : {0, 1}) {
            for (const Tick how : {Tick::FirstActive, Tick::SecondActive, Tick::Damps, Tick::DampsAndKills}) {
                State next = s;
                if (tick(next, how, lag)) emit("the guard ticks", lag, next);
            }
        }
        if (movesLease && s[kGuardMode] == kActive && !s[kTripped]) step("the guard moves the lease", 0, guardMovesLease);
    } else {
        step("the guard starts", 0, [](State& n) { n.set(kGuardUp, 1); n.set(kBeat, 0); });
    }

    // The worker.
    if (s[kWorker] >= kStarting) step("the worker dies", 0, loseWorker);
    if (s[kWorker] == kStarting) step("the worker is up", 0, [](State& n) { n.set(kWorker, kUp); });
    if (s[kWorker] == kUp && s[kPhase] == kLooking) {
        State loop = s;
        if (s[kNewest] == kNone) follow(loop);  // Once a turn, before the channel is emptied.
        const bool own = loop[kWorkerSession] != 0 && loop[kWorkerSession] == s[kClientSession];
        const bool some = loop[kWorkerSession] != 0 && loop[kWorkerSession] != s[kReplySession];
        for (int age = 0; age <= stateAge && some; ++age) {
            // Of a session that the client has left, states of any age may still be on their way.
            const bool remembered = age < stateAge && age <= loop[kLastState];
            if (own && remembered && !(s[kStates] >> age & 1)) continue;
            State next = loop;
            workerTakes(next, age);
            emit("the worker takes a state of age", age, next);
        }
        emit("the worker follows the session", 0, loop);
        if (s[kNewest] != kNone) step("the worker begins to infer", 0, workerBegins);
    }
    if (s[kPhase] == kInferring) {
        step("the worker finishes its step", 0, workerFinishes);
        step("the worker's action trips a limit", 0, workerTrips);
        step("the worker's action is rejected", 0, workerDrops);
    }
    if (s[kPhase] >= kAnswers) step("the worker does its next operations", s[kPhase] - kAnswers, workerAnswers);

    // The client; its clock may be one step old.
    for (const int lag : {0, 1}) {
        for (int age = 0; age <= commandAge; ++age) {
            const bool remembered = s[kClientMode] != kDamping && age < std::min(s[kApplied], commandAge);
            if (s[kClientSession] && (!remembered || s[kCommands] >> age & 1)) {
                step("the client gets the answer to a state of age", age, [&](State& n) { clientGetsCommand(n, age, lag, Ask::OfferActive); });
            }
            if ((movesLease || hasStandby || switches) && s[kClientSession] && (!remembered || s[kOldCommands] >> age & 1)) {
                step("the client gets an answer of an older epoch", age, [&](State& n) { clientGetsCommand(n, age, lag, Ask::OfferOldActive); });
            }
            step("the client gets another session's answer", age, [&](State& n) { clientGetsCommand(n, age, lag, Ask::OfferForeignActive); });
        }
        step("the client decides", lag, [&](State& n) { clientDecides(n, lag); });
        if (s[kClientMode] == kActive || s[kStance] == kDue) {
            step("the client decides after a standstill", lag,
                 [&](State& n) { clientDecides(n, lag, Ask::DecideAfterStandstill); });
        }
    }
    if (s[kClientSession]) step("the client gets damping", 0, [](State& n) { clientGetsDamping(n, false); });
    if (s[kClientSession]) step("the client gets an operator's damping", 0, clientGetsOperatorsDamping);
    step("the client gets another session's damping", 0, [](State& n) { clientGetsDamping(n, true); });
    if (clientMayPublish(s)) step("the client publishes a state", 0, clientPublishes);
    if (s[kReplySession]) step("the client takes the reply", 0, clientTakesReply);
    if (!s[kReplySession]) step("the client asks for activate", 0, clientAsksActivate);
    step("the client gives up what it asked", 0, clientGivesUp);
    step("the client asks for damping", 0, clientAsksDamping);
    if (s[kClientSession]) step("the client releases", 0, clientReleases);
    step("the client's process is replaced", 0, clientRestarts);
}

/// The next step when nothing fails any more and the client wants to walk.
inline State recovered(const State& s) {
    State n = s;
    const auto newest = [](int mask) { return mask == 0 ? kNone : __builtin_ctz(static_cast<unsigned>(mask)); };
    if (!s[kGuardUp]) return n.set(kGuardUp, 1), n.set(kBeat, 0), n;
    if (s[kWriting]) return guardWrites(n, 0), n;
    if (s[kWorker] == kDead) return reapWorker(n), n;
    if (s[kWorker] == kReaped) return n.set(kWorker, kStarting), n;
    if (s[kWorker] == kStarting) return n.set(kWorker, kUp), n;
    if (!s[kReady]) return n.set(kReady, 1), n;
    if (s[kAsked] && s[kBeat] != 0) return serveActivate(n, true, 0), n;
    if (s[kReplySession]) return clientTakesReply(n), n;
    if (s[kPhase] == kInferring) return workerFinishes(n), n;
    if (s[kPhase] >= kAnswers) return workerAnswers(n), n;
    if (s[kNewest] != kNone) return workerBegins(n), n;
    follow(n);
    if (n[kWorkerSession] != 0 && n[kWorkerSession] == s[kClientSession] && s[kStates] != 0) {
        workerTakes(n, newest(s[kStates]));
    }
    if (n.f != s.f) return n;
    if (s[kClientSession] != 0 && s[kClientSession] == s[kGuardSession] && s[kGuardMode] == kDamping) {
        clientGetsDamping(n, false);
    }
    if (s[kCommands] != 0) clientGetsCommand(n, newest(s[kCommands]), 0, Ask::OfferActive);
    if (n.f != s.f) return n;
    clientDecides(n, 0);
    if (n.f != s.f) return n;
    // Once in a control step: the guard ticks, the client publishes, and asks when it may not walk.
    if (s[kBeat] != 0) {
        for (const Tick how : {Tick::FirstActive, Tick::Damps, Tick::DampsAndKills}) {
            State next = s;
            if (tick(next, how, 0)) return next;
        }
    }
    const bool stands = s[kClientMode] == kDamping || s[kClientSession] == 0;
    if (clientMayPublish(s)) return clientPublishes(n), n;
    if (stands && !s[kAsked]) return clientAsksActivate(n), n;
    return timePasses(n), n;
}

}  // namespace model
