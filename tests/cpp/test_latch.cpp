// Every rule of the client's safety logic, with made-up time.
#include <cmath>
#include <limits>
#include <random>

#include <gaitd/explain.hpp>
#include <gaitd/latch.hpp>
#include <gaitd/orientation.hpp>

#include "check.hpp"

using namespace gaitd;

namespace {

constexpr std::size_t kJoints = 12;
constexpr std::uint64_t kPeriod = 12'000'000;
constexpr std::uint64_t kDeadline = 5 * kPeriod;
constexpr std::uint64_t kSession = 7;
constexpr std::uint64_t kEpoch = 40;
constexpr std::uint8_t kSlot = 1;

/// A session with a clock of its own.
struct Scene {
    Latch latch{kJoints, 2.5F};
    std::uint64_t now = 1'000'000'000'000;
    std::uint64_t seq = 0;

    Scene() {
        Terms terms;
        terms.deadline_ns = kDeadline;
        terms.action_dim = kJoints;
        terms.fallback_damping.fill(3.0F);
        latch.configure(terms);
        latch.begin(kSession, kEpoch, kSlot);
    }

    /// One control period later, one state more.
    CommandMessage stepAndAnswer(std::uint64_t age = 1'000'000) {
        now += kPeriod;
        JointArray position{};
        position.fill(0.5F);
        seq = latch.published(now, position);
        CommandMessage answer;
        answer.session = kSession;
        answer.epoch = kEpoch;
        answer.slot = kSlot;
        answer.seq = seq;
        answer.state_stamp_ns = now;
        now += age;
        answer.publish_stamp_ns = now;
        answer.mode = Mode::Active;
        answer.joint_position.fill(static_cast<float>(seq));
        answer.stiffness.fill(30.0F);
        answer.damping.fill(1.0F);
        answer.action.fill(0.25F);
        return answer;
    }

    CommandMessage damping(Reason reason, std::uint64_t session = kSession) const {
        CommandMessage message;
        message.session = session;
        message.slot = kGuardSlot;
        message.mode = Mode::Damping;
        message.reason = reason;
        message.publish_stamp_ns = now;
        return message;
    }

    Refusal offer(const CommandMessage& command) { return latch.offer(command, now); }
    const JointCommand& decide() { return latch.decide(now); }

    void expectDamping(Reason reason) {
        const JointCommand& command = decide();
        CHECK_EQUAL(command.mode, Mode::Damping);
        CHECK_EQUAL(command.reason, reason);
        expectHarmless(command);
    }

    static void expectHarmless(const JointCommand& command) {
        for (std::size_t i = 0; i < kJoints; ++i) {
            CHECK_EQUAL(command.stiffness[i], 0.0F);
            CHECK_EQUAL(command.torque[i], 0.0F);
            CHECK_EQUAL(command.joint_velocity[i], 0.0F);
            CHECK_EQUAL(command.damping[i], 3.0F);
        }
    }
};

}  // namespace

CASE(a_wheel_is_braked_where_it_stands_and_slips_beyond_its_torque) {
    Scene scene;
    Terms terms;
    terms.deadline_ns = kDeadline;
    terms.action_dim = kJoints;
    terms.fallback_damping.fill(3.0F);
    terms.brake_stiffness[1] = 50.0F;
    terms.brake_torque[1] = 5.0F;
    scene.latch.configure(terms);
    const CommandMessage answer = scene.stepAndAnswer();
    CHECK_EQUAL(scene.latch.offer(answer, scene.now), Refusal::None);
    CHECK_EQUAL(scene.latch.decide(scene.now).stiffness[1], 30.0F);
    scene.latch.damp(Reason::Operator);
    JointArray position{};
    position.fill(0.5F);
    const auto held = [&](float wheel) {
        position[1] = wheel;
        scene.latch.published(++scene.now, position);
        const JointCommand& command = scene.latch.decide(scene.now);
        CHECK_EQUAL(command.stiffness[0], 0.0F);
        CHECK_EQUAL(command.joint_position[0], 0.5F);
        CHECK_EQUAL(command.stiffness[1], 50.0F);
        CHECK_EQUAL(command.damping[1], 3.0F);
        return command.joint_position[1];
    };
    CHECK_EQUAL(held(0.5F), 0.4F);   // Dragged along from 0: 5 Nm at most.
    CHECK_EQUAL(held(0.45F), 0.4F);  // It sticks.
    CHECK_EQUAL(held(3.0F), 2.9F);   // Beyond its torque it slips.
    CHECK_EQUAL(held(2.95F), 2.9F);
}

CASE(before_hello_the_configured_damping_holds) {
    Latch latch(kJoints, 2.5F);
    const JointCommand& command = latch.decide(1);
    CHECK_EQUAL(command.mode, Mode::Idle);
    CHECK_EQUAL(command.damping[0], 2.5F);
    CHECK_EQUAL(command.damping[kJoints - 1], 2.5F);
    CHECK_EQUAL(command.stiffness[0], 0.0F);
}

