// The client's decoder and safety logic behind C functions, for tests that make up the time.
#include <gaitd/codec.hpp>
#include <gaitd/latch.hpp>

using gaitd::Latch;

extern "C" {

Latch* latch_new(std::size_t joints, std::uint64_t deadline_ns, std::uint64_t first_command_ns) {
    auto* latch = new Latch(joints, 2.0F);
    gaitd::Terms terms;
    terms.deadline_ns = deadline_ns;
    terms.first_command_ns = first_command_ns;
    terms.action_dim = joints;
    latch->configure(terms);
    return latch;
}

void latch_free(Latch* latch) { delete latch; }

void latch_begin(Latch* latch, std::uint64_t session, std::uint64_t epoch, std::uint8_t slot) {
    latch->begin(session, epoch, slot);
}

void latch_end(Latch* latch) { latch->end(); }

void latch_published(Latch* latch, std::uint64_t stamp_ns) { latch->published(stamp_ns, {}); }

int latch_offer(Latch* latch, const std::uint8_t* data, std::size_t size, std::size_t joints, std::uint64_t now_ns) {
    gaitd::CommandMessage command;
    const auto refusal = gaitd::decodeCommand(data, size, joints, joints, command);
    return static_cast<int>(refusal == gaitd::Refusal::None ? latch->offer(command, now_ns) : refusal);
}

int latch_mode(const Latch* latch) { return static_cast<int>(latch->mode()); }

const char* refusal_name(int refusal) { return gaitd::toString(static_cast<gaitd::Refusal>(refusal)); }
}
