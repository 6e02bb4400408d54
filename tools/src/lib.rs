//! The launcher and the command-line tools, as modules that their thin mains call.
