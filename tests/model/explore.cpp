// Every interleaving of guardian, worker, client and the channels between them, searched to the end.
//
//   explore TABLES one|standby|switch|two
//
// TABLES holds what the real Python decides for each input (decisions.py); the client's decisions are made by the
// real gaitd::Latch. `standby`: a second worker to which the real guardian moves a session, `switch`: and
// another policy's to which it moves one on request; `two`: one to which it may move at any time. What is written down here is only who may do what, and when: anything at any time. Any process
// may pause, die and return between any two steps; state and command channels lose, duplicate, delay and reorder
// without bound. Time goes in control steps; ages beyond the last that makes a difference are one, so the state
// space is finite and the search ends.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "world.hpp"

namespace {

using namespace model;

/// All states found, in the order of their distance from the start, and the one that each was first reached from.
class Found {
public:
    /// The number of that state, new or known.
    std::uint32_t add(const State& state, std::uint32_t from) {
        if ((states_.size() + 1) * 2 > slots_.size()) grow();
        const Packed packed = pack(state);
        std::uint32_t& slot = slotOf(packed);
        if (slot == 0) {
            states_.push_back(packed);
            from_.push_back(from);
            slot = static_cast<std::uint32_t>(states_.size());
        }
        return slot - 1;
    }

    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(states_.size()); }
    [[nodiscard]] State at(std::uint32_t number) const { return unpack(states_[number]); }
    [[nodiscard]] std::uint32_t from(std::uint32_t number) const { return from_[number]; }

private:
    std::uint32_t& slotOf(Packed packed) {
        auto mixed = static_cast<std::uint64_t>(packed) * 0x9e3779b97f4a7c15U;
        mixed ^= static_cast<std::uint64_t>(packed >> 64) * 0xc2b2ae3d27d4eb4fU;
        mixed ^= mixed >> 29;
        mixed *= 0xbf58476d1ce4e5b9U;
        std::size_t i = (mixed ^ mixed >> 32) & (slots_.size() - 1);
        while (slots_[i] != 0 && states_[slots_[i] - 1] != packed) i = (i + 1) & (slots_.size() - 1);
        return slots_[i];
    }

    void grow() {
        slots_.assign(std::max<std::size_t>(slots_.size() * 2, 1U << 16U), 0);
        for (std::uint32_t i = 0; i < states_.size(); ++i) slotOf(states_[i]) = i + 1;
    }

    std::vector<Packed> states_;
    std::vector<std::uint32_t> from_;
    std::vector<std::uint32_t> slots_;
};

void print(const State& s) {
    const auto age = [](int value) { return value == kNone ? std::string("-") : std::to_string(value); };
    static const char* const modes[] = {"idle", "active", "damping"};
    static const char* const workers[] = {"dead", "reaped", "starting", "up"};
    std::printf("    guard %s %s of session %d, fed %d ago%s, beat %d ago | worker %s in session %d, phase %d, "
                "its last command %s ago | client %s in session %d, applied age %s, stance %d | states %x commands %x\n",
                s[kGuardUp] ? "up" : "down", modes[s[kGuardMode]], s[kGuardSession], s[kFed],
                s[kFedByCommand] ? " by a command" : "", s[kBeat], workers[s[kWorker]], s[kWorkerSession], s[kPhase],
                age(s[kCommandAge]).c_str(), modes[s[kClientMode]], s[kClientSession], age(s[kApplied]).c_str(), s[kStance],
                static_cast<unsigned>(s[kStates]), static_cast<unsigned>(s[kCommands]));
}

/// How that state came about, step by step.
void printPath(const Found& found, std::uint32_t number) {
    std::vector<std::uint32_t> path;
    for (; number != 0; number = found.from(number)) path.push_back(number);
    std::uint32_t before = 0;
    for (auto it = path.rbegin(); it != path.rend(); before = *it++) {
        const Packed wanted = pack(found.at(*it));
        bool named = false;
        successors(found.at(before), [&](const char* what, int detail, const State& next) {
            if (named || pack(normal(next)) != wanted) return;
            std::printf("  %s %d\n", what, detail);
            named = true;
        });
        print(found.at(*it));
    }
}

/// Without further faults every state leads to walking, and stays there. Returns the longest way in control steps,
/// or -1 and prints the state from which it never comes.
int longestRecovery(const Found& found, const std::vector<std::uint32_t>& next) {
    enum : std::uint8_t { kNew, kOnPath, kDone };
    std::vector<std::uint8_t> seen(found.size(), kNew);
    std::vector<std::uint16_t> steps(found.size(), 0);
    int longest = 0;
    std::vector<std::uint32_t> path;
    for (std::uint32_t start = 0; start < found.size(); ++start) {
        path.clear();
        std::uint32_t here = start;
        for (; seen[here] == kNew; here = next[here]) {
            seen[here] = kOnPath;
            path.push_back(here);
        }
        if (seen[here] == kOnPath) {  // The path ended in a circle: there it stays.
            std::uint32_t in = here;
            do {
                seen[in] = kDone;
                if (found.at(in)[kClientMode] != kActive) {
                    std::printf("VIOLATED: without further faults the client walks again; instead it goes in a circle\n");
                    print(found.at(in));
                    return -1;
                }
                in = next[in];
            } while (in != here);
        }
        for (auto it = path.rbegin(); it != path.rend(); ++it) {
            if (seen[*it] == kDone) continue;
            State later = found.at(*it);
            timePasses(later);
            const bool waited = pack(normal(later)) == pack(found.at(next[*it]));
            steps[*it] = static_cast<std::uint16_t>(steps[next[*it]] + (waited ? 1 : 0));
            longest = std::max<int>(longest, steps[*it]);
            seen[*it] = kDone;
        }
    }
    return longest;
}