CASE(a_valid_command_is_applied_with_its_age) {
    Scene scene;
    CHECK_EQUAL(scene.offer(scene.stepAndAnswer(2'000'000)), Refusal::None);
    const JointCommand& command = scene.decide();
    CHECK_EQUAL(command.mode, Mode::Active);
    CHECK_EQUAL(command.session, kSession);
    CHECK_EQUAL(command.seq, 1U);
    CHECK_EQUAL(command.age_ns, 2'000'000U);
    CHECK_EQUAL(command.joint_position[11], 1.0F);
    CHECK_EQUAL(command.stiffness[0], 30.0F);
    CHECK_EQUAL(command.action[0], 0.25F);
}

CASE(a_held_command_ages_and_stays_until_the_deadline) {
    Scene scene;
    scene.offer(scene.stepAndAnswer(0));
    scene.now += kDeadline;
    CHECK_EQUAL(scene.decide().mode, Mode::Active);
    CHECK_EQUAL(scene.decide().age_ns, kDeadline);
    CHECK(!scene.latch.takeExpired());
    scene.now += 1;
    scene.expectDamping(Reason::ClientDeadline);
    CHECK(scene.latch.takeExpired());
    CHECK(!scene.latch.takeExpired());
}

CASE(gaitds_reason_that_comes_after_the_clients_own_deadline_is_told_beside_it) {
    Scene scene;
    scene.offer(scene.stepAndAnswer(0));
    scene.now += kDeadline + 1;
    scene.expectDamping(Reason::ClientDeadline);
    scene.offer(scene.damping(Reason::ClientDeadline));
    scene.offer(scene.damping(Reason::StateInvalid, kSession - 1));
    CHECK_EQUAL(scene.decide().gaitd_says.reason, Reason::None);
    CommandMessage told = scene.damping(Reason::StateInvalid);
    told.cause = {CauseKind::OutOfRange, 2, 3.35922F, 3.0F};
    scene.offer(told);
    scene.offer(scene.damping(Reason::Operator));  // The first one stands.
    scene.expectDamping(Reason::ClientDeadline);
    const JointCommand& command = scene.decide();
    CHECK_EQUAL(command.cause.kind, CauseKind::None);
    CHECK_EQUAL(command.gaitd_says.reason, Reason::StateInvalid);
    const std::vector<std::string> joints{"hip", "thigh", "knee"};
    const std::string line = explain(command, joints);
    CHECK(line.find("client_deadline: the controller's own timer ran out") == 0);
    CHECK(line.find("; gaitd says: state_invalid: ") != std::string::npos);
    CHECK(line.find("joint knee; value 3.35922 rad; limit 3 rad") != std::string::npos);
    scene.latch.begin(kSession + 1, kEpoch + 1, kSlot);
    CHECK_EQUAL(scene.decide().gaitd_says.reason, Reason::None);
}

CASE(a_reason_of_gaitds_own_needs_no_other) {
    Scene scene;
    scene.offer(scene.stepAndAnswer(0));
    for (int i = 0; i < 2; ++i) scene.offer(scene.damping(Reason::StateInvalid));
    scene.expectDamping(Reason::StateInvalid);
    CHECK_EQUAL(scene.decide().gaitd_says.reason, Reason::None);
}

CASE(no_active_is_applied_after_the_clients_own_deadline) {
    Scene scene;
    scene.offer(scene.stepAndAnswer(0));
    scene.now += kDeadline + 1;
    scene.decide();
    CHECK_EQUAL(scene.offer(scene.stepAndAnswer()), Refusal::Latched);
    scene.expectDamping(Reason::ClientDeadline);
}

CASE(the_first_command_has_half_a_second) {
    Scene scene;
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
    scene.now += kFirstCommand_ns;
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
    Scene::expectHarmless(scene.decide());
    scene.now += 1;
    scene.expectDamping(Reason::ClientDeadline);
    CHECK(scene.latch.takeExpired());
}

CASE(without_a_session_no_timer_runs) {
    Latch latch(kJoints, 2.5F);
    latch.decide(1);
    CHECK_EQUAL(latch.decide(3'600'000'000'000).mode, Mode::Idle);
    CHECK(!latch.takeExpired());
}

CASE(an_answer_to_a_state_older_than_the_deadline_is_late) {
    Scene scene;
    CommandMessage answer = scene.stepAndAnswer(kDeadline + 1);
    CHECK_EQUAL(scene.offer(answer), Refusal::Late);
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
    answer = scene.stepAndAnswer(kDeadline);
    CHECK_EQUAL(scene.offer(answer), Refusal::None);
}

