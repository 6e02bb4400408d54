//! The prototypes and constants of both ABIs as data.
