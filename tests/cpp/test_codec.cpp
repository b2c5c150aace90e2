// The codec against the golden vectors, whose file is the first argument.
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gaitd/codec.hpp>

#include "check.hpp"

using namespace gaitd;

namespace {

struct Vector {
    std::string name;
    std::string kind;
    std::size_t joints;
    std::vector<unsigned char> bytes;
    std::string writer;
    std::string refusal;
    std::map<std::string, std::string> fields;
};

std::string vectors_path;

std::vector<unsigned char> fromHex(const std::string& hex) {
    std::vector<unsigned char> bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes.push_back(static_cast<unsigned char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

std::string toHex(const void* data, std::size_t size) {
    static const char* digits = "0123456789abcdef";
    std::string hex;
    for (std::size_t i = 0; i < size; ++i) {
        const unsigned char byte = static_cast<const unsigned char*>(data)[i];
        hex += digits[byte >> 4U];
        hex += digits[byte & 15U];
    }
    return hex;
}

const std::vector<Vector>& vectors() {
    static const std::vector<Vector> all = [] {
        std::vector<Vector> read;
        std::ifstream file(vectors_path);
        for (std::string line; std::getline(file, line);) {
            std::vector<std::string> parts;
            std::istringstream stream(line);
            for (std::string part; std::getline(stream, part, '\t');) parts.push_back(part);
            Vector vector{parts.at(0), parts.at(1), std::stoul(parts.at(2)), fromHex(parts.at(3)),
                          parts.at(4), parts.at(5), {}};
            for (std::size_t i = 6; i < parts.size(); ++i) {
                const std::size_t equals = parts[i].find('=');
                vector.fields[parts[i].substr(0, equals)] = parts[i].substr(equals + 1);
            }
            read.push_back(std::move(vector));
        }
        return read;
    }();
    return all;
}

/// The decoded values of a message under the names that the vectors use.
class Fields {
public:
    void number(const char* name, std::uint64_t value) { values_[name] = std::to_string(value); }
    void none(const char* name) { values_[name] = "[]"; }
    void floats(const char* name, const float* values, std::size_t count) {
        values_[name] = toHex(values, count * sizeof(float));
    }

    void compare(const Vector& vector) const {
        CHECK_EQUAL(values_.size(), vector.fields.size());
        for (const auto& [name, value] : vector.fields) {
            const auto found = values_.find(name);
            if (found == values_.end() || found->second != value) {
                check::fail(__FILE__, __LINE__, vector.name + ": " + name + " is not " + value);
            }
        }
    }

private:
    std::map<std::string, std::string> values_;
};

Fields fieldsOf(const StateMessage& message, std::size_t joints) {
    const RobotState& state = message.state;
    Fields fields;
    fields.number("session", message.session);
    fields.number("seq", message.seq);
    fields.number("stamp_ns", state.stamp_ns);
    fields.floats("angular_velocity", state.angular_velocity.data(), 3);
    fields.floats("orientation", state.orientation.data(), 4);
    fields.floats("linear_acceleration", state.linear_acceleration.data(), 3);
    fields.floats("linear_velocity", state.linear_velocity.data(), message.has_linear_velocity ? 3 : 0);
    fields.floats("velocity_command", state.velocity_command.data(), 3);
    fields.floats("joint_position", state.joint_position.data(), joints);
    fields.floats("joint_velocity", state.joint_velocity.data(), joints);
    fields.floats("joint_torque", state.joint_torque.data(), joints);
    fields.none("inputs");
    return fields;
}

Fields fieldsOf(const CommandMessage& message, std::size_t joints) {
    Fields fields;
    fields.number("session", message.session);
    fields.number("epoch", message.epoch);
    fields.number("slot", message.slot);
    fields.number("seq", message.seq);
    fields.number("state_stamp_ns", message.state_stamp_ns);
    fields.number("publish_stamp_ns", message.publish_stamp_ns);
    fields.number("mode", static_cast<std::uint64_t>(message.mode));
    fields.number("reason", static_cast<std::uint64_t>(message.reason));
    fields.number("cause", static_cast<std::uint64_t>(message.cause.kind));
    fields.number("cause_joint", message.cause.joint);
    const std::array<float, 2> values{message.cause.number, message.cause.bound};
    fields.floats("cause_values", values.data(), values.size());
    fields.number("policy", message.policy);
    fields.floats("joint_position", message.joint_position.data(), joints);
    fields.floats("joint_velocity", message.joint_velocity.data(), joints);
    fields.floats("stiffness", message.stiffness.data(), joints);
    fields.floats("damping", message.damping.data(), joints);
    fields.floats("torque", message.torque.data(), joints);
    fields.floats("action", message.action.data(), joints);
    return fields;
}

/// The blob of a field as floats.
std::vector<float> floatsOf(const Vector& vector, const char* field) {
    const std::vector<unsigned char> bytes = fromHex(vector.fields.at(field));
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
}

/// Decodes from memory that ends with the message, so that a sanitizer sees any read beyond it.
template <class Message, class Decode>
Refusal decodeExactly(const std::vector<unsigned char>& bytes, Message& message, Decode decode) {
    const std::unique_ptr<unsigned char[]> exact(new unsigned char[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), exact.get());
    return decode(exact.get(), bytes.size(), message);
}

Refusal decode(const Vector& vector, StateMessage& message) {
    return decodeExactly(vector.bytes, message, [&](const void* data, std::size_t size, StateMessage& into) {
        return decodeState(data, size, vector.joints, into);
    });
}

Refusal decode(const Vector& vector, CommandMessage& message) {
    return decodeExactly(vector.bytes, message, [&](const void* data, std::size_t size, CommandMessage& into) {
        return decodeCommand(data, size, vector.joints, vector.joints, into);
    });
}

template <class Message>
void judge(const Vector& vector) {
    Message message;
    const Refusal refusal = decode(vector, message);
    if (toString(refusal) != vector.refusal) {
        check::fail(__FILE__, __LINE__, vector.name + ": " + toString(refusal) + " is not " + vector.refusal);
    } else if (refusal == Refusal::None) {
        fieldsOf(message, vector.joints).compare(vector);
    }
}

}  // namespace

CASE(every_vector_is_read_or_refused_as_it_says) {
    CHECK(vectors().size() > 50);
    for (const Vector& vector : vectors()) {
        if (vector.kind == "state") judge<StateMessage>(vector);
        if (vector.kind == "command") judge<CommandMessage>(vector);
    }
}

CASE(states_are_written_as_the_vector_says) {
    int seen = 0;
    for (const Vector& vector : vectors()) {
        if (vector.kind != "state" || vector.writer != "cpp") continue;
        ++seen;
        StateMessage message;
        CHECK_EQUAL(decode(vector, message), Refusal::None);
        const std::size_t size = stateSize(vector.joints, message.has_linear_velocity);
        CHECK_EQUAL(size, vector.bytes.size());
        std::vector<unsigned char> bytes(size);
        CHECK_EQUAL(encodeState(message.state, message.session, message.seq, vector.joints,
                                message.has_linear_velocity, bytes.data(), size),
                    size);
        CHECK(bytes == vector.bytes);
        CHECK_EQUAL(encodeState(message.state, message.session, message.seq, vector.joints,
                                message.has_linear_velocity, bytes.data(), size - 1),
                    0U);
    }
    CHECK(seen > 0);
}

CASE(raw_observations_are_written_as_the_vector_says) {
    int seen = 0;
    for (const Vector& vector : vectors()) {
        if (vector.kind != "raw_observation" || vector.writer != "cpp") continue;
        ++seen;
        const std::vector<float> observation = floatsOf(vector, "observation");
        RawObservation raw;
        raw.stamp_ns = std::stoull(vector.fields.at("stamp_ns"));
        raw.observation = observation.data();
        std::copy_n(floatsOf(vector, "joint_position").begin(), vector.joints, raw.joint_position.begin());
        std::copy_n(floatsOf(vector, "joint_velocity").begin(), vector.joints, raw.joint_velocity.begin());
        std::vector<unsigned char> bytes(rawObservationSize(vector.joints, observation.size()));
        CHECK_EQUAL(encodeRawObservation(raw, std::stoull(vector.fields.at("session")),
                                         std::stoull(vector.fields.at("seq")), vector.joints, observation.size(),
                                         bytes.data(), bytes.size()),
                    bytes.size());
        CHECK(bytes == vector.bytes);
    }
    CHECK(seen > 0);
}

CASE(commands_are_written_as_python_writes_them) {
    int seen = 0;
    for (const Vector& vector : vectors()) {
        if (vector.kind != "command" || vector.writer != "python") continue;
        ++seen;
        CommandMessage message;
        CHECK_EQUAL(decode(vector, message), Refusal::None);
        std::vector<unsigned char> bytes(commandSizeBound(vector.joints, vector.joints));
        const std::size_t size = encodeCommand(message, vector.joints, vector.joints, bytes.data(), bytes.size());
        bytes.resize(size);
        CHECK(bytes == vector.bytes);
    }
    CHECK(seen > 0);
}

CASE(no_cut_of_a_message_is_accepted) {
    for (const Vector& vector : vectors()) {
        if (vector.refusal != "none") continue;
        for (std::size_t size = 0; size < vector.bytes.size(); ++size) {
            Vector cut = vector;
            cut.bytes.resize(size);
            StateMessage state;
            CommandMessage command;
            CHECK(decode(cut, state) != Refusal::None);
            CHECK(decode(cut, command) != Refusal::None);
        }
    }
}

CASE(sizes_do_not_depend_on_the_numbers) {
    RobotState state;
    std::array<char, 4096> buffer{};
    for (const std::size_t joints : {std::size_t{1}, std::size_t{12}, std::size_t{63}, std::size_t{kMaxJoints}}) {
        for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{200}, ~std::uint64_t{0}}) {
            state.stamp_ns = number;
            for (const bool velocity : {false, true}) {
                CHECK_EQUAL(encodeState(state, number, number, joints, velocity, buffer.data(), buffer.size()),
                            stateSize(joints, velocity));
            }
        }
        CommandMessage command;
        command.session = command.epoch = command.seq = ~std::uint64_t{0};
        command.state_stamp_ns = command.publish_stamp_ns = ~std::uint64_t{0};
        command.slot = kGuardSlot;
        command.reason = static_cast<Reason>(kLastNumber);
        command.cause.kind = static_cast<CauseKind>(kLastNumber);
        command.policy = kMaxPolicies - 1;
        for (const std::size_t actions : {std::size_t{1}, joints, std::size_t{kMaxJoints}}) {
            CHECK_EQUAL(encodeCommand(command, joints, actions, buffer.data(), buffer.size()),
                        commandSizeBound(joints, actions));
        }
    }
}

int main(int argc, char** argv) {
    if (argc != 2) {
        std::printf("usage: test_codec VECTORS\n");
        return 2;
    }
    vectors_path = argv[1];
    return check::run();
}