CASE(foreign_sessions_are_refused_active_or_damping) {
    Scene scene;
    scene.offer(scene.stepAndAnswer());
    CommandMessage answer = scene.stepAndAnswer();
    answer.session = kSession - 1;
    CHECK_EQUAL(scene.offer(answer), Refusal::ForeignSession);
    CHECK_EQUAL(scene.offer(scene.damping(Reason::Operator, kSession + 1)), Refusal::ForeignSession);
    CHECK_EQUAL(scene.offer(scene.damping(Reason::Operator, 0)), Refusal::ForeignSession);
    CHECK_EQUAL(scene.decide().mode, Mode::Active);
    CHECK_EQUAL(scene.decide().seq, 1U);
}

CASE(an_active_command_of_session_0_is_never_applied) {
    Scene scene;
    scene.latch.end();
    CommandMessage answer = scene.stepAndAnswer();
    answer.session = 0;
    CHECK_EQUAL(scene.offer(answer), Refusal::ForeignSession);
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
}

CASE(replayed_and_reordered_commands_are_refused) {
    Scene scene;
    const CommandMessage first = scene.stepAndAnswer();
    const CommandMessage second = scene.stepAndAnswer();
    CHECK_EQUAL(scene.offer(second), Refusal::None);
    CHECK_EQUAL(scene.offer(second), Refusal::Replayed);
    CHECK_EQUAL(scene.offer(first), Refusal::Replayed);
    CommandMessage zero = second;
    zero.seq = 0;
    zero.state_stamp_ns = 0;
    CHECK_EQUAL(scene.offer(zero), Refusal::Replayed);
    CHECK_EQUAL(scene.decide().seq, 2U);
}

CASE(answers_to_states_never_published_are_refused) {
    Scene scene;
    CommandMessage answer = scene.stepAndAnswer();
    answer.seq += 1;
    CHECK_EQUAL(scene.offer(answer), Refusal::Unpublished);
    answer.seq -= 1;
    answer.state_stamp_ns += 1;
    CHECK_EQUAL(scene.offer(answer), Refusal::Unpublished);
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
}

CASE(stamps_in_the_future_are_refused) {
    Scene scene;
    CommandMessage answer = scene.stepAndAnswer();
    answer.publish_stamp_ns = scene.now + kFutureTolerance_ns + 1;
    CHECK_EQUAL(scene.offer(answer), Refusal::FutureStamp);
    answer.publish_stamp_ns = std::numeric_limits<std::uint64_t>::max();
    CHECK_EQUAL(scene.offer(answer), Refusal::FutureStamp);
    answer.publish_stamp_ns = scene.now + kFutureTolerance_ns;
    CHECK_EQUAL(scene.offer(answer), Refusal::None);
}

CASE(a_state_stamped_in_the_future_cannot_switch_the_deadline_off) {
    Scene scene;
    const std::uint64_t future = scene.now + 3'600'000'000'000;
    CommandMessage answer = scene.stepAndAnswer();
    answer.seq = scene.latch.published(future, JointArray{});
    answer.state_stamp_ns = future;
    CHECK_EQUAL(scene.offer(answer), Refusal::FutureStamp);
}

CASE(values_that_are_not_finite_are_refused_wherever_they_stand) {
    for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity()}) {
        for (JointArray CommandMessage::*field :
             {&CommandMessage::joint_position, &CommandMessage::joint_velocity, &CommandMessage::stiffness,
              &CommandMessage::damping, &CommandMessage::torque, &CommandMessage::action}) {
            Scene scene;
            CommandMessage answer = scene.stepAndAnswer();
            (answer.*field)[kJoints - 1] = poison;
            CHECK_EQUAL(scene.offer(answer), Refusal::NotFinite);
            CHECK_EQUAL(scene.decide().mode, Mode::Idle);
            // Beyond the joints there is nothing to judge.
            answer = scene.stepAndAnswer();
            (answer.*field)[kJoints] = poison;
            CHECK_EQUAL(scene.offer(answer), Refusal::None);
        }
    }
}

CASE(a_replaced_worker_is_refused_once_another_one_was_taken) {
    Scene scene;
    CommandMessage old = scene.stepAndAnswer();
    CHECK_EQUAL(scene.offer(old), Refusal::None);
    CommandMessage taken_over = scene.stepAndAnswer();
    taken_over.epoch = kEpoch + 3;
    taken_over.slot = 0;
    CHECK_EQUAL(scene.offer(taken_over), Refusal::None);
    CHECK_EQUAL(scene.decide().seq, 2U);
    old = scene.stepAndAnswer();
    CHECK_EQUAL(scene.offer(old), Refusal::OldEpoch);
    old.epoch = kEpoch + 2;
    CHECK_EQUAL(scene.offer(old), Refusal::OldEpoch);
    CHECK_EQUAL(scene.decide().seq, 2U);
    // The new one goes on, in its own slot only.
    CommandMessage next = scene.stepAndAnswer();
    next.epoch = kEpoch + 3;
    CHECK_EQUAL(scene.offer(next), Refusal::ForeignSlot);
    next.slot = 0;
    CHECK_EQUAL(scene.offer(next), Refusal::None);
}

