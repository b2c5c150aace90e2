// How the client reaches gaitd: what it makes of directories, addresses and key files.
#include <gaitd/client.hpp>

#include <array>
#include <fstream>
#include <string>

#include <sys/stat.h>

#include "check.hpp"
#include "fake_gaitd.hpp"

using namespace gaitd;

namespace {

struct KeyPair {
    std::array<char, 41> public_key{};
    std::array<char, 41> secret_key{};
    KeyPair() { zmq_curve_keypair(public_key.data(), secret_key.data()); }
};

/// Key files as `gaitctl keygen` writes them, and the way to them.
struct Files {
    SocketDir dir;
    KeyPair robot;
    KeyPair own;
    Remote remote;

    Files() {
        remote.host = "127.0.0.1";
        remote.server_key = write("robot.pub", std::string("robot ") + robot.public_key.data() + "\n", 0644);
        remote.key = write("own.key", std::string(own.secret_key.data()) + "\n", 0600);
    }

    std::string write(const std::string& name, const std::string& text, mode_t mode) {
        const std::string path = dir.path() + "/" + name;
        std::ofstream(path) << text;
        chmod(path.c_str(), mode);
        return path;
    }

    void expectRefusal(const std::string& text) const { CHECK_THROWS(ConfigError, text, Route("/run/gaitd", remote)); }
};

}  // namespace

CASE(without_a_host_it_is_the_directory) {
    const Route route("/run/gaitd", {});
    CHECK_EQUAL(route.endpoint(Channel::State), "ipc:///run/gaitd/state.sock");
    CHECK_EQUAL(route.endpoint(Channel::Control), "ipc:///run/gaitd/control.sock");
    CHECK_EQUAL(route.endpoint("command1"), "ipc:///run/gaitd/command1.sock");
    CHECK(route.reaches("command1"));
}

CASE(with_a_host_it_is_four_ports_in_a_row) {
    Files files;
    const Route route("/run/gaitd", files.remote);
    CHECK_EQUAL(route.endpoint(Channel::State), "tcp://127.0.0.1:9460");
    CHECK_EQUAL(route.endpoint(Channel::Command), "tcp://127.0.0.1:9461");
    CHECK_EQUAL(route.endpoint(Channel::Guard), "tcp://127.0.0.1:9462");
    CHECK_EQUAL(route.endpoint(Channel::Control), "tcp://127.0.0.1:9463");
    CHECK_EQUAL(route.endpoint("command"), "tcp://127.0.0.1:9461");
    CHECK(route.reaches("command"));
    CHECK(!route.reaches("command1"));
    CHECK_THROWS(RefusedError, "`command1` has no TCP port", static_cast<void>(route.endpoint("command1")));
}

CASE(the_advice_names_the_own_public_key) {
    Files files;
    const std::string advice = Route("", files.remote).advice();
    CHECK(advice.find(files.own.public_key.data()) != std::string::npos);
    CHECK(advice.find(files.own.secret_key.data()) == std::string::npos);
}

CASE(the_advice_names_the_directory_that_was_tried) {
    CHECK(Route("/tmp/somewhere", {}).advice().find("is its runtime directory /tmp/somewhere") != std::string::npos);
}

CASE(there_is_no_tcp_without_keys) {
    Files files;
    files.remote.key = "";
    files.expectRefusal("Config::remote.key is empty: there is no TCP without keys");
    files.remote.server_key = "";
    files.remote.key = "x";
    files.expectRefusal("Config::remote.server_key is empty: there is no TCP without keys");
}

CASE(the_client_refuses_it_at_its_making) {
    Config config;
    config.joints = lite3Joints();
    config.remote.host = "127.0.0.1";
    CHECK_THROWS(ConfigError, "there is no TCP without keys", Client{config});
}

CASE(a_secret_that_others_may_use_is_refused) {
    Files files;
    for (const mode_t mode : {0640, 0604, 0620}) {
        chmod(files.remote.key.c_str(), mode);
        files.expectRefusal("own.key: others may use this secret key; chmod 600");
    }
}

CASE(key_files_that_are_none_are_refused) {
    Files files;
    const Remote good = files.remote;
    files.remote.key = files.dir.path() + "/nothing";
    files.expectRefusal("nothing: cannot be read: No such file");
    files.remote = good;
    files.remote.server_key = good.key;
    files.expectRefusal("own.key: not as gaitctl keygen writes it");
    files.remote.server_key = files.write("two.pub", std::string("a ") + files.robot.public_key.data() + "\nb " +
                                                         files.own.public_key.data() + "\n", 0644);
    files.expectRefusal("two.pub: not as");
    files.remote = good;
    for (const std::string& text : {std::string(), std::string("short"), std::string(40, '~'), std::string(40, '#')}) {
        files.remote.key = files.write("bad.key", text, 0600);
        files.expectRefusal("bad.key: not as gaitctl keygen writes it");
    }
}

CASE(ports_that_leave_no_room_for_four_are_refused) {
    Files files;
    for (const std::uint16_t port : {std::uint16_t{0}, std::uint16_t{65533}}) {
        files.remote.port = port;
        files.expectRefusal("1 to 65532 are possible");
    }
    files.remote.port = 65532;
    CHECK_EQUAL(Route("", files.remote).endpoint(Channel::Control), "tcp://127.0.0.1:65535");
}

int main() { return check::run(); }
