//! clipmark-fleet: see [`clipmark_fleet::cli`] for the command line.

fn main() -> std::process::ExitCode {
    clipmark_fleet::cli::main().into()
}