CASE(before_any_command_the_grant_says_who_has_the_joints) {
    Scene scene;
    CommandMessage answer = scene.stepAndAnswer();
    answer.epoch = kEpoch - 1;
    CHECK_EQUAL(scene.offer(answer), Refusal::OldEpoch);
    answer.epoch = kEpoch;
    answer.slot = kSlot + 1;
    CHECK_EQUAL(scene.offer(answer), Refusal::ForeignSlot);
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
    answer.slot = kSlot;
    CHECK_EQUAL(scene.offer(answer), Refusal::None);
}

CASE(no_epoch_makes_a_worker_of_the_guardian) {
    Scene scene;
    for (const std::uint64_t epoch : {kEpoch, kEpoch + 1}) {
        CommandMessage answer = scene.stepAndAnswer();
        answer.epoch = epoch;
        answer.slot = kGuardSlot;
        CHECK_EQUAL(scene.offer(answer), Refusal::ForeignSlot);
    }
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
}

CASE(a_command_that_is_refused_takes_nothing_over) {
    Scene scene;
    CommandMessage answer = scene.stepAndAnswer();
    CommandMessage late = answer;
    late.epoch = kEpoch + 1;
    late.slot = 0;
    late.state_stamp_ns += 1;
    CHECK_EQUAL(scene.offer(late), Refusal::Unpublished);
    CHECK_EQUAL(scene.offer(answer), Refusal::None);
}

CASE(a_new_session_begins_with_its_own_epoch) {
    Scene scene;
    CommandMessage answer = scene.stepAndAnswer();
    answer.epoch = kEpoch + 9;
    CHECK_EQUAL(scene.offer(answer), Refusal::None);
    scene.latch.begin(kSession + 1, kEpoch + 10, 0);
    answer = scene.stepAndAnswer();
    answer.session = kSession + 1;
    answer.epoch = kEpoch + 9;
    CHECK_EQUAL(scene.offer(answer), Refusal::OldEpoch);
    answer.epoch = kEpoch + 10;
    answer.slot = 0;
    CHECK_EQUAL(scene.offer(answer), Refusal::None);
}

CASE(damping_is_obeyed_whatever_its_epoch_and_slot) {
    for (const std::uint64_t epoch : {std::uint64_t{0}, kEpoch - 1, kEpoch, ~std::uint64_t{0}}) {
        for (const std::uint8_t slot : {std::uint8_t{0}, std::uint8_t{kGuardSlot}}) {
            Scene scene;
            scene.offer(scene.stepAndAnswer());
            CommandMessage message = scene.damping(Reason::WorkerDied);
            message.epoch = epoch;
            message.slot = slot;
            CHECK_EQUAL(scene.offer(message), Refusal::None);
            scene.expectDamping(Reason::WorkerDied);
            // Nothing of the session is applied afterwards, however new its epoch.
            CommandMessage answer = scene.stepAndAnswer();
            answer.epoch = ~std::uint64_t{0};
            CHECK_EQUAL(scene.offer(answer), Refusal::Latched);
        }
    }
}

CASE(the_cause_is_shown_with_the_reason_it_came_with) {
    Scene scene;
    CommandMessage message = scene.damping(Reason::Limit);
    message.cause = {CauseKind::SlewLimit, 4, 0.75F, 0.5F};
    scene.offer(message);
    message.cause = {CauseKind::Tilt, kNoJoint, 2.0F, 1.0F};
    scene.offer(message);
    const JointCommand& command = scene.decide();
    CHECK_EQUAL(command.cause.kind, CauseKind::SlewLimit);
    CHECK_EQUAL(static_cast<int>(command.cause.joint), 4);
    CHECK_EQUAL(command.cause.number, 0.75F);
    CHECK_EQUAL(command.cause.bound, 0.5F);
    scene.latch.begin(kSession + 1, kEpoch, kSlot);
    CHECK_EQUAL(scene.decide().cause.kind, CauseKind::None);
}

