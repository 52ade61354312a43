// What the environment variables MENO_EMULATOR_... ask for (README.md describes them).
#pragma once
#include <cstddef>

namespace emulator {

struct Settings {
    int devices = 1;
    size_t memory = size_t(4) << 30;
    int driver = 13000;
    int compute = 90;
    long lose_after = -1;  // negative: never
    bool trace = false;
    bool reverse = false;     // blocks and threads start in descending order
    bool lazy = true;         // copies and products happen as late as the waits allow
    bool late_loads = false;  // so do TMA loads
};

extern Settings settings;
void read_settings();

}  // namespace emulator
