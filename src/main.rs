//! The `pulsegate` program: everything is in the library, so that tests and examples can use the same.

use std::process::ExitCode;

/// A request makes some twenty small allocations, and this allocator serves them for less.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pulsegate::cli::main()
}