CASE(a_damping_is_explained_in_one_line) {
    Scene scene;
    const std::vector<std::string> joints{"FL_HipX_joint", "FL_HipY_joint"};
    CommandMessage message = scene.damping(Reason::Limit);
    message.cause = {CauseKind::SlewLimit, 1, 0.75F, 0.5F};
    scene.offer(message);
    CHECK_EQUAL(explain(scene.decide(), joints),
                "limit: a limit whose response is damping was exceeded "
                "(a target moves too far in one step; joint FL_HipY_joint; value 0.75 rad; limit 0.5 rad)");
    CHECK_EQUAL(explain(Cause{CauseKind::Frozen, kNoJoint, std::nanf(""), std::nanf("")}, joints),
                "a state's sensor values are bit for bit those of the one before");
    CHECK_EQUAL(explain(Cause{CauseKind::OrientationNorm, 200, 1.5F, 1.1F}, joints),
                "the orientation is not a unit quaternion; value 1.5; limit 1.1");
    CHECK_EQUAL(explain(Cause{static_cast<CauseKind>(200), kNoJoint, 1.0F, std::nanf("")}, joints),
                "an unknown cause; value 1");
    scene.latch.begin(kSession + 1, kEpoch, kSlot);
    scene.latch.damp(Reason::Operator);
    CHECK_EQUAL(explain(scene.decide(), joints), "operator: a person asked for damping");
}

CASE(a_longer_time_for_the_first_command_is_honoured) {
    Terms terms;
    terms.deadline_ns = kDeadline;
    terms.first_command_ns = 3 * kFirstCommand_ns;
    Latch latch(kJoints, 2.5F);
    latch.configure(terms);
    latch.begin(kSession, kEpoch, kSlot);
    CHECK_EQUAL(latch.decide(1).mode, Mode::Idle);
    CHECK_EQUAL(latch.decide(1 + terms.first_command_ns).mode, Mode::Idle);
    CHECK_EQUAL(latch.decide(2 + terms.first_command_ns).mode, Mode::Damping);
    CHECK(latch.takeExpired());
}

CASE(an_action_is_judged_over_its_own_length) {
    for (const std::size_t actions : {std::size_t{1}, kJoints + 3}) {
        Scene scene;
        Terms terms;
        terms.deadline_ns = kDeadline;
        terms.action_dim = actions;
        scene.latch.configure(terms);
        CommandMessage answer = scene.stepAndAnswer();
        answer.action[actions - 1] = std::nanf("");
        CHECK_EQUAL(scene.offer(answer), Refusal::NotFinite);
        answer = scene.stepAndAnswer();
        answer.action[actions] = std::nanf("");
        CHECK_EQUAL(scene.offer(answer), Refusal::None);
    }
}

CASE(damping_wins_when_it_comes_before_the_active_command) {
    Scene scene;
    scene.offer(scene.stepAndAnswer());
    const CommandMessage answer = scene.stepAndAnswer();
    CHECK_EQUAL(scene.offer(scene.damping(Reason::WorkerDied)), Refusal::None);
    CHECK_EQUAL(scene.offer(answer), Refusal::Latched);
    scene.expectDamping(Reason::WorkerDied);
}

CASE(damping_wins_when_it_comes_after_the_active_command) {
    Scene scene;
    CHECK_EQUAL(scene.offer(scene.stepAndAnswer()), Refusal::None);
    CHECK_EQUAL(scene.offer(scene.damping(Reason::Deadline)), Refusal::None);
    scene.expectDamping(Reason::Deadline);
    CHECK(!scene.latch.takeExpired());
}

CASE(damping_counts_even_with_senseless_stamps_and_values) {
    Scene scene;
    scene.offer(scene.stepAndAnswer());
    CommandMessage message = scene.damping(Reason::BackendError);
    message.publish_stamp_ns = std::numeric_limits<std::uint64_t>::max();
    message.damping.fill(std::numeric_limits<float>::quiet_NaN());
    message.stiffness.fill(1000.0F);
    CHECK_EQUAL(scene.offer(message), Refusal::None);
    scene.expectDamping(Reason::BackendError);
}

CASE(the_first_reason_stands) {
    Scene scene;
    scene.offer(scene.damping(Reason::WorkerDied));
    scene.offer(scene.damping(Reason::Shutdown));
    scene.latch.damp(Reason::Operator);
    scene.now += 10 * kDeadline;
    scene.expectDamping(Reason::WorkerDied);
    CHECK(!scene.latch.takeExpired());
}

CASE(idle_messages_change_nothing) {
    Scene scene;
    scene.offer(scene.stepAndAnswer());
    CommandMessage idle;
    CHECK_EQUAL(scene.offer(idle), Refusal::None);
    CHECK_EQUAL(scene.decide().mode, Mode::Active);
    scene.offer(scene.damping(Reason::Operator));
    idle.session = kSession;
    scene.offer(idle);
    scene.expectDamping(Reason::Operator);
}

CASE(damping_is_left_only_by_a_new_session) {
    Scene scene;
    scene.offer(scene.damping(Reason::Operator));
    scene.latch.end();
    CHECK_EQUAL(scene.decide().mode, Mode::Damping);
    scene.latch.configure(Terms{});
    CHECK_EQUAL(scene.decide().mode, Mode::Damping);
    scene.latch.begin(kSession + 1, kEpoch, kSlot);
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
    CHECK_EQUAL(scene.decide().reason, Reason::None);
}

