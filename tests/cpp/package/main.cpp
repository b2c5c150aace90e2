#include <gaitd/client.hpp>
#include <gaitd/embedded/client.hpp>
#include <gaitd/vendor/policy_runner.hpp>

int main() {
    gaitd::Config config;
    config.endpoint_dir = "/nonexistent";
    config.joints = {"joint"};
    gaitd::Client client(config);
    try {
        gaitd::EmbeddedConfig embedded;
        embedded.policy = gaitd::policy::loadCompiled("/nonexistent");
        return 1;
    } catch (const gaitd::ConfigError&) {
    }
    return client.command(gaitd::monotonicNow_ns()).mode == gaitd::Mode::Idle ? 0 : 1;
}
