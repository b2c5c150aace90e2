// Writes a capture of steps read from standard input, as a vendor's runner would; counts allocations in add().
#include <cstdlib>
#include <iostream>
#include <new>

#include <gaitd/capture.hpp>

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t size) {
    ++allocations;
    if (void* block = std::malloc(size)) return block;
    throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    std::size_t joints = 0, steps = 0;
    gaitd::CaptureOptions options;
    std::cin >> joints >> steps >> options.observation_dim >> options.action_dim >> options.control_period_s;
    std::vector<std::string> names(joints);
    for (std::string& name : names) std::cin >> name;
    options.max_steps = steps - 1;  // one more is offered than fits
    options.linear_velocity = true;
    options.joint_target = true;
    gaitd::Capture capture(names, options);
    std::vector<float> observation(options.observation_dim), action(options.action_dim), target(joints);
    std::size_t in_add = 0;
    bool taken = true;
    for (std::size_t step = 0; step < steps; ++step) {
        gaitd::RobotState state;
        int reset = 0;
        const auto read = [](float* values, std::size_t count) {
            for (std::size_t i = 0; i < count; ++i) std::cin >> values[i];
        };
        std::cin >> reset;
        read(state.angular_velocity.data(), 3);
        read(state.orientation.data(), 4);
        read(state.velocity_command.data(), 3);
        read(state.joint_position.data(), joints);
        read(state.joint_velocity.data(), joints);
        read(observation.data(), observation.size());
        read(action.data(), action.size());
        read(state.linear_velocity.data(), 3);
        read(state.linear_acceleration.data(), 3);
        read(state.joint_torque.data(), joints);
        read(target.data(), joints);
        const std::size_t before = allocations;
        taken = capture.add(state, observation.data(), action.data(), reset != 0,
                            step == 0 ? nullptr : target.data());
        in_add += allocations - before;
    }
    capture.save(argv[1]);
    return in_add == 0 && !taken && capture.full() ? 0 : 1;
}