CASE(after_damping_nothing_is_published_in_the_session) {
    Scene scene;
    CHECK_EQUAL(scene.latch.sampleSession(), kSession);
    scene.offer(scene.stepAndAnswer());
    CHECK_EQUAL(scene.latch.sampleSession(), kSession);
    scene.now += kDeadline + 1;
    scene.decide();
    CHECK_EQUAL(scene.latch.sampleSession(), 0U);
    CHECK_EQUAL(scene.latch.session(), kSession);
    scene.latch.begin(kSession + 1, kEpoch, kSlot);
    CHECK_EQUAL(scene.latch.sampleSession(), kSession + 1);
}

CASE(nothing_of_an_old_session_counts_in_a_new_one) {
    Scene scene;
    const CommandMessage old = scene.stepAndAnswer();
    scene.latch.begin(kSession + 1, kEpoch, kSlot);
    CHECK_EQUAL(scene.offer(old), Refusal::ForeignSession);
    CHECK_EQUAL(scene.offer(scene.damping(Reason::Deadline)), Refusal::ForeignSession);
    // The same numbers under the new session: no state was published in it yet.
    CommandMessage forged = old;
    forged.session = kSession + 1;
    CHECK_EQUAL(scene.offer(forged), Refusal::Unpublished);
    CommandMessage answer = scene.stepAndAnswer();
    answer.session = kSession + 1;
    CHECK_EQUAL(answer.seq, 1U);
    CHECK_EQUAL(scene.offer(answer), Refusal::None);
}

CASE(ending_a_session_stands_down_at_once) {
    Scene scene;
    scene.offer(scene.stepAndAnswer());
    const CommandMessage next = scene.stepAndAnswer();
    scene.latch.end();
    CHECK_EQUAL(scene.decide().mode, Mode::Idle);
    Scene::expectHarmless(scene.decide());
    CHECK_EQUAL(scene.offer(next), Refusal::ForeignSession);
}

CASE(without_stiffness_the_goal_is_where_the_joints_are) {
    Scene scene;
    scene.offer(scene.stepAndAnswer());
    scene.offer(scene.damping(Reason::Operator));
    CHECK_EQUAL(scene.decide().joint_position[0], 0.5F);
}

CASE(whatever_arrives_the_output_is_safe) {
    // Random messages, mostly near the valid ones. The invariants must hold after each.
    std::mt19937 random(1);
    const auto chance = [&](unsigned in) { return random() % in == 0; };
    for (int run = 0; run < 300; ++run) {
        Scene scene;
        bool latched = false;
        std::uint64_t last_seq = 0;
        for (int step = 0; step < 100; ++step) {
            CommandMessage answer = scene.stepAndAnswer(random() % 3'000'000);
            if (chance(12)) answer.session += random() % 3;
            if (chance(12)) answer.epoch += random() % 3 - 1;
            if (chance(12)) answer.slot = static_cast<std::uint8_t>(random() % 4);
            if (chance(12)) answer.seq += random() % 5 - 2;
            if (chance(12)) answer.state_stamp_ns += random() % 3;
            if (chance(12)) answer.publish_stamp_ns += random() % 4'000'000;
            if (chance(12)) answer.action[random() % kJoints] = std::nanf("");
            if (chance(80)) answer.mode = Mode::Damping;
            if (chance(20)) scene.now += random() % (2 * kDeadline);
            if (!chance(6)) scene.offer(answer);
            latched = latched || (answer.mode == Mode::Damping && scene.latch.mode() == Mode::Damping);
            const JointCommand& command = scene.decide();
            if (latched) CHECK_EQUAL(command.mode, Mode::Damping);
            latched = command.mode == Mode::Damping;
            if (command.mode == Mode::Active) {
                CHECK(command.age_ns <= kDeadline);
                CHECK(command.seq >= last_seq);
                CHECK(std::isfinite(command.action[0]));
                last_seq = command.seq;
            } else {
                Scene::expectHarmless(command);
            }
        }
    }
}

constexpr std::uint64_t kStance = 300'000'000;
constexpr std::uint64_t kLook = 1'000'000;  // The loop looks once a millisecond.

/// A session of a gaitd that is set to a stance; its commands were applied for a while.
struct StanceScene : Scene {
    explicit StanceScene(std::uint64_t duration_ns = kStance) {
        Terms terms;
        terms.deadline_ns = kDeadline;
        terms.action_dim = kJoints;
        terms.fallback_damping.fill(3.0F);
        terms.stance.duration_ns = duration_ns;
        terms.stance.joint_position.fill(0.7F);
        terms.stance.stiffness.fill(40.0F);
        terms.stance.damping.fill(1.5F);
        latch.configure(terms);
    }

