//! Schedules and their readers.
pub mod reduce;
