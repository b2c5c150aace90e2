// publish() and command() allocate nothing in steady state: neither this code nor libzmq below it, on the control
// thread; nor does a step of the policy library, apart from the runtime. Every allocation of the program passes through the functions below; operator new calls malloc.
#include <cerrno>
#include <cstdlib>

namespace {
thread_local bool counting = false;
thread_local std::size_t allocations = 0;
void note() noexcept {
    if (counting) ++allocations;
}
}  // namespace

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
    note();
    return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
    note();
    return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) {
    note();
    return __libc_realloc(memory, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    note();
    return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
    note();
    *memory = __libc_memalign(alignment, size);
    return *memory == nullptr ? ENOMEM : 0;
}
}

#include <memory>

#include <gaitd/client.hpp>
#include <gaitd/embedded/client.hpp>

#include "check.hpp"
#include "fake_gaitd.hpp"
#include "fake_runtime.hpp"
#include "small_policy.hpp"

using namespace gaitd;
using std::chrono::milliseconds;

namespace {

struct Walk {
    std::size_t published = 0;
    std::size_t answered = 0;
    std::size_t allocations = 0;
};

std::string runtime_path;

/// Publishes `states` states, polling for commands in between, and counts what was allocated on this thread.
template <class Driver>
Walk walk(Driver& client, std::size_t states) {
    Walk walk;
    RobotState state;
    std::uint64_t last_seq = client.command(monotonicNow_ns()).seq;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (walk.published < states && std::chrono::steady_clock::now() < end) {
        counting = true;
        state.stamp_ns = monotonicNow_ns();
        if (client.publish(state)) ++walk.published;
        const JointCommand& command = client.command(monotonicNow_ns());
        counting = false;
        if (command.mode == Mode::Active && command.seq > last_seq) {
            ++walk.answered;
            last_seq = command.seq;
        }
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    walk.allocations = allocations;
    allocations = 0;
    return walk;
}

}  // namespace

CASE(the_counter_counts) {
    counting = true;
    auto made = std::make_unique<int>(1);
    counting = false;
    CHECK(*made == 1);
    CHECK_EQUAL(allocations, 1U);
    allocations = 0;
}

CASE(nothing_is_allocated_with_a_live_peer) {
    for (const Transport transport : {Transport::Zmq, Transport::Shm}) {
        SocketDir dir;
        FakeGaitd gaitd(dir.path(), transport == Transport::Shm);
        Config config;
        config.endpoint_dir = dir.path();
        config.joints = lite3Joints();
        config.transport = transport;
        Client client(config);
        client.hello(milliseconds(5000));
        // Session 0, as while standing up: libzmq takes its queue's chunk of 256 messages once per connection.
        const Walk warm_up = walk(client, 1000);
        std::printf("  warm-up: %zu states, %zu allocations\n", warm_up.published, warm_up.allocations);
        client.activate();
        const Walk steady = walk(client, 20000);
        std::printf("  steady: %zu states, %zu answered, %zu allocations\n", steady.published, steady.answered,
                    steady.allocations);
        CHECK_EQUAL(steady.published, 20000U);
        CHECK(steady.answered > 1000);
        CHECK_EQUAL(steady.allocations, 0U);
        CHECK_EQUAL(client.command(monotonicNow_ns()).mode, Mode::Active);
    }
}

CASE(nothing_is_allocated_without_gaitd) {
    SocketDir dir;
    Config config;
    config.endpoint_dir = dir.path();
    config.joints = lite3Joints();
    Client client(config);
    CHECK_EQUAL(walk(client, 2000).allocations, 0U);
}

CASE(nothing_is_allocated_when_refusing_and_latching) {
    SocketDir dir;
    FakeGaitd gaitd(dir.path());
    Config config;
    config.endpoint_dir = dir.path();
    config.joints = lite3Joints();
    Client client(config);
    client.hello(milliseconds(5000));
    walk(client, 1000);
    const std::uint64_t session = client.activate();
    walk(client, 100);
    gaitd.sendAsWorker("junk");
    CHECK_EQUAL(walk(client, 100).allocations, 0U);
    gaitd.sendAsGuardian(FakeGaitd::damping(session, Reason::Deadline));
    CHECK_EQUAL(walk(client, 500).allocations, 0U);
    CHECK_EQUAL(client.command(monotonicNow_ns()).mode, Mode::Damping);
    counting = true;
    client.requestDamping("again");
    client.requestActivate();
    counting = false;
    CHECK_EQUAL(allocations, 0U);
}

CASE(nothing_is_allocated_by_a_step_of_the_policy_library) {
    const FakeRuntime runtime(runtime_path);
    const policy::Compiled policy = smallPolicy();
    for (const backends::Kind kind : {backends::Kind::Onnx, backends::Kind::Rknn}) {
        const std::unique_ptr<backends::Backend> backend = backends::open(policy, {kind, runtime_path});
        policy::Step step(policy, *backend);
        RobotState state;
        std::copy(policy.default_position.begin(), policy.default_position.end(), state.joint_position.begin());
        std::size_t accepted = 0;
        counting = true;
        for (std::uint64_t i = 1; i <= 1000; ++i) {
            state.stamp_ns = i * policy.period_ns;
            state.angular_velocity[0] = 1e-3F * static_cast<float>(i % 17);
            runtime.order(i % 7 == 0 ? Order::Nan : i % 11 == 0 ? Order::Fails : Order::Works);
            if (i % 13 == 0) step.reset();
            if (step.take(state, state.stamp_ns).kind != CauseKind::None) continue;
            if (!step.answer(state.stamp_ns).isAccepted()) continue;
            step.commit();
            ++accepted;
        }
        counting = false;
        CHECK(accepted > 700);
        CHECK_EQUAL(allocations, 0U);
        allocations = 0;
    }
}

CASE(nothing_is_allocated_with_the_policy_in_this_process) {
    const FakeRuntime runtime(runtime_path);
    EmbeddedConfig config;
    config.policy = smallPolicy();
    config.policy.period_ns = 1'000'000'000;  // What comes too early is refused, and refusing is free as well.
    config.backend.library = runtime_path;
    config.joints = config.policy.joints;
    EmbeddedClient client(config);
    client.requestActivate();
    const Walk steady = walk(client, 5000);
    CHECK(steady.published >= 5000);
    CHECK_EQUAL(steady.allocations, 0U);
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    runtime_path = argv[1];
    return check::run();
}
