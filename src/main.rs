//! The `pulsegate` program: everything is in the library, so that tests and examples can use the same.

use std::process::ExitCode;

fn main() -> ExitCode {
    pulsegate::cli::main()
}
