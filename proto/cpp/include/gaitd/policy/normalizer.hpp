// The observation as the model was trained on it: (x - mean) / divisor, then a symmetric clip.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <gaitd/policy/compiled.hpp>

namespace gaitd::policy {

/// Usable by itself: `normalization` may come from anywhere. Without mean and divisor it changes nothing but what is
/// below the smallest normal number.
class Normalizer {
public:
    explicit Normalizer(Normalization normalization) : normalization_(std::move(normalization)) {}

    /// Writes the model's input. Subnormal values and -0.0 become 0.0: a model may need ten times its time for them.
    void operator()(const float* observation, float* out, std::size_t dim) const noexcept {
        const bool normalizes = !normalization_.mean.empty();
        const float clip = normalization_.clip;
        for (std::size_t i = 0; i < dim; ++i) {
            float value = observation[i];
            if (normalizes) {
                value = (value - normalization_.mean[i]) / normalization_.divisor[i];
                value = std::min(std::max(value, -clip), clip);
            }
            out[i] = std::abs(value) < std::numeric_limits<float>::min() ? 0.0F : value;
        }
    }

private:
    const Normalization normalization_;
};

}  // namespace gaitd::policy
