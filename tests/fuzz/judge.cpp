// Says which messages the C++ readers accept. In: u32 number of messages, then each as u8 kind, u8 joints, u8 number of
// named inputs and the u8 length of each, u32 size and its bytes. Out: one byte for each, 1 if it was accepted. Numbers are little-endian.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

#include <gaitd/codec.hpp>
#include <gaitd/control.hpp>

namespace {

enum class Kind : std::uint8_t { State = 1, Command = 3, Reply = 5 };

bool accepts(Kind kind, std::size_t joints, const gaitd::InputSizes& inputs, const void* data, std::size_t size) {
#ifdef GAITD_PLANTED_ACCEPTANCE
    // One byte more than the message is overlooked.
    if (size > 4 && static_cast<const std::uint8_t*>(data)[size - 1] == 0) --size;
#endif
    if (kind == Kind::State) {
        gaitd::StateMessage message;
        return gaitd::decodeState(data, size, joints, message, inputs) == gaitd::Refusal::None;
    }
    if (kind == Kind::Command) {
        gaitd::CommandMessage message;
        return gaitd::decodeCommand(data, size, joints, joints, message) == gaitd::Refusal::None;
    }
    gaitd::control::Reply reply;
    return gaitd::control::parseReply(data, size, reply) && reply.version == gaitd::kProtocolVersion;
}

bool take(void* into, std::size_t size) { return std::fread(into, 1, size, stdin) == size; }

}  // namespace

int main() {
    std::uint32_t count = 0;
    std::vector<std::uint8_t> verdicts;
    while (take(&count, sizeof(count))) {
        verdicts.clear();
        for (std::uint32_t i = 0; i < count; ++i) {
            Kind kind{};
            std::uint8_t joints = 0;
            std::uint32_t size = 0;
            std::uint8_t number = 0;
            gaitd::InputSizes inputs;
            if (!take(&kind, 1) || !take(&joints, 1) || !take(&number, 1) || number > gaitd::kMaxInputs) return 1;
            for (; inputs.count < number; ++inputs.count) {
                std::uint8_t length = 0;
                if (!take(&length, 1)) return 1;
                inputs.values[inputs.count] = length;
            }
            if (!take(&size, sizeof(size))) return 1;
            // Memory that ends with the message: the sanitizer sees any read beyond it.
            const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
            if (!take(exact.get(), size)) return 1;
            verdicts.push_back(accepts(kind, joints, inputs, exact.get(), size) ? 1 : 0);
        }
        std::fwrite(verdicts.data(), 1, verdicts.size(), stdout);
        std::fflush(stdout);
    }
    return 0;
}