/// What holds of a change of workers for every input, reached or not.
void checkFailover() {
    for (int command = 0; command <= guardAge; ++command) {
        for (int fed = command; fed <= guardAge; ++fed) {
            for (const int by : {0, 1}) {
                const int moved = decided("moved", {{by, 2}, {fed, guardAge + 1}, {command, guardAge + 2}, {0, 2}});
                require(moved == 16 + command, "the timer goes on from the last command");
            }
        }
    }
    for (const int answer : {1, 2}) {
        for (std::size_t rest = 0; rest < tables.at("movable").size() / 3; ++rest) {
            require(!tables.at("movable")[rest * 3 + static_cast<std::size_t>(answer)],
                    "the lease moves only to a standby with an answer to a fresh state of the session");
        }
    }
}

/// What holds of a change of policies for every input, reached or not.
void checkSwitch() {
    for (const int answer : {1, 2}) {
        for (std::size_t rest = 0; rest < tables.at("switchable").size() / 3; ++rest) {
            require(!tables.at("switchable")[rest * 3 + static_cast<std::size_t>(answer)],
                    "the policy changes only to a worker with an answer to a fresh state of the session");
        }
    }
    for (int command = 0; command <= guardAge; ++command) {
        for (int fed = command; fed <= guardAge; ++fed) {
            for (const int by : {0, 1}) {
                const auto about = [&](const char* table, bool fresh) {
                    return fresh ? decided(table, {{0, 2}, {by, 2}, {fed, guardAge + 1}, {command, guardAge + 2}, {0, 2}, {0, 3}})
                                 : decided(table, {{by, 2}, {fed, guardAge + 1}, {command, guardAge + 2}, {0, 2}});
                };
                require(!about("switchable", true) || about("switched", false) == 16 + command,
                        "the timer goes on from the last command");
            }
        }
    }
    for (const int ours : {0, 1}) {
        for (const int agreed : {0, 1}) {
            for (const int worker : {0, 1, 2}) {
                require(((ours || agreed) && worker == 0) || !decided("selects", {{ours, 2}, {agreed, 2}, {worker, 3}}),
                        "only the session's owner, or who has its consent, changes the policy, between workers that are there");
            }
        }
    }
    require(decided("selects", {{1, 2}, {0, 2}, {0, 3}}), "the session's owner may change the policy");
}

int search() {
    for (int last = 0; last <= stateAge + 1; ++last) {
        for (int age = 0; age <= stateAge; ++age) {
            require(!decided("take", {{last, stateAge + 2}, {age, stateAge + 1}, {1, 2}}),
                    "the worker takes no state of another session");
        }
    }
    require(decided("damp", {{kActive, 3}, {2, 3}}) == kActive && decided("release", {{kActive, 3}, {1, 2}, {1, 2}}) == kActive,
            "a request that names another session changes nothing");
    if (hasStandby) checkFailover();
    if (switches) checkSwitch();
    if (violated != nullptr) {
        std::printf("VIOLATED: %s\n", violated);
        return 1;
    }
    feedingIsSimple = commandOutweighsFeeding();
    State start;
    for (const Field field : {kCommandAge, kBefore, kLastState, kNewest, kApplied, kWaiting}) start.set(field, kNone);
    start.set(kWorker, kReaped);
    Found found;
    found.add(normal(start), 0);
    std::vector<std::uint32_t> next;
    std::uint64_t transitions = 0;
    std::uint32_t here = 0;
    for (; here < found.size(); ++here) {
        const State state = found.at(here);
        const Packed good = pack(normal(recovered(state)));
        violated = nullptr;
        bool possible = good == pack(state);
        successors(state, [&](const char* what, int detail, const State& raw) {
            ++transitions;
            noteStance(state, raw);
            noteLease(raw);
            if (raw.f == state.f && violated == nullptr) return;
            const State reached = normal(raw);
            possible = possible || pack(reached) == good;
            if (violated != nullptr) {
                std::printf("VIOLATED: %s\n", violated);
                printPath(found, here);
                std::printf("  %s %d\n", what, detail);
                print(reached);
                std::exit(1);
            }
            found.add(reached, here);
        });
        if (!possible) {
            std::printf("the recovery takes a step that the model does not have\n");
            print(state);
            print(unpack(good));
            return 2;
        }
        next.push_back(found.add(unpack(good), here));
    }
    const int recovery = longestRecovery(found, next);
    if (recovery < 0) return 1;
    std::printf("complete: deadline %d, oldest state %d, first command %d control steps\n"
                "states %u\ntransitions %llu\nlongest recovery %d control steps\n",
                D, A, F, found.size(),
                static_cast<unsigned long long>(transitions), recovery);
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "explore TABLES one|standby|switch|two\n");
        return 2;
    }
    load(arguments[1]);
    movesLease = std::string(arguments[2]) == "two";
    switches = std::string(arguments[2]) == "switch";
    hasStandby = switches || std::string(arguments[2]) == "standby";
    return search();
}
