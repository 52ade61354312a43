//! Kernels of the CPU, chosen at run time by what the processor has.
