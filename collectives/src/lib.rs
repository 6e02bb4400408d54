//! Schedules and their readers.
