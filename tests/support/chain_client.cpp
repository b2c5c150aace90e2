// The whole C++ client behind a plain C interface, so that a test can walk a simulated robot through it in step.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include <gaitd/client.hpp>

namespace {

std::vector<std::string> lines(const char* text) {
    std::vector<std::string> found;
    for (const char* end = text; *end != '\0'; text = end + 1) {
        end = std::strchr(text, '\n');
        if (end == nullptr) break;
        found.emplace_back(text, end);
    }
    return found;
}

char error_text[512];

template <class Action>
int guarded(Action action) {
    try {
        action();
        return 0;
    } catch (const std::exception& error) {
        std::strncpy(error_text, error.what(), sizeof error_text - 1);
        return -1;
    }
}

}  // namespace

extern "C" {

const char* chain_error() { return error_text; }

// Names end with a line feed each. nullptr: see chain_error().
gaitd::Client* chain_new(const char* directory, const char* joints, const char* inputs) {
    gaitd::Client* client = nullptr;
    guarded([&] {
        gaitd::Config config;
        config.endpoint_dir = directory;
        config.joints = lines(joints);
        config.inputs = lines(inputs);
        config.fields.emplace_back("linear_velocity");
        config.simulated = true;
        client = new gaitd::Client(config);
    });
    return client;
}

void chain_free(gaitd::Client* client) { delete client; }

int chain_hello(gaitd::Client* client) {
    return guarded([&] { client->hello(std::chrono::seconds(20)); });
}

int chain_activate(gaitd::Client* client) {
    return guarded([&] { client->activate(); });
}

void chain_damp(gaitd::Client* client) { client->requestDamping("the test asks for it"); }

// body: angular velocity, orientation, linear acceleration, linear velocity, velocity command; then joints and inputs.
bool chain_publish(gaitd::Client* client, const float* body, const float* position, const float* velocity,
                   const float* torque, const float* inputs, std::size_t input_values) {
    gaitd::RobotState state;
    state.stamp_ns = gaitd::monotonicNow_ns();
    std::copy_n(body, 3, state.angular_velocity.begin());
    std::copy_n(body + 3, 4, state.orientation.begin());
    std::copy_n(body + 7, 3, state.linear_acceleration.begin());
    std::copy_n(body + 10, 3, state.linear_velocity.begin());
    std::copy_n(body + 13, 3, state.velocity_command.begin());
    std::copy_n(position, client->joints(), state.joint_position.begin());
    std::copy_n(velocity, client->joints(), state.joint_velocity.begin());
    std::copy_n(torque, client->joints(), state.joint_torque.begin());
    std::copy_n(inputs, input_values, state.inputs.begin());
    return client->publish(state);
}

// Waits for the answer to state `seq`, or damping; position, velocity, stiffness, damping and torque. Returns the mode.
int chain_command(gaitd::Client* client, std::uint64_t seq, int limit_ms, float* rows) {
    const std::uint64_t until_ns = gaitd::monotonicNow_ns() + static_cast<std::uint64_t>(limit_ms) * 1'000'000U;
    const gaitd::JointCommand* command = &client->command(gaitd::monotonicNow_ns());
    while (command->mode != gaitd::Mode::Damping && command->seq < seq && gaitd::monotonicNow_ns() < until_ns) {
        client->wait(std::chrono::milliseconds(1));
        command = &client->command(gaitd::monotonicNow_ns());
    }
    const std::size_t joints = client->joints();
    for (const gaitd::JointArray* values : {&command->joint_position, &command->joint_velocity, &command->stiffness,
                                            &command->damping, &command->torque}) {
        rows = std::copy_n(values->begin(), joints, rows);
    }
    return static_cast<int>(command->mode);
}

}  // extern "C"