    void walk() {
        for (int i = 0; i < 3; ++i) {
            CHECK_EQUAL(offer(stepAndAnswer()), Refusal::None);
            CHECK_EQUAL(decide().mode, Mode::Active);
        }
    }

    /// One look later; whether the joints stand. Whatever they get is one of the two.
    bool stands(Reason reason) {
        now += kLook;
        const JointCommand& command = decide();
        CHECK_EQUAL(command.mode, Mode::Damping);
        CHECK_EQUAL(command.reason, reason);
        if (command.stiffness[0] == 0.0F) {
            expectHarmless(command);
            CHECK_EQUAL(command.joint_position[0], 0.5F);
            return false;
        }
        for (std::size_t i = 0; i < kJoints; ++i) {
            CHECK_EQUAL(command.joint_position[i], 0.7F);
            CHECK_EQUAL(command.stiffness[i], 40.0F);
            CHECK_EQUAL(command.damping[i], 1.5F);
            CHECK_EQUAL(command.joint_velocity[i], 0.0F);
            CHECK_EQUAL(command.torque[i], 0.0F);
            CHECK_EQUAL(command.action[i], 0.0F);
        }
        CHECK_EQUAL(command.seq, 0U);
        CHECK_EQUAL(command.age_ns, 0U);
        return true;
    }

    /// How long the joints stand from the first look on.
    std::uint64_t standsFor(Reason reason) {
        std::uint64_t looks = 0;
        while (stands(reason)) ++looks;
        for (int i = 0; i < 1000; ++i) CHECK(!stands(reason));
        return looks * kLook;
    }
};

CASE(the_stance_comes_first_and_ends_with_its_time) {
    for (const Reason reason : {Reason::Deadline, Reason::WorkerDied, Reason::StateLost, Reason::StateStale,
                                Reason::StateInvalid, Reason::ActionInvalid, Reason::BackendError,
                                Reason::Contract, Reason::ClientDeadline}) {
        StanceScene scene;
        scene.walk();
        scene.offer(scene.damping(reason));
        CHECK_EQUAL(scene.standsFor(reason), kStance);
    }
}

CASE(there_is_no_stance_for_a_body_that_is_tilted) {
    JointArray position{};
    position.fill(0.5F);
    for (const bool before : {true, false}) {
        StanceScene scene;
        scene.walk();
        scene.latch.published(scene.now, position, before);
        scene.offer(scene.damping(Reason::Deadline));
        CHECK_EQUAL(scene.stands(Reason::Deadline), !before);
        scene.latch.published(scene.now, position, true);
        CHECK(!scene.stands(Reason::Deadline));
        scene.latch.published(scene.now, position, false);  // Rolled back onto its feet: it stays limp.
        CHECK(!scene.stands(Reason::Deadline));
    }
}

CASE(how_far_a_body_may_be_tilted_in_a_stance) {
    for (const float yaw : {0.0F, 2.0F}) {
        for (const float tilt : {0.0F, 0.79F, -0.79F}) {
            CHECK(!tooTiltedToStand(quaternionFromRpy(tilt, 0.0F, yaw)));
            CHECK(!tooTiltedToStand(quaternionFromRpy(0.0F, tilt, yaw)));
        }
        for (const float tilt : {0.81F, -0.81F, 2.0F, 3.1F}) CHECK(tooTiltedToStand(quaternionFromRpy(tilt, 0.0F, yaw)));
    }
    CHECK(tooTiltedToStand({std::nanf(""), 0.0F, 0.0F, 0.0F}));
}

CASE(the_clients_own_deadline_has_the_stance_too) {
    StanceScene scene;
    scene.walk();
    while (scene.decide().mode == Mode::Active) scene.now += kLook;
    CHECK(scene.latch.takeExpired());
    CHECK_EQUAL(scene.decide().stiffness[0], 40.0F);
    CHECK_EQUAL(scene.standsFor(Reason::ClientDeadline), kStance - kLook);
    CHECK_EQUAL(scene.latch.sampleSession(), 0U);
}

CASE(without_a_stance_set_damping_is_limp_at_once) {
    StanceScene scene(0);
    scene.walk();
    scene.offer(scene.damping(Reason::WorkerDied));
    CHECK_EQUAL(scene.standsFor(Reason::WorkerDied), 0U);
}

CASE(no_stance_for_a_limit_a_person_or_the_end_of_gaitd) {
    for (const Reason reason : {Reason::Limit, Reason::Operator, Reason::Shutdown}) {
        StanceScene said;
        said.walk();
        said.offer(said.damping(reason));
        CHECK_EQUAL(said.standsFor(reason), 0U);
        StanceScene own;
        own.walk();
        own.latch.damp(reason);
        CHECK_EQUAL(own.standsFor(reason), 0U);
    }
}

