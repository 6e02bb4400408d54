//! Clocks, tables and options that the benchmark programs share.
