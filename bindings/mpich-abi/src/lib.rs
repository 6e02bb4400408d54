//! The exported symbols.