CASE(no_stance_without_a_command_that_moved_the_joints) {
    StanceScene idle;
    idle.stepAndAnswer();
    idle.decide();
    idle.offer(idle.damping(Reason::WorkerDied));
    CHECK_EQUAL(idle.standsFor(Reason::WorkerDied), 0U);

    StanceScene waiting;
    waiting.stepAndAnswer();
    while (waiting.decide().mode == Mode::Idle) waiting.now += kLook;
    CHECK_EQUAL(waiting.standsFor(Reason::ClientDeadline), 0U);

    // Taken and damped between two looks: the motors never had it.
    StanceScene unseen;
    unseen.offer(unseen.stepAndAnswer());
    unseen.offer(unseen.damping(Reason::WorkerDied));
    CHECK_EQUAL(unseen.standsFor(Reason::WorkerDied), 0U);

    // What moved them was another session's.
    StanceScene renewed;
    renewed.walk();
    renewed.latch.begin(kSession + 1, kEpoch, kSlot);
    renewed.offer(renewed.damping(Reason::WorkerDied, kSession + 1));
    CHECK_EQUAL(renewed.standsFor(Reason::WorkerDied), 0U);
}

CASE(no_stance_when_the_loop_itself_stood_still) {
    // Its motors may long have let go: stiff legs would make the robot jump.
    for (const bool told : {false, true}) {
        StanceScene scene;
        scene.walk();
        scene.now += kDeadline + 1;
        if (told) scene.offer(scene.damping(Reason::ClientDeadline));
        CHECK_EQUAL(scene.standsFor(Reason::ClientDeadline), 0U);
    }
}

CASE(a_limit_a_person_or_the_end_of_gaitd_ends_the_stance) {
    for (const Reason reason : {Reason::Limit, Reason::Operator, Reason::Shutdown}) {
        for (const bool own : {false, true}) {
            StanceScene scene;
            scene.walk();
            scene.offer(scene.damping(Reason::WorkerDied));
            for (int i = 0; i < 10; ++i) CHECK(scene.stands(Reason::WorkerDied));
            own ? scene.latch.damp(reason) : static_cast<void>(scene.offer(scene.damping(reason)));
            CHECK_EQUAL(scene.standsFor(Reason::WorkerDied), 0U);
            // Nothing said later brings it back.
            scene.offer(scene.damping(Reason::WorkerDied));
            CHECK_EQUAL(scene.standsFor(Reason::WorkerDied), 0U);
        }
    }
    // Even before its first look.
    StanceScene scene;
    scene.walk();
    scene.offer(scene.damping(Reason::WorkerDied));
    scene.latch.damp(Reason::Operator);
    CHECK_EQUAL(scene.standsFor(Reason::WorkerDied), 0U);
}

CASE(another_sessions_operator_does_not_end_the_stance) {
    StanceScene scene;
    scene.walk();
    scene.offer(scene.damping(Reason::WorkerDied));
    CHECK(scene.stands(Reason::WorkerDied));
    CHECK_EQUAL(scene.offer(scene.damping(Reason::Operator, kSession - 1)), Refusal::ForeignSession);
    CHECK(scene.stands(Reason::WorkerDied));
}

CASE(releasing_and_activating_end_the_stance) {
    StanceScene scene;
    scene.walk();
    scene.offer(scene.damping(Reason::WorkerDied));
    CHECK(scene.stands(Reason::WorkerDied));
    scene.latch.end();
    CHECK_EQUAL(scene.standsFor(Reason::WorkerDied), 0U);

    StanceScene renewed;
    renewed.walk();
    renewed.offer(renewed.damping(Reason::WorkerDied));
    CHECK(renewed.stands(Reason::WorkerDied));
    renewed.latch.begin(kSession + 1, kEpoch, kSlot);
    CHECK_EQUAL(renewed.decide().mode, Mode::Idle);
    Scene::expectHarmless(renewed.decide());
}

CASE(neither_repetition_nor_a_second_reason_makes_the_stance_longer) {
    StanceScene scene;
    scene.walk();
    scene.offer(scene.damping(Reason::WorkerDied));
    std::uint64_t looks = 0;
    while (scene.stands(Reason::WorkerDied)) {
        ++looks;
        scene.offer(scene.damping(looks % 2 == 0 ? Reason::WorkerDied : Reason::Deadline));
        CHECK_EQUAL(scene.offer(scene.stepAndAnswer(0)), Refusal::Latched);
        scene.now -= kPeriod;
    }
    CHECK_EQUAL(looks * kLook, kStance);
    scene.offer(scene.damping(Reason::Deadline));
    CHECK_EQUAL(scene.standsFor(Reason::WorkerDied), 0U);
}

int main() { return check::run(); }
